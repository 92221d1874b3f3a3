"""The simulated API-SECU: the identities that it finds, the requests that it refuses, its faults on demand."""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sandbox.simulators import PEOPLE
from sandbox.simulators.api_secu import Personne, app, app_of, client, fault_of, personnes
from sandbox.town.identite import identity_of
from tests.support.api_secu import call, play_gate
from tests.support.cloud import Cloud

KNOWN: dict[str, Any] = {
    "nomNaissance": "LE BRETON-ÈVE",
    "prenoms": "ANNE-LISE MARIE",
    "dateNaissance": "1984-06-23",
    "sexe": "F",
    "commune": "35238",
    "c2s": {"indicateur": "BENEFICIAIRE_SANS_PARTICIPATION_FINANCIERE"},
}
ABROAD = {**KNOWN, "pays": "99139", "commune": None, "retrouvable_sans_date": True}
ASKED = {
    "nomNaissance": "Le Breton Eve",
    "listePrenoms": "Anne Lise Marie",
    "dateNaissance": "1984-06-23",
    "codePaysNaissance": "99100",
    "codeLieuNaissance": "35238",
    "genre": "F",
}
HEADERS = {"X-Correlation-ID": "0b54f8a6-6c3c-4f0e-9d1f-0a6f0c1d2e3f", "X-APIPART-FSFINAL": "13002526500013"}
BENEFIT = "complementaire_sante_solidaire"


def gate_of(*people: Mapping[str, Any]) -> Client:
    return Client(app_of(lambda: [Personne.model_validate(person) for person in people]))


def token(gate: Client, benefit: str = BENEFIT, **changes: str) -> TestResponse:
    secret = client(benefit) | changes
    basic = urlsafe_b64encode("{client_id}:{client_secret}".format_map(secret).encode()).decode()
    form = {"grant_type": "client_credentials", "scope": secret["scope"]}
    return gate.post("/token", data=form, headers={"Authorization": f"Basic {basic}"})


def ask(
    gate: Client,
    changes: Mapping[str, str | None] | None = None,
    *,
    benefit: str = BENEFIT,
    headers: Mapping[str, str] = HEADERS,
) -> TestResponse:
    bearer = {"Authorization": f"Bearer {token(gate).get_json()['access_token']}"}
    query = {name: value for name, value in {**ASKED, **(changes or {})}.items() if value is not None}
    return gate.get(f"/{benefit}", query_string=query, headers=bearer | dict(headers))


def error_of(response: TestResponse) -> int | None:
    found: int | None = (response.get_json() or {}).get("errorCode")
    return found


# ── Who is found: the table of the contract (§8), each row by other values ────────────────────────────────────────────

FOUND: dict[str, tuple[dict[str, str | None], dict[str, Any], bool]] = {
    "all first names, the whole date": ({}, KNOWN, True),
    "the first name alone, the whole date": ({"listePrenoms": "ANNE-LISE"}, KNOWN, True),
    "no first name, the whole date": ({"listePrenoms": None}, KNOWN, True),
    "the year": ({"dateNaissance": "1984-00-00"}, KNOWN, True),
    "the year and the month": ({"dateNaissance": "1984-06-00"}, KNOWN, True),
    "misspelt by ear": ({"listePrenoms": "ANE-LIZE MARI"}, KNOWN, True),
    "misspelt by finger": ({"listePrenoms": "ANNE-LIDE MATIE"}, KNOWN, True),
    "misspelt, the year alone": ({"listePrenoms": "ANE-LIZE", "dateNaissance": "1984-00-00"}, KNOWN, False),
    "no date, born in France": ({"dateNaissance": "0000-00-00"}, KNOWN, False),
    "no date, born abroad": (
        {"dateNaissance": "0000-00-00", "codePaysNaissance": "99139", "codeLieuNaissance": None},
        ABROAD,
        True,
    ),
    "another birth name": ({"nomNaissance": "LE BRETON"}, KNOWN, False),
    "another year": ({"dateNaissance": "1985-06-23"}, KNOWN, False),
    "another day": ({"dateNaissance": "1984-06-24"}, KNOWN, False),
    "another commune": ({"codeLieuNaissance": "75111"}, KNOWN, False),
    "no commune": ({"codeLieuNaissance": None}, KNOWN, True),
    "another country": ({"codePaysNaissance": "99134", "codeLieuNaissance": None}, KNOWN, False),
    "another first name": ({"listePrenoms": "PAULINE"}, KNOWN, False),
    "the other sex": ({"genre": "M"}, KNOWN, True),
}


