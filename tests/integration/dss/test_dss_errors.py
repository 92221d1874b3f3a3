"""Each error of v3 from its cause, with its status, code, source and meta; nothing of the gate's words."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from errno import EHOSTUNREACH, ENETDOWN, ENETUNREACH
from typing import Any

import pytest
import time_machine

from api_particulier.v3_errors import KINDS, code_of, kinds_of
from sandbox.simulators.api_secu import FUNDS
from tests.support import openapi, wire
from tests.support.api_secu import EVERY_SCOPE, Gate, call
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, new_environment, shorten_timeouts

BENEFIT = "allocation_soutien_familial"
SECRET_WORDS = "phrase du fournisseur"
OURS = "Sécurité sociale"


def only(response: Response) -> dict[str, Any]:
    """Return the only object of a refusal."""
    (error,) = response.body["errors"]
    return dict(error)


def code(number: int | str) -> dict[str, Any]:
    return {"errorCode": number, "error": SECRET_WORDS}


ANSWERS: dict[str, tuple[int, Any, str | None, int, str, dict[str, Any]]] = {
    "a person that the SNGI does not know": (404, code(40409), "CNAF", 422, "36560", {"provider": OURS}),
    "a person of no fund": (404, code(40406), None, 404, "35003", {"provider": "CNAF & MSA"}),
    "a person of no fund, by another code": (404, code("40412"), "MSA", 404, "35003", {"provider": "CNAF & MSA"}),
    "no file at the CNAF": (404, code(40401), "CNAF", 404, "23003", {"provider": "CNAF"}),
    "no file at the MSA": (404, code(40499), "MSA", 404, "10003", {"provider": "MSA"}),
    "no file at the RNCPS": (404, b"", "RNCPS", 404, "40003", {"provider": "RNCPS"}),
    "a 404 of nobody": (404, code(40401), None, 502, "36999", {"provider": OURS}),
    "a name that is refused": (400, code(40003), None, 422, "36561", {"provider": OURS, "provider_error_code": 40003}),
    "a code in a text": (400, code("40014"), None, 422, "36561", {"provider": OURS, "provider_error_code": 40014}),
    "an unknown code": (400, code(40077), None, 422, "36561", {"provider": OURS, "provider_error_code": 40077}),
    "a period": (400, code(40029), "CNAF", 422, "36561", {"provider": OURS, "provider_error_code": 40029}),
    "a fund that failed": (400, code(40000), "MSA", 502, "36000", {"provider": OURS, "provider_error_code": 40000}),
    "the wrong fund": (400, code(40024), "MSA", 502, "36000", {"provider": OURS, "provider_error_code": 40024}),
    "a 400 without a code": (400, b"<html></html>", None, 502, "36999", {"provider": OURS}),
    "a 400 whose code is a word": (400, code("SELECT"), None, 502, "36999", {"provider": OURS}),
    "an internal error": (500, code(50001), None, 502, "36000", {"provider": OURS, "provider_error_code": 50001}),
    "an internal error without a code": (500, b"", None, 502, "36000", {"provider": OURS}),
    "a redirection": (302, b"", None, 502, "36000", {"provider": OURS}),
    "a bad gateway": (502, b"", None, 502, "36001", {"provider": OURS, "retry_in": 10}),
    "a maintenance": (503, b"", None, 502, "36001", {"provider": OURS, "retry_in": 10}),
    "a timeout": (504, b"", None, 504, "36002", {"provider": OURS}),
    "too many": (429, b"", None, 502, "36008", {"provider": OURS, "retry_in": 60}),
    "a teapot": (418, b"", None, 502, "36999", {"provider": OURS}),
    "no content": (204, b"", None, 502, "36999", {"provider": OURS}),
}


@pytest.mark.parametrize("case", ANSWERS)
def test_an_answer_of_the_gate_has_its_code(cloud: Cloud, key: str, gate: Gate, case: str) -> None:
    gate.status, gate.body, fund, status, expected, meta = ANSWERS[case]
    gate.headers = {"X-APISECU-FD": FUNDS[fund]} if fund else {}
    response = call(BENEFIT, key)
    error = only(response)
    assert (response.status, error["code"], error["meta"]) == (status, expected, meta)
    assert SECRET_WORDS not in response.text
    assert response.headers.get("Retry-After") == (str(meta["retry_in"]) if "retry_in" in meta else None)
    (record,) = cloud.audit_records()
    assert (record["status"], record["error"], record["released"]) == (status, expected, [])


def test_the_quotient_has_its_own_provider_and_digits(key: str, gate: Gate) -> None:
    gate.status, gate.body = 404, code(40409)
    error = only(call("quotient_familial", key))
    assert (error["code"], error["meta"]) == ("35560", {"provider": "CNAF & MSA"})


def test_a_period_that_the_gate_refuses_is_35565(key: str, gate: Gate) -> None:
    gate.status, gate.body = 400, code(40029)
    error = only(call("quotient_familial", key))
    assert (error["code"], error["meta"]["provider_error_code"]) == ("35565", 40029)


def test_the_gates_wait_is_passed_on(key: str, gate: Gate) -> None:
    gate.status, gate.headers = 429, {"Retry-After": "17"}
    response = call(BENEFIT, key)
    assert (only(response)["meta"]["retry_in"], response.headers["Retry-After"]) == (17, "17")


def test_the_cnaf_may_be_late_in_the_first_ten_days_of_a_month(key: str, gate: Gate) -> None:
    gate.status, gate.body = 404, code(40401)
    details = []
    for day in ("2026-11-10T08:00:00Z", "2026-11-11T08:00:00Z"):
        with time_machine.travel(day, tick=False):
            details.append(only(call(BENEFIT, key))["detail"])
    assert "début de mois" in details[0]
    assert "début de mois" not in details[1]


def test_what_is_wrong_with_an_identity_is_said_in_words_of_ours(key: str, gate: Gate) -> None:
    gate.status, gate.body = 400, code(40013)
    assert only(call(BENEFIT, key))["detail"].endswith(": la commune de naissance.")


type Server = Callable[[], AbstractContextManager[str]]
BROKEN: dict[str, tuple[Server, str]] = {
    "refused": (wire.refusing, "36001"),
    "reset": (wire.resetting, "36001"),
    "silent": (wire.silent, "36002"),
    "without TLS": (wire.plain_behind_https, "36009"),
    "not HTTP": (wire.answering(b"bonjour\r\n\r\n"), "36999"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_network_has_its_code(key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    assert gate.url
    server, expected = BROKEN[case]
    if server is wire.silent:
        shorten_timeouts(monkeypatch)
    with server() as url:
        monkeypatch.setenv("API_SECU_URL", url)
        assert only(call(BENEFIT, key))["code"] == expected


def test_a_name_that_is_not_resolved_is_36004(key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate.url
    monkeypatch.setenv("API_SECU_URL", "https://api-secu.invalid")
    assert only(call(BENEFIT, key))["code"] == "36004"


@pytest.mark.parametrize(("number", "expected"), [(ENETUNREACH, "00501"), (ENETDOWN, "00501"), (EHOSTUNREACH, "36001")])
def test_without_a_network_of_ours_the_fault_is_ours(
    key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, number: int, expected: str
) -> None:
    assert gate.url
    assert call(BENEFIT, key).status == 200
    new_environment()

    def connect(*_: object, **__: object) -> None:
        raise OSError(number, SECRET_WORDS)

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    response = call(BENEFIT, key)
    error = only(response)
    assert (response.status, error["code"], response.headers["Retry-After"]) == (502, expected, "10")
    assert error["meta"] == ({"retry_in": 10} if expected == "00501" else {"provider": OURS, "retry_in": 10})


# ── Keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

EXPIRED = (datetime.now(UTC) - timedelta(days=1)).isoformat()
KEYS: dict[str, tuple[dict[str, Any], int, str, dict[str, str]]] = {
    "expired": ({"expires": EXPIRED}, 401, "00103", {"parameter": "token"}),
    "revoked": ({"state": "revoked"}, 401, "00105", {"parameter": "token"}),
    "suspended": ({"state": "suspended"}, 401, "00105", {"parameter": "token"}),
    "elsewhere": ({"allowed": ["198.51.100.0/24"]}, 403, "00107", {"header": "X-Forwarded-For"}),
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_that_cannot_be_used_has_its_code(cloud: Cloud, gate: Gate, case: str) -> None:
    changes, status, expected, source = KEYS[case]
    response = call(BENEFIT, cloud.issue_key(BENEFIT, **changes))
    error = only(response)
    assert (response.status, error["code"], error["source"], error["meta"]) == (status, expected, source, {})
    assert gate.questions == []


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic abc"}, {"X-API-Key": "inconnue"}])
def test_no_key_or_an_unknown_one_is_00101(gate: Gate, headers: dict[str, str]) -> None:
    response = call(BENEFIT, headers.get("X-API-Key", ""), headers=headers)
    assert (response.status, only(response)["code"]) == (401, "00101")
    assert gate.questions == []


def test_the_bearer_is_the_key_and_two_different_keys_are_none(key: str, gate: Gate) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    assert call(BENEFIT, "", headers=bearer).status == 200
    assert call(BENEFIT, key, headers=bearer).status == 200
    assert call(BENEFIT, "0" * 64, headers=bearer).status == 401
    assert call_api("introspect/introspect", key=key, headers=bearer).status == 200
    assert len(gate.questions) == 2


# ── This side ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_its_record_a_call_is_00510(key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate.url
    monkeypatch.setenv("AUDIT_TABLE", "no such table")
    new_environment()
    response = call(BENEFIT, key)
    assert (response.status, only(response)["code"]) == (503, "00510")
    assert response.headers["Retry-After"] == "10"


def test_the_unforeseen_is_00500_without_its_cause(key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert gate.url

    def fail(*_: object) -> None:
        raise ZeroDivisionError(SECRET_WORDS)

    monkeypatch.setattr("api_particulier.api.handler.mask", fail)
    response = call(BENEFIT, key)
    assert (response.status, only(response)["code"]) == (500, "00500")
    assert SECRET_WORDS not in response.text


def test_an_announced_maintenance_is_36020_until_its_end(cloud: Cloud, key: str, gate: Gate) -> None:
    now = datetime.now(UTC)
    maintenance = {
        "start": (now - timedelta(hours=1)).isoformat(timespec="seconds"),
        "end": (now + timedelta(hours=1)).isoformat(timespec="seconds"),
        "message": "mise à jour",
    }
    cloud.stats.put_item(Item={"pk": f"provider#dss#{BENEFIT}", "sk": "health", "maintenances": [maintenance]})
    response = call(BENEFIT, key)
    error = only(response)
    assert (response.status, error["code"]) == (503, "36020")
    assert "mise à jour" in error["detail"]
    assert 3500 < error["meta"]["retry_in"] <= 3600
    assert gate.questions == []


NAMES = ("Abgrall", "Bescond", "Corre", "Donval", "Evenou")


def call_about_five_people_from_two_callers(cloud: Cloud, key: str) -> None:
    """Make the calls whose failures open a circuit: those of a caller, or about a person, alone do not."""
    keys = (key, cloud.issue_key(*EVERY_SCOPE))
    for number, name in enumerate(NAMES):
        call(BENEFIT, keys[number % 2], nomNaissance=name)


def test_a_benefit_that_fails_opens_its_own_circuit(cloud: Cloud, key: str, gate: Gate) -> None:
    gate.status, gate.body = 503, b""
    call_about_five_people_from_two_callers(cloud, key)
    response = call(BENEFIT, key)
    assert (only(response)["code"], len(gate.questions)) == ("36001", 5)
    assert only(response)["meta"]["retry_in"] > 0
    gate.status, gate.body = 200, {"indicateur": "NON_BENEFICIAIRE"}
    assert call("prime_activite", key).status == 200
    item = cloud.stats.get_item(Key={"pk": f"provider#dss#{BENEFIT}", "sk": "health"})["Item"]
    assert "open_until" in item


def test_the_failures_of_one_caller_about_one_person_open_no_circuit(cloud: Cloud, key: str, gate: Gate) -> None:
    gate.status, gate.body = 503, b""
    for _ in range(6):
        call(BENEFIT, key)
    assert len(gate.questions) == 5  # it waits, and the others do not
    assert "open_until" not in cloud.stats.get_item(Key={"pk": f"provider#dss#{BENEFIT}", "sk": "health"})["Item"]
    gate.status, gate.body = 200, {"indicateur": "NON_BENEFICIAIRE"}
    assert call(BENEFIT, cloud.issue_key(*EVERY_SCOPE), nomNaissance="Corre").status == 200


@pytest.mark.parametrize("number", [40409, 40406, 40401, 40013])
def test_a_refusal_of_the_gate_opens_no_circuit(key: str, gate: Gate, number: int) -> None:
    gate.status, gate.body = number // 100, code(number)
    for _ in range(7):
        call(BENEFIT, key)
    assert len(gate.questions) == 7


def test_tokens_have_a_circuit_of_their_own(cloud: Cloud, key: str, gate: Gate) -> None:
    gate.token_status, gate.token_body = 503, b""
    call_about_five_people_from_two_callers(cloud, key)
    call(BENEFIT, key)
    assert len(gate.token_requests) == 5
    assert "open_until" in cloud.stats.get_item(Key={"pk": "provider#dss", "sk": "health"})["Item"]


# ── The catalogue ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_catalogue_is_public_and_has_every_code_once(gate: Gate) -> None:
    assert gate.url
    response = call_api("site/errors")
    catalogue = response.body
    assert response.status == 200
    assert [kind["code"] for kind in catalogue] == list(KINDS)
    assert all(kind["title"] and kind["detail"] and kind["when"] for kind in catalogue)


@pytest.mark.parametrize("benefit", ["quotient_familial", "participation_familiale_eaje", BENEFIT])
def test_the_documentation_has_the_codes_of_a_route_by_status(benefit: str) -> None:
    operation = openapi.document()["paths"][f"/v3/dss/{benefit}/identite"]["get"]
    documented = set()
    for status in operation["responses"]:
        if status != "200":
            response, _ = openapi.documented_response("get", f"/v3/dss/{benefit}/identite", int(status))
            content = response["content"]["application/vnd.api+json"]["examples"]
            documented |= {(int(status), each) for each in content}
            assert all(content[each]["value"]["errors"][0]["code"] == each for each in content)
    dataset = f"dss_{benefit}"
    assert documented == {(kind.status, code_of(kind, dataset)) for kind in kinds_of(dataset)}
    assert json.dumps(operation)
