"""Habilitations on the deployed stack, from the approval by DataPass and the one-time link to the end of the key."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from secrets import randbelow, token_hex
from typing import Any

import pytest
import requests

from api_particulier.keys import lifecycle
from tests.support.datapass import OTHER_SIRET, SIRET, VENDOR_SIRET, datapass_event
from tests.support.disarmed.countermeasures import attempt
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

WEBHOOK = "/datapass/v2/api_particulier/webhook"
REFUSED = {
    "error": "access_denied",
    "reason": "Signature missing or wrong",
    "message": "La signature de l'appel est absente ou incorrecte",
}
_IDS = count(26_000_000 + int(time.time()) % 1_000_000 * 1000)


class Datapass:
    """DataPass, sending signed events to the running stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def sign(self, body: bytes, secret: str | None = None) -> str:
        shared = str(self.stack.description["datapass_secret"]) if secret is None else secret
        return f"sha256={hmac.new(shared.encode(), body, hashlib.sha256).hexdigest()}"

    def post(self, payload: dict[str, Any], secret: str | None = None) -> requests.Response:
        body = json.dumps(payload).encode()
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": self.sign(body, secret)}
        return requests.post(f"{self.stack.api_url}{WEBHOOK}", body, headers=headers, timeout=60)

    def approve(self, *scopes: str, **data: Any) -> "Approved":
        payload = datapass_event(
            at=int(time.time()), model_id=next(_IDS), **data | ({"scopes": list(scopes)} if scopes else {})
        )
        response = self.post(payload)
        assert response.status_code == 200, response.text
        return Approved(str(payload["model_id"]), str(response.json()["token_id"]), payload)

    def end(self, approved: "Approved", event: str = "revoke") -> requests.Response:
        return self.post(approved.payload | {"event": event, "fired_at": approved.payload["fired_at"] + 1})


class Approved:
    """An approved request, with the id of its token."""

    def __init__(self, habilitation: str, token_id: str, payload: dict[str, Any]) -> None:
        self.habilitation, self.token_id, self.payload = habilitation, token_id, payload


@pytest.fixture
def datapass(stack: Stack) -> Datapass:
    return Datapass(stack)


def open_link(stack: Stack, address: str, opener: str | None = None) -> requests.Response:
    page, secret = address.split("#")
    assert requests.get(page, timeout=60).headers["Content-Type"] == "text/html; charset=utf-8"
    return requests.post(f"{stack.api_url}/cles/remise", json={"lien": secret, "ouvreur": opener}, timeout=60)


def key_of(stack: Stack, approved: Approved) -> str:
    shown = open_link(stack, stack.run_cli("habilitations", "link", approved.habilitation)["link"])
    assert shown.status_code == 200, shown.text
    return str(shown.json()["cle"])


def gateway_keys(stack: Stack, token_id: str) -> list[dict[str, Any]]:
    found = stack.client("apigateway").get_api_keys(nameQuery=f"api-particulier-{token_id}")["items"]
    return [key for key in found if key["name"] == f"api-particulier-{token_id}"]


def test_an_approval_gives_a_key_with_exactly_the_approved_scopes(stack: Stack, datapass: Datapass) -> None:
    approved = datapass.approve("dgfip_revenu_fiscal_reference", "dgfip_nombre_parts")
    address = stack.run_cli("habilitations", "link", approved.habilitation)["link"]
    shown = open_link(stack, address)
    assert (shown.status_code, shown.json()["jeton"]) == (200, approved.token_id)
    key = str(shown.json()["cle"])
    again = open_link(stack, address)
    assert (again.status_code, again.json()["error"]) == (410, "gone")
    assert key not in again.text
    assert stack.get("/introspect", key=key).json() == {
        "_id": approved.token_id,
        "name": "VILLE IMAGINAIRE",
        "scopes": ["dgfip_nombre_parts", "dgfip_revenu_fiscal_reference"],
    }
    response = stack.get(RFR_ROUTE, key=key, **NUMBERS)
    assert (response.status_code, list(response.json())) == (200, ["revenuFiscalReference", "nombreParts"])
    assert response.headers["RateLimit-Limit"] == "20"
    assert stack.get("/v2/declarants", key=key, **NUMBERS).status_code == 403
    history = stack.run_cli("habilitations", "show", approved.habilitation)["history"]
    assert [step["event"] for step in history] == ["approve", "link", "link", "link_opened", "link_reopened"]


