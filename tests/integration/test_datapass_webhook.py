"""Receive DataPass's events: the signature, the trial, and the events that cannot be processed."""

import json
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest

from api_particulier.habilitations import provisioning
from ops.habilitations import replay
from tests.support.cloud import Cloud
from tests.support.datapass import FIRED_AT, SIRET, VENDOR_SIRET, Town, datapass_event, signature, signed_request
from tests.support.function import Response, invoke, new_environment

REFUSED = {
    "error": "access_denied",
    "reason": "Signature missing or wrong",
    "message": "La signature de l'appel est absente ou incorrecte",
}


@pytest.fixture
def town(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(cloud, monkeypatch)


# ── The signature ────────────────────────────────────────────────────────────────────────────────────────────────────


def without_signature() -> dict[str, Any]:
    made = signed_request(datapass_event())
    del made["headers"]["X-Hub-Signature-256"], made["multiValueHeaders"]["X-Hub-Signature-256"]
    return made


BODY = json.dumps(datapass_event()).encode()


WRONG = {
    "empty": "",
    "no digest": "sha256=",
    "zeroes": "sha256=" + "0" * 64,
    "another secret's": signature(BODY, "another secret"),
    "no secret's": signature(BODY, ""),
    "without its name": signature(BODY).removeprefix("sha256="),
    "in capitals": signature(BODY).upper(),
    "of another name": signature(BODY).replace("sha256", "sha1"),
    "another body's": signature(BODY + b" "),
    "accents": "é" * 71,
    "half a character": "\ud800",
}


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG)
def test_a_wrong_signature_is_refused_and_nothing_changes(town: Town, header: str) -> None:
    made = signed_request(BODY)
    made["headers"]["X-Hub-Signature-256"] = header
    answer = invoke(made, "datapass_webhook")
    assert (answer.status, answer.body) == (401, REFUSED)
    assert (town.stored_items(), town.tokens(), town.gateway_keys(), town.dead_letters()) == ([], [], [], [])


def test_a_missing_signature_is_refused(town: Town) -> None:
    answer = invoke(without_signature(), "datapass_webhook")
    assert (answer.status, answer.body) == (401, REFUSED)
    assert town.stored_items() == []


def test_a_body_that_differs_by_a_space_is_refused(town: Town) -> None:
    made = signed_request(datapass_event())
    made["body"] = json.dumps(json.loads(made["body"]), indent=1)
    assert invoke(made, "datapass_webhook").status == 401
    assert town.stored_items() == []


def test_a_body_in_base64_is_decoded_before_its_signature_is_checked(town: Town) -> None:
    made = signed_request(datapass_event())
    made |= {"body": b64encode(made["body"].encode()).decode(), "isBase64Encoded": True}
    assert invoke(made, "datapass_webhook").body.keys() == {"token_id"}
    assert len(town.tokens()) == 1


def test_the_signature_header_is_read_in_any_case(town: Town) -> None:
    made = signed_request(datapass_event())
    made["headers"]["x-hub-signature-256"] = made["headers"].pop("X-Hub-Signature-256")
    assert invoke(made, "datapass_webhook").status == 200
    assert len(town.tokens()) == 1


