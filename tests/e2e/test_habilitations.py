"""Habilitations on the deployed stack: DataPass approves, somebody opens a link, a town has a key; then it has not."""

import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest
import requests

from tests.support.datapass import OTHER_SIRET, SIRET, VENDOR_SIRET, told
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

WEBHOOK = "/datapass/v2/api_particulier/webhook"
REFUSED = {
    "error": "access_denied",
    "reason": "Signature missing or wrong",
    "message": "La signature de l'appel est absente ou incorrecte",
}
_IDS = count(26_000_000 + int(time.time()) % 1_000_000 * 1000)


class Datapass:
    """DataPass, for the running stack."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack

    def post(self, payload: dict[str, Any], secret: str | None = None) -> requests.Response:
        body = json.dumps(payload).encode()
        shared = str(self.stack.description["datapass_secret"]) if secret is None else secret
        signed = f"sha256={hmac.new(shared.encode(), body, hashlib.sha256).hexdigest()}"
        headers = {"Content-Type": "application/json", "X-Hub-Signature-256": signed}
        return requests.post(f"{self.stack.api_url}{WEBHOOK}", body, headers=headers, timeout=60)

    def approve(self, *scopes: str, **data: Any) -> "Approved":
        payload = told(at=int(time.time()), model_id=next(_IDS), **data | ({"scopes": list(scopes)} if scopes else {}))
        answer = self.post(payload)
        assert answer.status_code == 200, answer.text
        return Approved(str(payload["model_id"]), str(answer.json()["token_id"]), payload)

    def end(self, approved: "Approved", event: str = "revoke") -> requests.Response:
        return self.post(approved.payload | {"event": event, "fired_at": approved.payload["fired_at"] + 1})


class Approved:
    """An approved request, and the id of its key."""

    def __init__(self, habilitation: str, token_id: str, payload: dict[str, Any]) -> None:
        self.habilitation, self.token_id, self.payload = habilitation, token_id, payload


@pytest.fixture
def datapass(stack: Stack) -> Datapass:
    return Datapass(stack)


def open_link(stack: Stack, address: str) -> requests.Response:
    page, secret = address.split("#")
    assert requests.get(page, timeout=60).headers["Content-Type"] == "text/html; charset=utf-8"
    return requests.post(f"{stack.api_url}/cles/remise", json={"lien": secret}, timeout=60)


def key_of(stack: Stack, approved: Approved) -> str:
    shown = open_link(stack, stack.operate("habilitations", "link", approved.habilitation)["link"])
    assert shown.status_code == 200, shown.text
    return str(shown.json()["cle"])


def gateway_keys(stack: Stack, token_id: str) -> list[dict[str, Any]]:
    found = stack.client("apigateway").get_api_keys(nameQuery=f"api-particulier-{token_id}")["items"]
    return [one for one in found if one["name"] == f"api-particulier-{token_id}"]


def test_an_approval_gives_a_key_that_opens_exactly_what_was_approved(stack: Stack, datapass: Datapass) -> None:
    approved = datapass.approve("dgfip_revenu_fiscal_reference", "dgfip_nombre_parts")
    address = stack.operate("habilitations", "link", approved.habilitation)["link"]
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
    answer = stack.get(RFR_ROUTE, key=key, **NUMBERS)
    assert (answer.status_code, list(answer.json())) == (200, ["revenuFiscalReference", "nombreParts"])
    assert answer.headers["RateLimit-Limit"] == "20"
    assert stack.get("/v2/declarants", key=key, **NUMBERS).status_code == 403
    history = stack.operate("habilitations", "show", approved.habilitation)["history"]
    assert [step["event"] for step in history] == ["approve", "link", "link", "link_opened", "link_reopened"]


def test_the_technical_contact_is_sent_the_link_and_not_the_key(stack: Stack, datapass: Datapass) -> None:
    to = f"informatique-{next(_IDS)}@ville-imaginaire.exemple.fr"
    approved = datapass.approve("dgfip_nombre_parts", contact_technique_email=to)
    mailbox = requests.get(f"{stack.description['cloud_url']}/_ministack/ses/messages", timeout=60).json()
    (message,) = [one["BodyText"] for account in mailbox["messages"].values() for one in account if one["To"] == [to]]
    (address,) = re.findall(r"https?://\S+", message)
    shown = open_link(stack, address)
    assert (shown.status_code, shown.json()["jeton"]) == (200, approved.token_id)
    assert shown.json()["cle"] not in message


def test_the_key_of_an_approval_is_limited_to_20_calls_a_second(stack: Stack, datapass: Datapass) -> None:
    (made,) = gateway_keys(stack, datapass.approve("dgfip_nombre_parts").token_id)
    (plan,) = stack.client("apigateway").get_usage_plans(keyId=made["id"])["items"]
    assert plan["throttle"] == {"rateLimit": 20.0, "burstLimit": 20}


def test_the_same_event_ten_times_at_once_makes_one_key(stack: Stack, datapass: Datapass) -> None:
    payload = told(at=int(time.time()), model_id=next(_IDS))
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: datapass.post(payload), range(10)))
    assert {answer.status_code for answer in answers} == {200}
    (token_id,) = {answer.json()["token_id"] for answer in answers}
    assert len(gateway_keys(stack, token_id)) == 1
    mine = [one for one in stack.operate("keys", "list") if one["habilitation"] == str(payload["model_id"])]
    assert [one["id"] for one in mine] == [token_id]
    history = stack.operate("habilitations", "show", str(payload["model_id"]))["history"]
    assert [step["event"] for step in history] == ["approve", "link"]  # one event, and one mail


def test_a_wrong_signature_changes_nothing(stack: Stack, datapass: Datapass) -> None:
    payload = told(at=int(time.time()), model_id=next(_IDS))
    for secret in ("wrong", ""):
        answer = datapass.post(payload, secret)
        assert (answer.status_code, answer.json()) == (401, REFUSED)
        assert answer.headers["X-Request-Id"]
    assert "no habilitation has the id" in stack.operate("habilitations", "show", str(payload["model_id"]), expect=1)
    approved = datapass.approve("dgfip_nombre_parts")
    key = key_of(stack, approved)
    assert datapass.post(approved.payload | {"event": "revoke"}, "wrong").status_code == 401
    assert stack.get("/introspect", key=key).status_code == 200


def within_a_second(stack: Stack, key: str, kill: Callable[[], object]) -> None:
    """Check that a key which works is refused at every call that begins a second after ``kill`` has returned."""
    assert stack.get("/introspect", key=key).status_code == 200
    kill()
    ended = time.monotonic()
    while stack.get("/introspect", key=key).status_code == 200:
        assert time.monotonic() < ended + 1, "the key still works"
    assert stack.get("/introspect", key=key).status_code == 401


@pytest.mark.parametrize("event", ["revoke", "archive"])
def test_what_ends_a_habilitation_ends_its_key_within_a_second(stack: Stack, datapass: Datapass, event: str) -> None:
    approved = datapass.approve("dgfip_nombre_parts")
    within_a_second(stack, key_of(stack, approved), lambda: datapass.end(approved, event))
    assert stack.operate("habilitations", "show", approved.habilitation)["keys"] == []


def test_who_holds_a_key_kills_it_within_a_second(stack: Stack, datapass: Datapass) -> None:
    approved = datapass.approve("dgfip_nombre_parts")
    key = key_of(stack, approved)
    url = f"{stack.api_url}/keys/compromised"
    within_a_second(stack, key, lambda: requests.post(url, json={"key": key}, timeout=60))
    unknown = requests.post(url, json={"key": "0" * 64}, timeout=60)
    again = requests.post(url, json={"key": key}, timeout=60)
    assert (unknown.status_code, unknown.text) == (again.status_code, again.text)
    assert unknown.status_code == 200


def test_what_cannot_be_processed_is_set_aside_and_replayed(stack: Stack, datapass: Datapass) -> None:
    payload = told(at=int(time.time()), model_id=next(_IDS), scopes=["another_api_identite"])
    answer = datapass.post(payload)
    assert (answer.status_code, answer.json()) == (200, {})
    mine = [one for one in stack.operate("habilitations", "replay") if one["habilitation"] == str(payload["model_id"])]
    assert [one["outcome"] for one in mine] == ["approved without any scope that the API knows"]
    good = told(at=int(time.time()), model_id=payload["model_id"])
    queue = stack.deployment.outputs["DatapassDeadLetters"]
    stack.client("sqs").purge_queue(QueueUrl=queue)
    stack.client("sqs").send_message(QueueUrl=queue, MessageBody=json.dumps(good))
    assert stack.operate("habilitations", "replay") == [
        {"habilitation": str(payload["model_id"]), "event": "approve", "outcome": "applied"}
    ]
    assert stack.operate("habilitations", "replay") == []
    assert len(stack.operate("habilitations", "show", str(payload["model_id"]))["keys"]) == 1


def test_an_operator_grants_refuses_and_revokes(stack: Stack, datapass: Datapass) -> None:
    granted = stack.operate(
        *("habilitations", "grant", "--kind", "collectivite", "--organisation", "VILLE IMAGINAIRE", "--siret", SIRET),
        *("--scopes", "dgfip_nombre_parts,unheard_of", "--purpose", "Cantine", "--reason", "par convention"),
    )
    assert (granted["state"], granted["scopes"], granted["unknown"]) == (
        "validated",
        ["dgfip_nombre_parts"],
        ["unheard_of"],
    )
    key = str(open_link(stack, stack.operate("habilitations", "link", granted["id"])["link"]).json()["cle"])
    within_a_second(stack, key, lambda: stack.operate("habilitations", "revoke", granted["id"]))
    assert "is revoked, suspended or expired" in stack.operate("habilitations", "link", granted["id"], expect=1)

    payload = told("submit", at=int(time.time()) - 5, model_id=next(_IDS))
    datapass.post(payload)
    asked = str(payload["model_id"])
    assert stack.operate("habilitations", "refuse", asked)["state"] == "refused"
    assert stack.operate("habilitations", "grant", asked, "--scopes", "dgfip_nombre_parts")["scopes"] == [
        "dgfip_nombre_parts"
    ]
    assert asked in [one["id"] for one in stack.operate("habilitations", "list", "--state", "validated")]


@pytest.mark.parametrize("kind", ["particulier", "entreprise"])
def test_only_administrations_are_granted_anything(stack: Stack, kind: str) -> None:
    told_why = stack.operate(
        *("habilitations", "grant", "--kind", kind, "--organisation", "X", "--siret", SIRET),
        *("--scopes", "dgfip_nombre_parts"),
        expect=1,
    )
    assert "Seules les administrations sont habilitées" in told_why


def test_a_vendor_sees_its_administrations_each_with_its_key(stack: Stack, datapass: Datapass) -> None:
    vendor = {"siret": VENDOR_SIRET, "name": "ÉDITEUR"}
    served = [
        datapass.approve(service_provider=vendor, organization={"siret": siret, "raison_sociale": "VILLE"})
        for siret in (SIRET, OTHER_SIRET)
    ]
    listed = stack.operate("habilitations", "list", "--vendor", VENDOR_SIRET)
    mine = {one["id"]: one for one in listed if one["id"] in {each.habilitation for each in served}}
    assert [[key["id"] for key in mine[each.habilitation]["keys"]] for each in served] == [
        [each.token_id] for each in served
    ]
    assert {one["siret"] for one in mine.values()} == {SIRET, OTHER_SIRET}


def test_a_dry_run_asks_nobody(stack: Stack) -> None:
    tried = stack.operate("habilitations", "dry-run", "--scopes", "dgfip_nombre_parts,unheard_of")
    assert tried["datasets"]["revenu_fiscal_reference"]["body"] == {"nombreParts": 1.5}
    assert tried["datasets"]["quotient_familial"]["status"] == 403
    assert tried["unknown"] == ["unheard_of"]


# ── Least privilege ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "sid",
    [
        *("ReadDatapassSecret", "KeepHabilitations", "WriteTokens", "FindTokens"),
        *("MakeGatewayKeys", "FindUsagePlan", "JoinUsagePlan"),
    ],
)
def test_without_a_statement_no_approval_makes_a_key(stack: Stack, datapass: Datapass, sid: str) -> None:
    payload = told(at=int(time.time()), model_id=next(_IDS))
    before = {one["id"] for one in stack.operate("keys", "list")}
    stack.forget("DatapassWebhook")  # the secret, which is remembered for a minute
    with stack.without_statement("DatapassWebhook", sid):
        assert datapass.post(payload).status_code == 500
    assert {one["id"] for one in stack.operate("keys", "list")} == before
    token_id = datapass.post(payload).json()["token_id"]  # delivered again: nothing half-made is in its way
    assert len(gateway_keys(stack, token_id)) == 1


def test_without_its_statement_nothing_is_set_aside_nor_accepted(stack: Stack, datapass: Datapass) -> None:
    payload = told(at=int(time.time()), model_id=next(_IDS), scopes=[])
    with stack.without_statement("DatapassWebhook", "SetEventsAside"):
        assert datapass.post(payload).status_code == 500
    assert datapass.post(payload).status_code == 200


@pytest.mark.parametrize("sid", ["OpenLinks", "KeepHistory", "ReadTokens", "FindTokens", "RevealGatewayKeys"])
def test_without_a_statement_no_link_shows_a_key(stack: Stack, datapass: Datapass, sid: str) -> None:
    approved = datapass.approve("dgfip_nombre_parts")
    address = stack.operate("habilitations", "link", approved.habilitation)["link"]
    with stack.without_statement("KeyLink", sid):
        assert open_link(stack, address).status_code == 500


@pytest.mark.parametrize("sid", ["ReadTokens", "FindTokens", "RevokeTokens", "DeleteGatewayKeys"])
def test_without_a_statement_no_key_is_killed(stack: Stack, sid: str) -> None:
    made = stack.issue("dgfip_nombre_parts")
    with stack.without_statement("KeyReport", sid):
        reported = requests.post(f"{stack.api_url}/keys/compromised", json={"key": made["key"]}, timeout=60)
        assert reported.status_code == 500
    requests.post(f"{stack.api_url}/keys/compromised", json={"key": made["key"]}, timeout=60)
    assert stack.get("/introspect", key=made["key"]).status_code == 401
