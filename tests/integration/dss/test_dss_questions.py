"""What API-SECU is asked, with which token, on behalf of whom."""

import base64
from typing import Any

import pytest

from api_particulier.providers import api_secu
from sandbox.simulators.api_secu import client
from tests.support.api_secu import EVERY_SCOPE, IDENTITY, RECIPIENT, SCOPES, Gate, call
from tests.support.cloud import Cloud
from tests.support.function import new_environment

BENEFIT = "revenu_solidarite_active"


def test_an_identity_is_sent_in_plain_letters_under_the_names_of_the_gate(key: str, gate: Gate) -> None:
    call(BENEFIT, key, IDENTITY | {"nomUsage": "Œuvrard-Núñez", "prenoms[]": ["Maëlle", "Anne-Élise"]})
    assert gate.questions[-1].path == f"/{BENEFIT}"
    assert gate.asked == {
        "nomNaissance": "Kerleo",
        "nomUsage": "OEuvrard-Nunez",
        "listePrenoms": "Maelle Anne-Elise",
        "dateNaissance": "1987-04-09",
        "codePaysNaissance": "99100",
        "codeLieuNaissance": "29019",
        "genre": "F",
    }


SPELT = {
    "D’Harcourt": "D'Harcourt",
    "ÆGIR": "AEGIR",
    "cœur": "coeur",
    "Ødegård": "Odegard",
    "STRAẞE": "STRASSE",
    "Weiß": "Weiss",
    "Þór": "Thor",
    "Guðrún": "Gudrun",
    "Ÿlmaz": "Ylmaz",
    "Šimůnek": "Simunek",
    "Nguyễn": "Nguyen",
    "Şahin Yıldız": "Sahin Yildiz",
    "Łukasz": "Lukasz",
    "e\u0301toile": "etoile",
    "DE LA TOUR-D'AUVERGNE": "DE LA TOUR-D'AUVERGNE",
}


@pytest.mark.parametrize("name", SPELT)
def test_a_name_of_the_latin_script_is_transliterated(key: str, gate: Gate, name: str) -> None:
    assert call(BENEFIT, key, nomNaissance=name).status == 200
    assert gate.asked["nomNaissance"] == SPELT[name]


DATES = {
    ("1982", "12", "27"): "1982-12-27",
    ("1982", "1", "7"): "1982-01-07",
    ("1982", "12", None): "1982-12-00",
    ("1982", None, None): "1982-00-00",
    ("1982", None, "27"): "1982-00-00",
    (None, "12", "27"): "0000-00-00",
    (None, None, None): "0000-00-00",
}


@pytest.mark.parametrize("parts", DATES)
def test_a_date_has_zeros_for_what_is_unknown(
    key: str, gate: Gate, parts: tuple[str | None, str | None, str | None]
) -> None:
    names = ("anneeDateNaissance", "moisDateNaissance", "jourDateNaissance")
    assert call(BENEFIT, key, IDENTITY | dict(zip(names, parts, strict=True))).status == 200
    assert gate.asked["dateNaissance"] == DATES[parts]


def test_a_commune_is_sent_for_a_birth_in_france_alone(key: str, gate: Gate) -> None:
    call(BENEFIT, key, codeCogInseePaysNaissance="99127")
    assert "codeLieuNaissance" not in gate.asked


def test_a_commune_by_name_is_sent_as_it_is_written(key: str, gate: Gate) -> None:
    call(
        BENEFIT,
        key,
        codeCogInseeCommuneNaissance=None,
        nomCommuneNaissance="Châlons-en-Champagne",
        codeCogInseeDepartementNaissance="51",
    )
    assert (gate.asked["villeNaissance"], gate.asked["depNaissance"]) == ("Châlons-en-Champagne", "51")
    assert "codeLieuNaissance" not in gate.asked