def test_an_empty_secret_refuses_every_signature(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = boto3.client("secretsmanager").create_secret(Name="empty", SecretString=" ")["ARN"]
    monkeypatch.setenv("DATAPASS_SECRET_ID", empty)
    answer = invoke(signed_request(datapass_event(), ""), "datapass_webhook")
    assert (answer.status, answer.body["error"]) == (503, "not_configured")
    assert town.stored_items() == []


def test_a_trial_of_datapass_is_accepted_and_stores_nothing(town: Town) -> None:
    answer = town.send({"test": True, "timestamp": "2026-11-23T10:00:00+01:00"})
    assert (answer.status, answer.body) == (200, {})
    assert (town.stored_items(), town.dead_letters()) == ([], [])


# ── Events set aside ─────────────────────────────────────────────────────────────────────────────────────────────────

UNPROCESSABLE = {
    "not JSON": b"{",
    "not an object": b"[]",
    "another API": json.dumps(datapass_event() | {"model_type": "authorization_request/api_entreprise"}).encode(),
    "no id": json.dumps({name: value for name, value in datapass_event().items() if name != "model_id"}).encode(),
    "no time": json.dumps(datapass_event() | {"fired_at": None}).encode(),
    "the future": json.dumps(datapass_event() | {"fired_at": 10**11}).encode(),
    "a wrong SIRET": json.dumps(
        datapass_event(organization={"siret": "21000000000018", "raison_sociale": "X"})
    ).encode(),
    "no scope": json.dumps(datapass_event(scopes=[])).encode(),
    "no known scope": json.dumps(datapass_event(scopes=["another_api_identite"])).encode(),
    "a vendor without its reasons": json.dumps(
        datapass_event(service_provider={"siret": VENDOR_SIRET, "name": "ÉDITEUR"}, description=" ")
    ).encode(),
}


@pytest.mark.parametrize("body", UNPROCESSABLE.values(), ids=UNPROCESSABLE)
def test_an_event_that_cannot_be_processed_goes_to_the_dead_letter_queue(
    town: Town, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    answer = town.send(body)
    assert (answer.status, answer.body) == (200, {})
    assert town.dead_letters() == [body.decode()]
    assert (town.tokens(), town.gateway_keys()) == ([], [])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert "habilitation_unprocessable" in {line.get("event") for line in lines}


NOT_FOR_THE_QUEUE = {
    "ending in NUL": (BODY + b"\0", 1),
    "with a control character": (b'{"a": "\x01"}', 1),
    "empty": (b"", 0),
    "as large as the queue takes": (b'"' + b"a" * 262_142 + b'"', 1),
    "over what the queue takes": (b'"' + b"a" * 262_143 + b'"', 0),
    "of 3 MB": (json.dumps(datapass_event("another") | {"x": "é" * 1_500_000}).encode(), 0),
    "unknown, and too large for its history": (json.dumps(datapass_event("another", x="a" * 150_000)).encode(), 1),
}


@pytest.mark.parametrize(("body", "kept"), NOT_FOR_THE_QUEUE.values(), ids=NOT_FOR_THE_QUEUE)
def test_whatever_is_signed_is_answered_200_and_set_aside_or_refused_with_an_alarm(
    town: Town, capfd: pytest.CaptureFixture[str], body: bytes, kept: int
) -> None:
    answer = town.send(body)
    assert (answer.status, answer.body) == (200, {})
    assert len(town.dead_letters()) == kept
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert "habilitation_unprocessable" in {line.get("event") for line in lines}


ORGANIZATION = datapass_event()["data"]["organization"]
APPLICANT = datapass_event()["data"]["applicant"]
LEFT_OUT = {
    **{f"{name} null": {"applicant": APPLICANT | {name: None}} for name in ("job_title", "given_name", "family_name")},
    "applicant's mail null": {"applicant": APPLICANT | {"email": None}},
    "no applicant": {"applicant": None},
    "form_uid null": {"form_uid": None},
    "name null": {"organization": ORGANIZATION | {"name": None}},
    "raison_sociale null": {"organization": ORGANIZATION | {"raison_sociale": None, "name": "VILLE DE FICTIVE"}},
    "no name at all": {"organization": {"siret": ORGANIZATION["siret"]}},
    "intitule null": {"intitule": None},
    "description null": {"description": None},
    "no legal basis": {"cadre_juridique_nature": None, "cadre_juridique_url": None},
    "a scope null": {"scopes": ["dgfip_nombre_parts", None]},
    "no contact": {f"contact_technique_{name}": None for name in ("email", "given_name", "family_name", "job")},
    "service_provider null": {"service_provider": None},
    "service_provider's null": {"service_provider": {"siret": None, "name": None}},
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_datapass_leaves_out_does_not_stop_an_approval(town: Town, what: str) -> None:
    answer = town.notify(**LEFT_OUT[what])
    assert (answer.status, answer.body.keys()) == (200, {"token_id"})
    assert town.dead_letters() == []
    [token] = town.tokens()
    assert token.organisation


def test_an_event_without_data_still_revokes(town: Town) -> None:
    town.notify()
    assert town.send(datapass_event("revoke", FIRED_AT + 1) | {"data": None}).body == {}
    assert town.gateway_keys() == []
    assert town.dead_letters() == []


def test_an_approval_after_the_end_goes_to_the_dead_letter_queue(town: Town) -> None:
    town.notify("revoke")
    assert town.notify("approve", FIRED_AT + 1).body == {}
    assert len(town.dead_letters()) == 1
    assert town.gateway_keys() == []


def test_a_failure_of_the_service_sets_the_event_aside_and_asks_for_another_delivery(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HABILITATIONS_TABLE", "nowhere")
    new_environment()
    answer = town.notify()
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert len(town.dead_letters()) == 1


def test_an_event_that_cannot_be_set_aside_is_not_accepted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPASS_DEAD_LETTERS", "https://sqs.eu-west-3.amazonaws.com/123456789012/nowhere")
    assert town.notify(scopes=[]).status == 500


def test_no_personal_data_is_logged(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    town.notify()
    town.notify("revoke", FIRED_AT + 1)
    town.notify("alix@ville-imaginaire.exemple.fr", FIRED_AT + 2)
    town.notify(scopes=[], model_id=26002)
    town.notify(organization={"siret": "IMAGINAIRE"}, model_id=26003)
    logged = capfd.readouterr()
    assert "habilitation_told" in logged.out
    for word in ("IMAGINAIRE", "imaginaire", "Alix", "Sacha", "cantine", "0100000000", SIRET):
        assert word not in logged.out + logged.err


def test_the_response_has_the_headers_of_every_response(town: Town) -> None:
    answer: Response = town.notify()
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_a_changed_secret_is_read_by_a_new_environment(town: Town) -> None:
    town.notify("create")
    boto3.client("secretsmanager").put_secret_value(SecretId="datapass", SecretString="changed")
    new_environment()
    assert invoke(signed_request(datapass_event(at=FIRED_AT + 1), "changed"), "datapass_webhook").status == 200


# ── The replay ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "signed",
    [None, signature(BODY + b" "), signature(BODY, "another secret"), signature(BODY, "")],
    ids=["nothing", "another body", "another secret", "no secret"],
)
def test_a_message_that_datapass_did_not_sign_is_not_replayed(town: Town, signed: str | None) -> None:
    town.set_aside(BODY.decode(), signed)
    (result,) = replay(town.deployment, datetime.now(UTC))
    assert (result.habilitation, result.outcome) == (None, "refused: DataPass did not sign it")
    assert (town.stored_items(), town.tokens(), len(town.dead_letters())) == ([], [], 1)


def test_an_event_that_was_set_aside_is_replayed_with_its_signature(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(provisioning, "process", lambda *_: 1 / 0)
        assert town.send(BODY).status == 500
    (shown,) = replay(town.deployment, datetime.now(UTC), changes=False)
    assert (shown.event, shown.outcome, town.tokens()) == ("approve", "to be processed", [])
    (result,) = replay(town.deployment, datetime.now(UTC))
    assert (result.outcome, len(town.tokens()), town.dead_letters()) == ("applied", 1, [])


def test_an_event_signed_before_the_secret_was_changed_is_replayed(town: Town) -> None:
    town.set_aside(BODY.decode(), signature(BODY))
    boto3.client("secretsmanager").put_secret_value(SecretId="datapass", SecretString="changed")
    assert [result.outcome for result in replay(town.deployment, datetime.now(UTC))] == ["applied"]
