"""Change tokens behind the issuing code's back, and change them together: what is granted stays what was signed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore, TokenNotAsSigned
from ops.keys import check_tokens
from tests.support.cloud import Cloud
from tests.support.datapass import FIRED_AT, Town
from tests.support.function import call_api, new_environment

NOW = datetime.now(UTC).replace(microsecond=0)
SCOPES = frozenset({"dgfip_adresse", "dgfip_nombre_parts"})
OLD_KEY = "c" * 64


@pytest.fixture
def store(cloud: Cloud) -> KeyStore:
    assert cloud.tokens.item_count == 0
    plan = boto3.client("apigateway").create_usage_plan(name="api-particulier-local")["id"]
    return replace(KeyStore.from_environment(), usage_plan=plan)


def new(**changes: Any) -> lifecycle.NewToken:
    made = lifecycle.NewToken(
        id=lifecycle.NewToken.new_id(),
        organisation="VILLE EXEMPLE",
        siret="13002526500013",
        scopes=SCOPES,
        expires=NOW + lifecycle.LIFETIME,
        allowed=("203.0.113.0/24",),
        purpose="Cantine",
    )
    return replace(made, **changes)


def status_of(key: str) -> int:
    new_environment()
    return call_api("introspect/introspect", key=key).status


def put_back(cloud: Cloud, item: dict[str, Any], **changes: Any) -> None:
    changed = {name: value for name, value in (item | changes).items() if value is not None}
    cloud.tokens.put_item(Item=changed)


TAMPERINGS: dict[str, Any] = {
    "organisation": "VILLE VOISINE",
    "siret": "21000015400018",
    "scopes": ["dgfip_avis_imposition"],
    "allowed": ["0.0.0.0/0"],
    "expires": "2099-01-01T00:00:00+00:00",
    "habilitation": "26001",
    "purpose": "Stationnement",
    "usage_key": "api-particulier-of-another",
    "id": "another-id",
    "version": 7,
    "mac": "0" * 64,
}


REMOVALS = ("allowed", "expires", "purpose", "usage_key", "version", "mac")


@pytest.mark.parametrize(
    ("attribute", "value"), [*TAMPERINGS.items(), *((attribute, None) for attribute in REMOVALS)], ids=str
)
def test_a_token_changed_in_the_table_is_refused_alarmed_and_recorded(
    store: KeyStore, cloud: Cloud, capfd: pytest.CaptureFixture[str], attribute: str, value: object
) -> None:
    key = lifecycle.draw(store, lifecycle.issue(store, new(), NOW), NOW)
    (item,) = (item for item in cloud.tokens.scan()["Items"] if "id" in item)
    assert status_of(key) == 200
    put_back(cloud, item, **{attribute: value})
    capfd.readouterr()
    assert status_of(key) == 401
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["event"] for line in lines if "event" in line] == ["token_tampered", "answered"]
    assert [line["Alerts"] for line in lines if line.get("alert") == "token_tampered"] == [[1.0]]
    record = cloud.audit_records()[-1]
    assert (record["status"], record["error"], record["suspicion"]) == (401, "access_denied", "tampered")
    assert not record.keys() & {"organisation", "siret", "purpose"}  # they are not to be believed
    put_back(cloud, item)
    assert status_of(key) == 200


def test_another_keys_hash_does_not_open_a_token(store: KeyStore, cloud: Cloud) -> None:
    lifecycle.draw(store, lifecycle.issue(store, new(), NOW), NOW)
    (item,) = (item for item in cloud.tokens.scan()["Items"] if "id" in item)
    cloud.issue_key("dgfip_nombre_parts", key=OLD_KEY)
    (own,) = (other for other in cloud.tokens.scan()["Items"] if "id" in other and other != item)
    put_back(cloud, item, key_hash=own["key_hash"])
    assert status_of(OLD_KEY) == 401


def test_an_item_that_was_tampered_with_is_not_signed_again_but_revoked(store: KeyStore, cloud: Cloud) -> None:
    token = lifecycle.issue(store, new(), NOW)
    (item,) = (item for item in cloud.tokens.scan()["Items"] if "id" in item)
    put_back(cloud, item, scopes=["dgfip_avis_imposition"])
    for change in (
        lambda: lifecycle.set_allowed_ips(store, token, []),
        lambda: lifecycle.extend(store, token, NOW + timedelta(days=900), NOW),
        lambda: lifecycle.rotate(store, token, timedelta(days=7), NOW),
        lambda: lifecycle.draw(store, token, NOW),
    ):
        with pytest.raises(TokenNotAsSigned, match=token.id):
            change()
    assert lifecycle.revoke(store, token).state == "revoked"


def test_a_revoked_token_cannot_be_made_active_in_the_table(store: KeyStore, cloud: Cloud) -> None:
    token = lifecycle.issue(store, new(), NOW)
    key = lifecycle.draw(store, token, NOW)
    lifecycle.revoke(store, token)
    (item,) = (item for item in cloud.tokens.scan()["Items"] if "id" in item)
    put_back(cloud, item, state="active")
    assert status_of(key) == 401


def test_a_suspension_needs_no_signature_and_is_lifted_by_an_operator(store: KeyStore) -> None:
    token = lifecycle.issue(store, new(), NOW)
    key = lifecycle.draw(store, token, NOW)
    lifecycle.suspend(store, lifecycle.find(store, token.id))
    assert status_of(key) == 401
    lifecycle.resume(store, lifecycle.find(store, token.id), NOW)
    assert status_of(key) == 200


# ── Keys issued before ───────────────────────────────────────────────────────────────────────────────────────────────


def put_old_token(cloud: Cloud) -> None:
    """Store the item of a key as it was issued before tokens were signed."""
    cloud.issue_key("dgfip_nombre_parts", key=OLD_KEY, id="old")
    (item,) = cloud.tokens.scan()["Items"]
    del item["mac"]
    cloud.tokens.put_item(Item=item)


def test_a_key_issued_before_is_signed_once_and_opens(store: KeyStore, cloud: Cloud) -> None:
    put_old_token(cloud)
    assert status_of(OLD_KEY) == 401
    assert store.sign(lifecycle.find(store, "old"))
    assert status_of(OLD_KEY) == 200
    narrowed = lifecycle.set_allowed_ips(store, lifecycle.find(store, "old"), ["203.0.113.0/24"])
    assert (narrowed.version, status_of(OLD_KEY)) == (2, 200)


def test_unsigned_keys_are_accepted_where_the_deployment_accepts_them(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_old_token(cloud)
    monkeypatch.setenv("UNSIGNED_TOKENS", "accepted")
    assert status_of(OLD_KEY) == 200


# ── Changes at the same time ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_rotation_between_two_changes_does_not_restore_the_old_scopes(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = lifecycle.issue(store, new(), NOW)
    add, narrowed = KeyStore.add, list[str]()

    def add_late(self: KeyStore, *arguments: Any) -> Any:
        if not narrowed:  # just before the rotation writes what it has copied
            narrowed.append(lifecycle.reduce_scopes(store, token, frozenset({"dgfip_nombre_parts"})).id)
            lifecycle.set_allowed_ips(store, token, ["192.0.2.0/24"])
        return add(self, *arguments)

    monkeypatch.setattr(KeyStore, "add", add_late)
    successor = lifecycle.rotate(store, token, timedelta(days=7), NOW)
    assert narrowed == [token.id]
    for each in (successor, lifecycle.find(store, token.id)):
        assert each.scopes == {"dgfip_nombre_parts"}
        assert each.allowed == ("192.0.2.0/24",)


def test_two_changes_at_the_same_time_both_hold(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    token = lifecycle.issue(store, new(), NOW)
    change, changed = KeyStore.change, list[str]()

    def change_late(self: KeyStore, *arguments: Any, **changes: Any) -> Any:
        if not changed:
            changed.append("before")
            lifecycle.extend(store, token, NOW + timedelta(days=3), NOW)
        return change(self, *arguments, **changes)

    monkeypatch.setattr(KeyStore, "change", change_late)
    after = lifecycle.reduce_scopes(store, token, frozenset({"dgfip_nombre_parts"}))
    assert after.scopes == {"dgfip_nombre_parts"}
    assert after.expires == NOW + timedelta(days=3)


# ── The nightly check ────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_check_finds_what_is_not_granted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    town = Town(cloud, monkeypatch)
    town.notify()
    store, repository = town.key_store, town.repository
    assert check_tokens(store, repository) == []
    (token,) = town.tokens()
    older = next(item for item in cloud.tokens.scan()["Items"] if "id" in item)
    town.notify("reopen", FIRED_AT + 1)
    town.notify("approve", FIRED_AT + 2, scopes=["cnaf_adresse"])
    cloud.tokens.put_item(Item=older)  # as it was signed, before
    assert "opens dgfip_nombre_parts" in check_tokens(store, repository)[0].text.replace("cnaf_quotient_familial, ", "")
    lifecycle.suspend(store, token)
    item = next(item for item in cloud.tokens.scan()["Items"] if "id" in item)
    cloud.tokens.put_item(Item=item | {"state": "active", "mac": "0" * 64})
    texts = " / ".join(problem.text for problem in check_tokens(store, repository))
    assert "is not as it was signed" in texts
    assert "its key at the gateway is disabled" in texts