@pytest.mark.attack
def test_a_link_is_opened_again_by_its_opener_alone(stack: Stack, datapass: Datapass) -> None:
    """By the text that the opener drew: its first answer may be lost, and the key in it then opens nothing."""
    address = stack.run_cli("habilitations", "link", datapass.approve("dgfip_nombre_parts").habilitation)["link"]
    opener, thief = token_hex(16), token_hex(16)
    lost, shown = (open_link(stack, address, opener) for _ in range(2))
    others = [open_link(stack, address, other).status_code for other in (thief, None)]
    attempt("a link that was opened, opened by another, and without a text of its opener", others)
    assert others == [410, 410]
    assert (lost.status_code, shown.status_code) == (200, 200)
    keys = [str(response.json()["cle"]) for response in (lost, shown)]
    assert [stack.get("/introspect", key=key).status_code for key in keys] == [401, 200]


def test_the_technical_contact_is_sent_the_link_and_not_the_key(stack: Stack, datapass: Datapass) -> None:
    to = f"informatique-{next(_IDS)}@ville-imaginaire.exemple.fr"
    approved = datapass.approve("dgfip_nombre_parts", contact_technique_email=to)
    mailbox = requests.get(f"{stack.description['cloud_url']}/_ministack/ses/messages", timeout=60).json()
    (message,) = [
        mail["BodyText"] for account in mailbox["messages"].values() for mail in account if mail["To"] == [to]
    ]
    (address,) = re.findall(r"https?://\S+", message)
    shown = open_link(stack, address)
    assert (shown.status_code, shown.json()["jeton"]) == (200, approved.token_id)
    assert shown.json()["cle"] not in message


def test_the_key_of_an_approval_is_limited_to_20_calls_a_second(stack: Stack, datapass: Datapass) -> None:
    (key,) = gateway_keys(stack, datapass.approve("dgfip_nombre_parts").token_id)
    (plan,) = stack.client("apigateway").get_usage_plans(keyId=key["id"])["items"]
    assert plan["throttle"] == {"rateLimit": 20.0, "burstLimit": 20}


def test_the_same_event_ten_times_at_once_makes_one_key(stack: Stack, datapass: Datapass) -> None:
    payload = datapass_event(at=int(time.time()), model_id=next(_IDS))
    with ThreadPoolExecutor(10) as pool:
        responses = list(pool.map(lambda _: datapass.post(payload), range(10)))
    assert {response.status_code for response in responses} == {200}
    (token_id,) = {response.json()["token_id"] for response in responses}
    assert len(gateway_keys(stack, token_id)) == 1
    mine = [key for key in stack.run_cli("keys", "list") if key["habilitation"] == str(payload["model_id"])]
    assert [key["id"] for key in mine] == [token_id]
    history = stack.run_cli("habilitations", "show", str(payload["model_id"]))["history"]
    assert [step["event"] for step in history] == ["approve", "link"]  # one event and one mail


@pytest.mark.attack
def test_a_wrong_signature_changes_nothing(stack: Stack, datapass: Datapass) -> None:
    payload = datapass_event(at=int(time.time()), model_id=next(_IDS))
    for secret in ("wrong", ""):
        response = datapass.post(payload, secret)
        attempt(f"an event signed with the secret '{secret}'", response.status_code)
        assert (response.status_code, response.json()) == (401, REFUSED)
        assert response.headers["X-Request-Id"]
    assert "no habilitation has the id" in stack.run_cli("habilitations", "show", str(payload["model_id"]), expect=1)
    approved = datapass.approve("dgfip_nombre_parts")
    key = key_of(stack, approved)
    assert datapass.post(approved.payload | {"event": "revoke"}, "wrong").status_code == 401
    assert stack.get("/introspect", key=key).status_code == 200


@pytest.mark.attack
def test_a_long_title_is_in_no_token(stack: Stack, datapass: Datapass) -> None:
    length = 100_000 + randbelow(100_000)
    approved = datapass.approve("dgfip_nombre_parts", intitule="T" * length)
    kept = len(lifecycle.find(stack.deployment.key_store, approved.token_id).purpose or "")
    attempt(f"a title of {length} characters, which each record of the key would hold", f"{kept} are kept")
    assert 0 < kept <= 1000


def check_refused_within_a_second(stack: Stack, key: str, end: Callable[[], object]) -> None:
    """Check that a working key is refused, one second after ``end`` has returned at the latest."""
    assert stack.get("/introspect", key=key).status_code == 200
    end()
    ended = time.monotonic()
    while stack.get("/introspect", key=key).status_code == 200:
        assert time.monotonic() < ended + 1, "the key still works"
    assert stack.get("/introspect", key=key).status_code == 401


