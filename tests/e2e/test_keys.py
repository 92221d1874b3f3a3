"""The life of a key on the deployed stack: issuance, rotation, revocation and expiry reminders."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Thread
from typing import Any

import pytest
import requests

from api_particulier.keys import lifecycle
from sandbox import cloud
from tests.support.disarmed.countermeasures import attempt
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

PACE = 0.1
"""Seconds between two calls."""
CONTACTS = ("demandeur@ville.exemple.fr", "technique@ville.exemple.fr")


class Caller:
    """A program that calls the API 10 times a second with its current key."""

    def __init__(self, stack: Stack, key: str) -> None:
        self._stack, self.key = stack, key
        self.statuses: list[int] = []
        self._answered = Condition()
        self._over = Event()

    def run(self) -> None:
        with ThreadPoolExecutor(10) as pool:  # a slow response does not delay the next call
            while not self._over.wait(PACE):
                pool.submit(self._ask, self.key)

    def _ask(self, key: str) -> None:
        status = self._stack.get("/introspect", key=key).status_code
        with self._answered:
            self.statuses.append(status)
            self._answered.notify_all()

    def wait_for(self, responses: int) -> None:
        """Wait for this number of further responses."""
        with self._answered:
            wanted = len(self.statuses) + responses
            assert self._answered.wait_for(lambda: len(self.statuses) >= wanted, timeout=120)

    @contextmanager
    def calling(self) -> Iterator[None]:
        thread = Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()


def test_a_key_is_rotated_under_load_without_a_refused_call(stack: Stack) -> None:
    old = stack.issue_key("dgfip_nombre_parts")
    assert stack.get("/introspect", key=old["key"]).status_code == 200
    caller = Caller(stack, old["key"])
    with caller.calling():
        caller.wait_for(10)
        new = stack.run_cli("keys", "rotate", old["id"], "--overlap", "1")
        caller.wait_for(20)
        caller.key = new["key"]
        caller.wait_for(30)
    assert set(caller.statuses) == {200}
    assert new["scopes"] == old["scopes"]
    assert stack.get("/introspect", key=old["key"]).json()["_id"] == old["id"]
    assert stack.get("/introspect", key=new["key"]).json()["_id"] == new["id"]
    refused = stack.run_cli("keys", "rotate", new["id"], expect=1)
    assert f"two keys already live, {old['id']} and {new['id']}" in refused


def test_the_first_call_after_a_revocation_is_refused(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_nombre_parts")
    gateway = stack.deployment.key_store
    token = lifecycle.find(gateway, issued["id"])
    assert (
        stack.get(RFR_ROUTE, key=issued["key"], **NUMBERS).status_code == 200
    )  # the functions have the token in their cache
    lifecycle.revoke(gateway, token)
    assert stack.get(RFR_ROUTE, key=issued["key"], **NUMBERS).status_code == 401


def test_a_key_opens_both_apis_in_either_header_until_it_is_revoked(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_nombre_parts")
    urls = [f"{stack.description['api_url']}/introspect", f"{stack.description['v3_url']}/api/introspect"]
    headers = ({"X-Api-Key": issued["key"]}, {"Authorization": f"Bearer {issued['key']}"})

    def statuses() -> set[int]:
        return {requests.get(url, headers=header, timeout=30).status_code for url in urls for header in headers}

    assert statuses() == {200}
    stack.run_cli("keys", "revoke", issued["id"])
    assert statuses() == {401}
    refused = [requests.get(url, headers=headers[1], timeout=30) for url in urls]
    assert [list(response.json()) for response in refused] == [["error", "reason", "message"], ["errors"]]


@pytest.mark.attack
def test_no_place_of_the_stack_keeps_a_key(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_nombre_parts")
    rotated = stack.run_cli("keys", "rotate", issued["id"])
    gateway = stack.client("apigateway").get_api_keys(includeValues=True, limit=500)["items"]
    assert f"api-particulier-{rotated['id']}" in {key["value"] for key in gateway}
    scan = stack.client("dynamodb").scan
    kept = [scan(TableName=name)["Items"] for name in stack.description["tables"].values()]
    everything = f"{gateway}{kept}{cloud.mailbox(str(stack.description['cloud_url']))}"
    found = [key in everything for key in (issued["key"], rotated["key"])]
    attempt("two keys, looked for at the gateway, in every table and in every mail", f"found: {found}")
    assert found == [False, False]


def test_a_key_issued_before_the_authoriser_opens_and_leaves_the_gateway(stack: Stack) -> None:
    issued, store = stack.issue_key("dgfip_nombre_parts"), stack.deployment.key_store
    token = lifecycle.find(store, issued["id"])
    before = store.api.create_api_key(name=f"api-particulier-{token.id}", value=issued["key"], enabled=True)["id"]
    store.add_to_plan(before)
    store.delete_gateway_key(str(token.gateway_key_id))
    assert store.change(token, gateway_key_id=before, usage_key=None, shown=None)
    stack.new_environment("KeyAuthorizer")
    url, headers = f"{stack.description['v3_url']}/api/introspect", {"X-Api-Key": issued["key"]}
    assert requests.get(url, headers=headers, timeout=30).status_code == 200
    assert stack.run_cli("keys", "move", "--wait", "0") == {"moved": [token.id], "left": []}
    stack.new_environment("KeyAuthorizer")  # it remembers the former value for a minute
    assert requests.get(url, headers=headers, timeout=30).status_code == 200
    gateway = stack.client("apigateway").get_api_keys(includeValues=True, limit=500)["items"]
    assert issued["key"] not in str(gateway)


@pytest.mark.attack
def test_a_token_changed_in_the_table_is_refused_and_found_by_the_check(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_nombre_parts")
    token = lifecycle.find(stack.deployment.key_store, issued["id"])
    stack.client("dynamodb").update_item(
        TableName=stack.description["tables"]["tokens"],
        Key={"key_hash": {"S": token.key_hash}},
        UpdateExpression="SET scopes = :scopes",
        ExpressionAttributeValues={":scopes": {"L": [{"S": "dgfip_avis_imposition"}]}},
    )
    status = stack.get("/introspect", key=issued["key"]).status_code
    attempt("the scopes of a token, changed in the table", status)
    assert status == 401
    stack.run_cli("keys", "check", expect=1)  # it names the token on its standard output
    stack.run_cli("keys", "revoke", issued["id"])


def test_ten_issuances_of_one_id_at_once_make_one_key(stack: Stack) -> None:
    gateway = stack.deployment.key_store
    now = datetime.now(UTC)
    new = lifecycle.NewToken(
        id=lifecycle.NewToken.new_id(),
        organisation="VILLE EXEMPLE",
        siret="21000015400018",
        scopes=frozenset({"dgfip_nombre_parts"}),
        expires=now + lifecycle.LIFETIME,
    )
    with ThreadPoolExecutor(10) as pool:
        issued = list(pool.map(lambda _: lifecycle.issue(gateway, new, now), range(10)))
    assert len(set(issued)) == 1
    found = gateway.api.get_api_keys(nameQuery=f"api-particulier-{new.id}")["items"]
    assert [key["id"] for key in found] == [issued[0].gateway_key_id]
    assert stack.get("/introspect", key=lifecycle.draw(gateway, issued[0], now)).status_code == 200
    assert lifecycle.stale_issuances(gateway, now + timedelta(hours=1)) == []


def test_issuing_the_same_id_again_replaces_a_lost_key_and_a_repair_revokes_expired_ones(stack: Stack) -> None:
    token_id = lifecycle.NewToken.new_id()
    lost, first = (stack.issue_key("dgfip_nombre_parts", options=("--id", token_id)) for _ in range(2))
    assert first == lost | {"key": first["key"]}
    assert first["id"] == token_id
    assert stack.get("/introspect", key=lost["key"]).status_code == 401
    ended = stack.issue_expired_key("dgfip_nombre_parts")["id"]
    repaired = stack.run_cli("keys", "repair")
    assert repaired["undone"] == []
    assert ended in repaired["revoked"]
    assert stack.run_cli("keys", "show", ended)["state"] == "revoked"
    assert stack.get("/introspect", key=first["key"]).status_code == 200


def test_an_operator_sees_the_use_of_a_key_and_restricts_it(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_avis_imposition", "cnaf_enfants")
    assert stack.run_cli("keys", "show", issued["id"])["last_use"] is None
    stack.run_cli("keys", "narrow", issued["id"], "--scopes", "dgfip_revenu_fiscal_reference,dgfip_nombre_parts")
    assert "cannot add cnaf_enfants" in stack.run_cli(
        "keys", "narrow", issued["id"], "--scopes", "cnaf_enfants", expect=1
    )
    stack.run_cli("keys", "allow", issued["id"], "192.0.2.0/24", "127.0.0.0/8")
    response = stack.get("/v2/avis-imposition", key=issued["key"], **NUMBERS)
    assert (response.status_code, len(response.json())) == (200, 2)
    shown = stack.run_cli("keys", "show", issued["id"])
    assert shown["last_use"][:10] == f"{datetime.now(UTC):%Y-%m-%d}"
    assert shown["allowed"] == ["192.0.2.0/24", "127.0.0.0/8"]
    assert stack.run_cli("keys", "allow", issued["id"], "--anywhere")["allowed"] == []
    unused = stack.run_cli("keys", "unused-scopes", issued["id"], "--days", "2")
    assert (unused["calls"], unused["unused"]) == (1, [])
    longer = stack.run_cli("keys", "prolong", issued["id"], "--expires", "2099-01-01")
    assert longer["expires"] == "2098-12-31T23:00:00+00:00"
    assert issued["id"] not in [key["id"] for key in stack.run_cli("keys", "list", "--unused-since", "1")]


# ── Expiry reminders ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def expiring(stack: Stack) -> str:
    """Issue a key that expires in 15 days, for a town with two contacts, and return its id."""
    now = datetime.now(UTC)
    habilitation = {
        "habilitation": {"S": "e2e-notices"},
        "item": {"S": "state"},
        "id": {"S": "e2e-notices"},
        "state": {"S": "validated"},
        "request": {
            "M": {
                "kind": {"S": "collectivite"},
                "organisation": {"S": "VILLE EXEMPLE"},
                "siret": {"S": "13002526500013"},
                "contacts": {
                    "L": [
                        {"M": {"role": {"S": role}, "email": {"S": email}}}
                        for role, email in zip(("applicant", "technical"), CONTACTS, strict=True)
                    ]
                },
            }
        },
    }
    stack.client("dynamodb").put_item(TableName=stack.description["tables"]["habilitations"], Item=habilitation)
    new = lifecycle.NewToken(
        id=lifecycle.NewToken.new_id(),
        organisation="VILLE EXEMPLE",
        siret="21000015400018",
        scopes=frozenset({"dgfip_nombre_parts"}),
        expires=now + timedelta(days=15),
        habilitation="e2e-notices",
    )
    return lifecycle.issue(stack.deployment.key_store, new, now - timedelta(days=10)).id


def run_reminders(stack: Stack) -> Any:
    """Run the job as its schedule does; return the error of the function, or None."""
    name = stack.function("KeyExpiryReminders")["FunctionName"]
    response = stack.client("lambda").invoke(FunctionName=name, Payload=b'{"source": "aws.events"}')
    return json.loads(response["Payload"].read() or b"null")


def mails_about(stack: Stack, token_id: str) -> list[dict[str, Any]]:
    return [mail for mail in cloud.mailbox(str(stack.description["cloud_url"])) if token_id in mail["BodyText"]]


@pytest.mark.parametrize("sid", ["ListTokens", "FindContacts", "SendNotices"])
def test_without_a_statement_no_reminder_is_sent(stack: Stack, expiring: str, sid: str) -> None:
    with stack.without_statement("KeyExpiryReminders", sid):
        assert "errorType" in run_reminders(stack)
    assert mails_about(stack, expiring) == []


def test_one_reminder_is_sent_for_a_key_that_expires_soon(stack: Stack, expiring: str) -> None:
    for _ in range(2):
        assert run_reminders(stack) is None
    (mail,) = mails_about(stack, expiring)
    assert (mail["To"], mail["Subject"]) == (list(CONTACTS), "API Particulier : votre clé expire dans 15 jours")
    (listed,) = (key for key in stack.run_cli("keys", "ending") if key["id"] == expiring)
    assert (listed["days"], listed["told"]) == (15, list(CONTACTS))


def test_the_actions_of_an_operator_on_a_key_are_in_its_habilitations_history(stack: Stack, expiring: str) -> None:
    stack.run_cli("keys", "allow", expiring, "192.0.2.0/24")
    rotated = stack.run_cli("keys", "rotate", expiring)
    stack.run_cli("keys", "revoke", rotated["id"])
    history = stack.run_cli("habilitations", "show", "e2e-notices")["history"]
    assert {entry["event"] for entry in history} == {"key_allowed", "key_rotated", "key_revoked"}
    assert all(entry["who"].startswith("arn:aws:") for entry in history)


def test_a_schedule_of_every_morning_is_enabled(stack: Stack) -> None:
    rules = stack.client("events").list_rules()["Rules"]
    assert [rule["State"] for rule in rules if rule.get("ScheduleExpression") == "cron(0 5 * * ? *)"] == ["ENABLED"]