@pytest.mark.parametrize("case", FOUND)
def test_a_person_is_found_by_enough_of_an_identity(case: str) -> None:
    changes, person, found = FOUND[case]
    response = ask(gate_of(person), changes)
    assert (response.status_code, error_of(response)) == ((200, None) if found else (404, 40409))


def test_two_people_of_one_identity_are_not_found() -> None:
    assert error_of(ask(gate_of(KNOWN, KNOWN))) == 40409
    other = KNOWN | {"commune": "29019"}
    assert ask(gate_of(KNOWN, other)).status_code == 200


# ── What the gate refuses ────────────────────────────────────────────────────────────────────────────────────────────

REFUSED: dict[str, tuple[dict[str, str | None], int]] = {
    "no name": ({"nomNaissance": None}, 40002),
    "an accent": ({"nomNaissance": "ÈVE"}, 40003),
    "an accent in a first name": ({"listePrenoms": "ZOÉ"}, 40003),
    "no sex": ({"genre": None}, 40014),
    "no date": ({"dateNaissance": None}, 40011),
    "a country of letters": ({"codePaysNaissance": "FR"}, 40015),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_malformed_request_has_its_code(case: str) -> None:
    changes, code = REFUSED[case]
    response = ask(gate_of(KNOWN), changes)
    assert (response.status_code, error_of(response)) == (400, code)


def test_a_correlation_id_is_a_uuid_and_a_recipient_14_digits() -> None:
    gate = gate_of(KNOWN)
    assert error_of(ask(gate, headers=HEADERS | {"X-Correlation-ID": "un"})) == 40031
    assert error_of(ask(gate, headers=HEADERS | {"X-APIPART-FSFINAL": "1300252650001"})) == 40016


def test_a_token_is_that_of_one_benefit_and_of_its_client() -> None:
    gate = gate_of(KNOWN)
    assert ask(gate, benefit="prime_activite").status_code == 403
    assert token(gate, client_secret="autre").status_code == 401
    assert token(gate, scope=client("prime_activite")["scope"]).status_code == 400
    assert gate.get(f"/{BENEFIT}", query_string=ASKED, headers=HEADERS).status_code == 401


# ── Faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_person_may_be_down_unreadable_or_one_too_many() -> None:
    down, unreadable, many = (ask(gate_of(KNOWN | {"reponse": fault})) for fault in ("panne", "illisible", "trop"))
    assert down.status_code == 503
    assert (unreadable.status_code, unreadable.is_json) == (200, False)
    assert (many.status_code, many.headers["Retry-After"]) == (429, "30")


def test_a_slow_person_answers_after_the_time_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("sandbox.simulators.api_secu.time.sleep", waits.append)
    assert ask(gate_of(KNOWN | {"reponse": "lent", "secondes": 12})).status_code == 200
    assert waits == [12]


def test_a_person_has_the_code_of_the_file_with_its_fund() -> None:
    response = ask(gate_of(KNOWN | {"reponse": 40401}), benefit=BENEFIT)
    assert (response.status_code, error_of(response), response.headers["X-APISECU-FD"]) == (404, 40401, "99430000")


def test_a_file_is_read_again_when_it_changes_and_its_faults_are_named_without_values(tmp_path: Path) -> None:
    file = tmp_path / "assures.toml"
    file.write_text('[[personne]]\nnomNaissance = "SECRET"\nsexe = 3\n')
    assert "sexe" in (fault_of(file) or "")
    assert "SECRET" not in (fault_of(file) or "")
    gate = Client(app(file))
    assert ask(gate).status_code == 500
    lines = [f'{name} = "{value}"' for name, value in KNOWN.items() if isinstance(value, str)]
    file.write_text("\n".join(["[[personne]]", *lines]))
    assert ask(gate).get_json() == {"indicateur": "NON_BENEFICIAIRE_CSS"}


# ── The people of the sandbox, through the API ───────────────────────────────────────────────────────────────────────

CODES = {
    "DELMAS": None,
    "VASSEUR": "35003",
    "MOREAU": "23003",
    "PEYRE": "10003",
    "REFUSE": "36561",
    "CAISSE": "36000",
    "ERREUR": "36000",
    "PANNE": "36001",
    "ILLISIBLE": "36999",
    "TROP": "36008",
    "INDICATEUR": "36999",
}


def test_the_people_of_the_sandbox_answer_each_row_of_the_contract(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = {person.nom_naissance: person for person in personnes(PEOPLE / "assures.toml")}
    key = cloud.issue_key("revenu_solidarite_active")
    found = {}
    with play_gate(monkeypatch, app(PEOPLE / "assures.toml")):
        for name in CODES:
            body = call("revenu_solidarite_active", key, identity_of(people[name])).body
            found[name] = body["errors"][0]["code"] if "errors" in body else None
    assert found == CODES