@pytest.mark.parametrize("event", ["revoke", "archive"])
def test_the_key_of_an_ended_habilitation_is_refused_within_a_second(
    stack: Stack, datapass: Datapass, event: str
) -> None:
    approved = datapass.approve("dgfip_nombre_parts")
    check_refused_within_a_second(stack, key_of(stack, approved), lambda: datapass.end(approved, event))
    assert stack.run_cli("habilitations", "show", approved.habilitation)["keys"] == []


def test_a_reported_key_is_refused_within_a_second(stack: Stack, datapass: Datapass) -> None:
    approved = datapass.approve("dgfip_nombre_parts")
    key = key_of(stack, approved)
    url = f"{stack.api_url}/keys/compromised"
    check_refused_within_a_second(stack, key, lambda: requests.post(url, json={"key": key}, timeout=60))
    unknown = requests.post(url, json={"key": "0" * 64}, timeout=60)
    again = requests.post(url, json={"key": key}, timeout=60)
    assert (unknown.status_code, unknown.text) == (again.status_code, again.text)
    assert unknown.status_code == 200


@pytest.mark.attack
def test_an_event_that_cannot_be_processed_goes_to_the_dead_letter_queue_and_is_replayed(
    stack: Stack, datapass: Datapass
) -> None:
    payload = datapass_event(at=int(time.time()), model_id=next(_IDS), scopes=["another_api_identite"])
    response = datapass.post(payload)
    assert (response.status_code, response.json()) == (200, {})
    mine = [
        event for event in stack.run_cli("habilitations", "replay") if event["habilitation"] == str(payload["model_id"])
    ]
    assert [event["outcome"] for event in mine] == ["approved without any scope that the API knows"]
    good = json.dumps(datapass_event(at=int(time.time()), model_id=payload["model_id"]))
    queue = stack.deployment.outputs["DatapassDeadLetters"]
    stack.client("sqs").purge_queue(QueueUrl=queue)
    stack.client("sqs").send_message(QueueUrl=queue, MessageBody=good)
    outcomes = [event["outcome"] for event in stack.run_cli("habilitations", "replay")]
    attempt("an approval without a signature, in the dead-letter queue that an operator replays", outcomes)
    assert outcomes == ["refused: DataPass did not sign it"]
    stack.client("sqs").purge_queue(QueueUrl=queue)
    signed = {"X-Hub-Signature-256": {"DataType": "String", "StringValue": datapass.sign(good.encode())}}
    stack.client("sqs").send_message(QueueUrl=queue, MessageBody=good, MessageAttributes=signed)
    assert [event["outcome"] for event in stack.run_cli("habilitations", "replay", "--show")] == ["to be processed"]
    assert stack.run_cli("habilitations", "replay") == [
        {"habilitation": str(payload["model_id"]), "event": "approve", "outcome": "applied"}
    ]
    assert stack.run_cli("habilitations", "replay") == []
    assert len(stack.run_cli("habilitations", "show", str(payload["model_id"]))["keys"]) == 1


def test_an_operator_grants_refuses_and_revokes(stack: Stack, datapass: Datapass) -> None:
    granted = stack.run_cli(
        *("habilitations", "grant", "--kind", "collectivite", "--organisation", "VILLE IMAGINAIRE", "--siret", SIRET),
        *("--scopes", "dgfip_nombre_parts,unheard_of", "--purpose", "Cantine", "--reason", "par convention"),
    )
    assert (granted["state"], granted["scopes"], granted["unknown"]) == (
        "validated",
        ["dgfip_nombre_parts"],
        ["unheard_of"],
    )
    key = str(open_link(stack, stack.run_cli("habilitations", "link", granted["id"])["link"]).json()["cle"])
    check_refused_within_a_second(stack, key, lambda: stack.run_cli("habilitations", "revoke", granted["id"]))
    assert "is revoked, suspended or expired" in stack.run_cli("habilitations", "link", granted["id"], expect=1)

    payload = datapass_event("submit", at=int(time.time()) - 5, model_id=next(_IDS))
    datapass.post(payload)
    habilitation_id = str(payload["model_id"])
    assert stack.run_cli("habilitations", "refuse", habilitation_id)["state"] == "refused"
    assert stack.run_cli("habilitations", "grant", habilitation_id, "--scopes", "dgfip_nombre_parts")["scopes"] == [
        "dgfip_nombre_parts"
    ]
    assert habilitation_id in [
        habilitation["id"] for habilitation in stack.run_cli("habilitations", "list", "--state", "validated")
    ]


