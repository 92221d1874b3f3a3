"""The life of a key on the deployed stack: changed without one refusal, taken away at once, its end foretold."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Condition, Event, Thread
from typing import Any

import pytest

from api_particulier.keys import lifecycle
from sandbox import cloud
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

PACE = 0.1
"""Seconds between two calls: 10 a second."""
CONTACTS = ("demandeur@ville.exemple.fr", "technique@ville.exemple.fr")


class Caller:
    """A town's software, which asks 10 times a second with the key that it has been given."""

    def __init__(self, stack: Stack, key: str) -> None:
        self._stack, self.key = stack, key
        self.statuses: list[int] = []
        self._answered = Condition()
        self._over = Event()

    def run(self) -> None:
        with ThreadPoolExecutor(10) as pool:  # a slow answer does not slow the calls down
            while not self._over.wait(PACE):
                pool.submit(self._ask, self.key)

    def _ask(self, key: str) -> None:
        status = self._stack.get("/introspect", key=key).status_code
        with self._answered:
            self.statuses.append(status)
            self._answered.notify_all()

    def wait_for(self, answers: int) -> None:
        """Wait for so many answers more."""
        with self._answered:
            wanted = len(self.statuses) + answers
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


def test_a_key_is_changed_under_load_without_one_refusal(stack: Stack) -> None:
    old = stack.issue("dgfip_nombre_parts")
    assert stack.get("/introspect", key=old["key"]).status_code == 200
    caller = Caller(stack, old["key"])
    with caller.calling():
        caller.wait_for(10)
        new = stack.operate("keys", "rotate", old["id"], "--overlap", "1")
        caller.wait_for(20)
        caller.key = new["key"]
        caller.wait_for(30)
    assert set(caller.statuses) == {200}
    assert new["scopes"] == old["scopes"]
    assert stack.get("/introspect", key=old["key"]).json()["_id"] == old["id"]
    assert stack.get("/introspect", key=new["key"]).json()["_id"] == new["id"]
    refused = stack.operate("keys", "rotate", new["id"], expect=1)
    assert f"two keys already live, {old['id']} and {new['id']}" in refused


def test_the_call_that_follows_a_revocation_is_refused(stack: Stack) -> None:
    made = stack.issue("dgfip_nombre_parts")
    gateway = stack.deployment.key_store
    token = lifecycle.find(gateway, made["id"])
    assert stack.get(RFR_ROUTE, key=made["key"], **NUMBERS).status_code == 200  # functions remember the token now
    lifecycle.revoke(gateway, token)
    assert stack.get(RFR_ROUTE, key=made["key"], **NUMBERS).status_code == 401


def test_ten_who_issue_at_once_make_one_key(stack: Stack) -> None:
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
    assert [one["id"] for one in found] == [issued[0].gateway_key_id]
    assert stack.get("/introspect", key=lifecycle.reveal(gateway, issued[0])).status_code == 200
    assert lifecycle.stale_issuances(gateway, now + timedelta(hours=1)) == []


def test_an_issue_is_finished_by_its_id_and_shows_the_same_key(stack: Stack) -> None:
    token_id = lifecycle.NewToken.new_id()
    first, again = (stack.issue("dgfip_nombre_parts", options=("--id", token_id)) for _ in range(2))
    assert first == again
    assert first["id"] == token_id
    ended = stack.issue("dgfip_nombre_parts", options=("--expires", "2020-01-01"))["id"]
    repaired = stack.operate("keys", "repair")
    assert repaired["undone"] == []
    assert ended in repaired["revoked"]
    assert stack.operate("keys", "show", ended)["state"] == "revoked"
    assert stack.get("/introspect", key=first["key"]).status_code == 200


def test_an_operator_follows_a_key_and_limits_it(stack: Stack) -> None:
    made = stack.issue("dgfip_avis_imposition", "cnaf_enfants")
    assert stack.operate("keys", "show", made["id"])["last_use"] is None
    stack.operate("keys", "narrow", made["id"], "--scopes", "dgfip_revenu_fiscal_reference,dgfip_nombre_parts")
    assert "cannot add cnaf_enfants" in stack.operate(
        "keys", "narrow", made["id"], "--scopes", "cnaf_enfants", expect=1
    )
    stack.operate("keys", "allow", made["id"], "192.0.2.0/24", "127.0.0.0/8")
    answer = stack.get("/v2/avis-imposition", key=made["key"], **NUMBERS)
    assert (answer.status_code, len(answer.json())) == (200, 2)
    shown = stack.operate("keys", "show", made["id"])
    assert shown["last_use"][:10] == f"{datetime.now(UTC):%Y-%m-%d}"
    assert shown["allowed"] == ["192.0.2.0/24", "127.0.0.0/8"]
    assert stack.operate("keys", "allow", made["id"], "--anywhere")["allowed"] == []
    unused = stack.operate("keys", "unused-scopes", made["id"], "--days", "2")
    assert (unused["calls"], unused["unused"]) == (1, [])
    longer = stack.operate("keys", "prolong", made["id"], "--expires", "2099-01-01")
    assert longer["expires"] == "2098-12-31T23:00:00+00:00"
    assert made["id"] not in [key["id"] for key in stack.operate("keys", "list", "--unused-since", "1")]


# ── Notices ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def ending(stack: Stack) -> str:
    """A key of ten days ago whose end is near, of a town with two contacts; returns its id."""
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


def run_the_job(stack: Stack) -> Any:
    """Do what the clock does every morning; return what the function's failure says, or None."""
    name = stack.function("KeyNotices")["FunctionName"]
    answer = stack.client("lambda").invoke(FunctionName=name, Payload=b'{"source": "aws.events"}')
    return json.loads(answer["Payload"].read() or b"null")


def mails_about(stack: Stack, token_id: str) -> list[dict[str, Any]]:
    return [one for one in cloud.mailbox(str(stack.description["cloud_url"])) if token_id in one["BodyText"]]


@pytest.mark.parametrize("sid", ["ListTokens", "FindContacts", "SendNotices"])
def test_without_a_statement_no_notice_leaves(stack: Stack, ending: str, sid: str) -> None:
    with stack.without_statement("KeyNotices", sid):
        assert "errorType" in run_the_job(stack)
    assert mails_about(stack, ending) == []


def test_a_town_is_told_once_that_its_key_is_about_to_end(stack: Stack, ending: str) -> None:
    for _ in range(2):
        assert run_the_job(stack) is None
    (mail,) = mails_about(stack, ending)
    assert (mail["To"], mail["Subject"]) == (list(CONTACTS), "API Particulier : votre clé expire dans 15 jours")
    (listed,) = (one for one in stack.operate("keys", "ending") if one["id"] == ending)
    assert (listed["days"], listed["told"]) == (15, list(CONTACTS))


def test_what_an_operator_does_to_the_key_is_in_its_habilitations_history(stack: Stack, ending: str) -> None:
    stack.operate("keys", "allow", ending, "192.0.2.0/24")
    rotated = stack.operate("keys", "rotate", ending)
    stack.operate("keys", "revoke", rotated["id"])
    told = stack.operate("habilitations", "show", "e2e-notices")["history"]
    assert {one["event"] for one in told} == {"key_allowed", "key_rotated", "key_revoked"}
    assert all(one["who"].startswith("arn:aws:") for one in told)


def test_the_clock_calls_every_morning(stack: Stack) -> None:
    rules = stack.client("events").list_rules()["Rules"]
    assert [rule["State"] for rule in rules if rule.get("ScheduleExpression") == "cron(0 5 * * ? *)"] == ["ENABLED"]