def test_a_question_names_the_call_and_the_recipient(key: str, gate: Gate) -> None:
    response = call(BENEFIT, key)
    headers = gate.questions[-1].headers
    assert headers["X-Correlation-ID"] == response.headers["X-Request-Id"]
    assert headers["X-APIPART-FSFINAL"] == RECIPIENT
    assert headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer jeton"
    assert not gate.questions[-1].get_data()


# ── Tokens ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("benefit", SCOPES)
def test_each_benefit_has_its_client_and_its_scope(key: str, gate: Gate, benefit: str) -> None:
    call(benefit, key)
    (request,) = gate.token_requests
    oauth = client(benefit)
    encoded = base64.urlsafe_b64encode(f"{oauth['client_id']}:{oauth['client_secret']}".encode()).decode()
    assert request.headers["Authorization"] == f"Basic {encoded}"
    assert request.form.to_dict() == {"grant_type": "client_credentials", "scope": oauth["scope"]}
    assert gate.questions[-1].path == f"/{benefit}"


def test_a_token_is_kept_until_30_seconds_before_its_end(key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    for seconds in (0, 500, 569, 570):
        monkeypatch.setattr(api_secu, "monotonic", lambda now=seconds: 1000.0 + now)
        call(BENEFIT, key)
        asked.append(len(gate.token_requests))
    assert asked == [1, 1, 1, 2]


def test_a_refused_token_is_renewed_once(key: str, gate: Gate) -> None:
    call(BENEFIT, key)
    gate.refused_questions = 1
    assert call(BENEFIT, key).status == 200
    assert (len(gate.token_requests), len(gate.questions)) == (2, 3)


def test_a_token_refused_when_it_is_fresh_is_36006(key: str, gate: Gate) -> None:
    call(BENEFIT, key)
    gate.refused_questions = 9
    response = call(BENEFIT, key)
    assert (response.status, response.body["errors"][0]["code"]) == (502, "36006")
    assert (len(gate.token_requests), len(gate.questions)) == (2, 3)


TOKENS: dict[str, tuple[int, Any, str]] = {
    "an unknown client": (401, {"error": "invalid_client"}, "36006"),
    "a scope that is not ours": (400, {"error": "invalid_scope"}, "36006"),
    "a forbidden client": (403, {}, "36006"),
    "a page": (200, b"<html></html>", "36999"),
    "no token": (200, {"token_type": "Bearer", "expires_in": 600}, "36999"),
    "an empty body": (200, b"", "36999"),
    "a failure": (503, b"", "36001"),
    "too many": (429, {}, "36008"),
}


@pytest.mark.parametrize("case", TOKENS)
def test_without_a_token_nothing_is_asked(key: str, gate: Gate, case: str) -> None:
    gate.token_status, gate.token_body, code = TOKENS[case]
    response = call(BENEFIT, key)
    assert (response.status, response.body["errors"][0]["code"]) == (502, code)
    assert gate.questions == []


def test_an_unfilled_secret_is_36006_and_nothing_is_asked(
    key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(BENEFIT, key)
    monkeypatch.setattr("api_particulier.settings.environ", {**_environ(), "API_SECU_SECRET_ID": "no such secret"})
    new_environment()
    response = call(BENEFIT, key)
    assert (response.status, response.body["errors"][0]["code"]) == (502, "36006")
    assert len(gate.questions) == 1


def _environ() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_secret_may_name_the_addresses(cloud: Cloud, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    import boto3

    addresses = {"url": f"{gate.url}/autre/droit", "token_url": f"{gate.url}/token"}
    boto3.client("secretsmanager").put_secret_value(
        SecretId=BENEFIT, SecretString=json.dumps(client(BENEFIT) | addresses)
    )
    monkeypatch.setenv("API_SECU_URL", "")
    assert call(BENEFIT, cloud.issue_key(*EVERY_SCOPE), IDENTITY).status == 200
    assert gate.questions[-1].path == "/autre/droit"