@pytest.mark.parametrize("kind", ["particulier", "entreprise"])
def test_only_administrations_are_granted_a_habilitation(stack: Stack, kind: str) -> None:
    error = stack.run_cli(
        *("habilitations", "grant", "--kind", kind, "--organisation", "X", "--siret", SIRET),
        *("--scopes", "dgfip_nombre_parts"),
        expect=1,
    )
    assert "Seules les administrations sont habilitées" in error


def test_the_habilitations_of_a_vendor_are_listed_each_with_its_key(stack: Stack, datapass: Datapass) -> None:
    vendor = {"siret": VENDOR_SIRET, "name": "ÉDITEUR"}
    served = [
        datapass.approve(service_provider=vendor, organization={"siret": siret, "raison_sociale": "VILLE"})
        for siret in (SIRET, OTHER_SIRET)
    ]
    listed = stack.run_cli("habilitations", "list", "--vendor", VENDOR_SIRET)
    mine = {
        habilitation["id"]: habilitation
        for habilitation in listed
        if habilitation["id"] in {approved.habilitation for approved in served}
    }
    assert [[key["id"] for key in mine[approved.habilitation]["keys"]] for approved in served] == [
        [approved.token_id] for approved in served
    ]
    assert {habilitation["siret"] for habilitation in mine.values()} == {SIRET, OTHER_SIRET}


def test_a_dry_run_shows_the_responses_that_scopes_would_give(stack: Stack) -> None:
    tried = stack.run_cli("habilitations", "dry-run", "--scopes", "dgfip_nombre_parts,unheard_of")
    assert tried["datasets"]["revenu_fiscal_reference"]["body"] == {"nombreParts": 1.5}
    assert tried["datasets"]["quotient_familial"]["status"] == 403
    assert tried["unknown"] == ["unheard_of"]


# ── Least privilege ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sid",
    [
        *("ReadDatapassSecret", "KeepHabilitations", "WriteTokens", "FindTokens"),
        *("MakeGatewayKeys", "FindUsagePlan", "JoinUsagePlan"),
    ],
)
def test_without_a_statement_no_approval_makes_a_key(stack: Stack, datapass: Datapass, sid: str) -> None:
    payload = datapass_event(at=int(time.time()), model_id=next(_IDS))
    before = {key["id"] for key in stack.run_cli("keys", "list")}
    stack.new_environment("DatapassWebhook")  # an environment caches the secret for a minute
    with stack.without_statement("DatapassWebhook", sid):
        assert datapass.post(payload).status_code == 500
    assert {key["id"] for key in stack.run_cli("keys", "list")} == before
    token_id = datapass.post(payload).json()["token_id"]  # the same event again succeeds
    assert len(gateway_keys(stack, token_id)) == 1


def test_without_access_to_the_dead_letter_queue_an_unprocessable_event_is_refused(
    stack: Stack, datapass: Datapass
) -> None:
    payload = datapass_event(at=int(time.time()), model_id=next(_IDS), scopes=[])
    with stack.without_statement("DatapassWebhook", "SetEventsAside"):
        assert datapass.post(payload).status_code == 500
    assert datapass.post(payload).status_code == 200


@pytest.mark.parametrize("sid", ["OpenLinks", "KeepHistory", "DrawKeys", "SignTokens"])
def test_without_a_statement_no_link_shows_a_key(stack: Stack, datapass: Datapass, sid: str) -> None:
    approved = datapass.approve("dgfip_nombre_parts")
    address = stack.run_cli("habilitations", "link", approved.habilitation)["link"]
    with stack.without_statement("KeyLink", sid):
        assert open_link(stack, address).status_code == 500


@pytest.mark.parametrize("sid", ["ReadTokens", "RevokeTokens", "DeleteGatewayKeys"])
def test_without_a_statement_a_key_report_fails(stack: Stack, sid: str) -> None:
    key = stack.issue_key("dgfip_nombre_parts")
    with stack.without_statement("KeyReport", sid):
        reported = requests.post(f"{stack.api_url}/keys/compromised", json={"key": key["key"]}, timeout=60)
        assert reported.status_code == 500
    requests.post(f"{stack.api_url}/keys/compromised", json={"key": key["key"]}, timeout=60)
    assert stack.get("/introspect", key=key["key"]).status_code == 401
