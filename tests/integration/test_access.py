"""Authenticate a caller by key, state, expiry and address, and check the scopes of its token (contract §4, §5)."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, override

import pytest

from api_particulier.keys import token
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, event, invoke, new_environment
from tests.support.tax_service import TaxService

NOT_FOUND_OR_INACTIVE = {
    "error": "access_denied",
    "reason": "Token not found or inactive",
    "message": "Votre jeton d'API n'a pas été trouvé ou n'est pas actif",
}
DOORS = ("avis_imposition/v2", "avis_imposition/v1", "revenu_fiscal_reference/v2", "introspect/introspect")
NOW = datetime.now(UTC)

pytestmark = pytest.mark.usefixtures("cloud", "dgfip")


def assert_denied(answer: Response) -> None:
    assert (answer.status, answer.body) == (401, NOT_FOUND_OR_INACTIVE)
    assert list(answer.body) == ["error", "reason", "message"]


def from_address(address: str, key: str) -> Response:
    made = event("avis_imposition/v2", key=key)
    made["requestContext"]["identity"]["sourceIp"] = address
    return invoke(made, "avis_imposition")


@pytest.mark.parametrize("door", DOORS)
def test_a_call_without_a_key_is_refused(dgfip: TaxService, door: str) -> None:
    made = event(door)
    del made["headers"]["X-API-Key"], made["multiValueHeaders"]["X-API-Key"]
    assert_denied(invoke(made, door.split("/", maxsplit=1)[0]))
    assert dgfip.requests == []


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("key", ["", " ", "0" * 64, "é" * 10_000, "\x00", "\ud800"], ids=ascii)
def test_an_unknown_key_is_refused(cloud: Cloud, dgfip: TaxService, door: str, key: str) -> None:
    cloud.issue_key("dgfip_avis_imposition")
    assert_denied(call_api(door, key=key))
    assert dgfip.requests == []


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "life",
    [
        {"state": "revoked"},
        {"state": "something new"},
        {"expires": (NOW - timedelta(seconds=1)).isoformat()},
        {"expires": (NOW - timedelta(days=400)).isoformat()},
    ],
    ids=["revoked", "in an unknown state", "expired a second ago", "expired a year ago"],
)
def test_a_revoked_or_expired_key_is_refused(cloud: Cloud, dgfip: TaxService, door: str, life: dict[str, str]) -> None:
    assert_denied(call_api(door, key=cloud.issue_key("dgfip_avis_imposition", **life)))
    assert dgfip.requests == []


def test_a_key_without_an_expiry_date_is_accepted(cloud: Cloud) -> None:
    assert call_api("avis_imposition/v2", key=cloud.issue_key("dgfip_avis_imposition", expires=None)).status == 200


def test_the_key_header_is_read_in_any_case(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    for name in ("X-API-Key", "x-api-key", "X-Api-Key", "X-API-KEY"):
        made = event("avis_imposition/v2")
        made["headers"] = {name: key}
        assert invoke(made, "avis_imposition").status == 200, name


def test_a_key_in_the_query_string_is_ignored(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    made = event("avis_imposition/v2", apikey=key)
    made["queryStringParameters"] = made["multiValueQueryStringParameters"] = {"X-API-Key": [key]}
    made["headers"] = None
    assert_denied(invoke(made, "avis_imposition"))


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        (["203.0.113.0/24"], "203.0.113.7"),
        (["203.0.113.7"], "203.0.113.7"),
        (["203.0.113.7/24"], "203.0.113.99"),
        (["198.51.100.0/24", "203.0.113.0/24"], "203.0.113.7"),
        (["0.0.0.0/0"], "203.0.113.7"),
        (["2001:db8::/32"], "2001:db8:1::2"),
        (["203.0.113.0/24", "2001:db8::/32"], "2001:0DB8:0000:0000:0000:0000:0000:0001"),
        ([], "203.0.113.7"),
        ([], "what is this"),
    ],
)
def test_a_caller_within_the_allowed_ranges_is_accepted(cloud: Cloud, allowed: list[str], address: str) -> None:
    assert from_address(address, cloud.issue_key("dgfip_avis_imposition", allowed=allowed)).status == 200


@pytest.mark.parametrize(
    ("allowed", "address"),
    [
        (["203.0.113.0/24"], "203.0.114.7"),
        (["203.0.113.0/24"], "2001:db8::1"),
        (["203.0.113.0/24"], "::ffff:203.0.114.7"),
        (["2001:db8::/32"], "203.0.113.7"),
        (["2001:db8::/32"], "2001:db9::1"),
        (["203.0.113.0/24"], ""),
        (["203.0.113.0/24"], "203.0.113"),
        (["203.0.113.0/24"], "203.0.113.7, 203.0.113.8"),
        (["203.0.113.0/24"], "test-invoke-source-ip"),
        (["a town hall"], "203.0.113.7"),
    ],
)
def test_a_caller_outside_the_allowed_ranges_is_refused(
    cloud: Cloud, dgfip: TaxService, allowed: list[str], address: str
) -> None:
    answer = from_address(address, cloud.issue_key("dgfip_avis_imposition", allowed=allowed))
    assert (answer.status, answer.body["error"]) == (403, "forbidden")
    assert dgfip.requests == []


def test_the_caller_address_comes_from_the_gateway_and_not_from_a_header(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition", allowed=["198.51.100.0/24"])
    answer = call_api(
        "avis_imposition/v2", key=key, headers={"X-Forwarded-For": "198.51.100.1", "Forwarded": "198.51.100.1"}
    )
    assert answer.status == 403


def test_unreadable_ranges_refuse_the_call(cloud: Cloud, dgfip: TaxService) -> None:
    key = cloud.issue_key("dgfip_avis_imposition", allowed="198.51.100.0/24")  # a string where a list is due
    assert from_address("203.0.113.7", key).status == 500
    assert dgfip.requests == []


def test_a_token_is_cached_by_an_environment(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    assert call_api("avis_imposition/v2", key=key).status == 200
    revoke(cloud, key)  # the gateway refuses the key from now on, so that a function may know it later
    assert call_api("avis_imposition/v2", key=key).status == 200
    new_environment()
    assert_denied(call_api("avis_imposition/v2", key=key))


def test_a_revocation_is_seen_once_the_cache_has_expired(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_CACHE_SECONDS", "0")
    key = cloud.issue_key("dgfip_avis_imposition")
    assert call_api("avis_imposition/v2", key=key).status == 200
    revoke(cloud, key)
    assert_denied(call_api("avis_imposition/v2", key=key))


def test_an_unknown_key_is_not_cached_and_is_accepted_once_it_exists(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    item = cloud.tokens.delete_item(Key={"key_hash": token.hash_key(key)}, ReturnValues="ALL_OLD")["Attributes"]
    assert_denied(call_api("avis_imposition/v2", key=key))
    cloud.tokens.put_item(Item=item)
    assert call_api("avis_imposition/v2", key=key).status == 200


def test_the_expiry_of_a_cached_token_is_checked_at_every_use(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    class InAnHour(datetime):
        @classmethod
        @override
        def now(cls, tz: object = None) -> "InAnHour":
            return cls.fromtimestamp(datetime.now(UTC).timestamp() + 3600, UTC)

    key = cloud.issue_key("dgfip_avis_imposition", expires=(datetime.now(UTC) + timedelta(minutes=30)).isoformat())
    assert call_api("avis_imposition/v2", key=key).status == 200
    monkeypatch.setattr(token, "datetime", InAnHour)
    assert_denied(call_api("avis_imposition/v2", key=key))


@pytest.mark.parametrize("scopes", [(), ("foo",), ("cnaf_attestation_droits",), ("dgfip_nom",), ("dgfip_",), ("*",)])
@pytest.mark.parametrize("door", ["avis_imposition/v1", "declarants/v2"])
@pytest.mark.parametrize("query", [{}, {"numeroFiscal": "", "referenceAvis": "?"}], ids=["good", "malformed"])
def test_insufficient_scopes_are_refused_before_the_query_is_read(
    cloud: Cloud, dgfip: TaxService, scopes: tuple[str, ...], door: str, query: dict[str, Any]
) -> None:
    answer = call_api(door, key=cloud.issue_key(*scopes), **query)
    assert (answer.status, answer.body["error"]) == (403, "forbidden")
    assert answer.body["reason"] == "Your scopes are invalid. You are not authorized to access this resource."
    assert answer.body["message"].startswith("Votre jeton n'ouvre aucun champ de ce jeu de données")
    assert "dgfip_declarant2_date_naissance" in answer.body["message"]
    assert dgfip.requests == []
    assert "citizen" not in cloud.audit_records()[0]


def test_a_scope_for_one_field_gives_access_to_the_dataset(cloud: Cloud) -> None:
    key = cloud.issue_key("foo", "dgfip_declarant1_nom")
    assert call_api("declarants/v2", key=key).body == {"declarant1": {"nom": "TILLEUL"}}
    assert call_api("revenu_fiscal_reference/v2", key=key).status == 403


def test_a_key_is_stored_as_its_hash_and_never_in_clear(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition")
    for door in DOORS:
        assert call_api(door, key=key).status == 200
    call_api("avis_imposition/v2", key="f" * 64)
    stored = repr([table.scan()["Items"] for table in (cloud.tokens, cloud.audit, cloud.stats)])
    assert key not in stored
    assert "f" * 64 not in stored
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert digest in repr(cloud.tokens.scan()["Items"])
    assert digest not in repr(cloud.audit.scan()["Items"])


def revoke(cloud: Cloud, key: str) -> None:
    cloud.tokens.update_item(
        Key={"key_hash": token.hash_key(key)},
        UpdateExpression="SET #state = :revoked",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":revoked": token.REVOKED},
    )
