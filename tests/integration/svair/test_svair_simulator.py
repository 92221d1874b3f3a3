"""Simulate the people of a file, read again at each edit, and the forms of the service."""

import re
from datetime import datetime
from html import unescape
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from sandbox.simulators import svair
from tests.support.cloud import Cloud
from tests.support.function import shorten_timeouts
from tests.support.svair import COUPLE, NBSP, v2
from tests.support.template import ROOT
from tests.support.wire import serve

pytestmark = pytest.mark.slow


PEOPLE_FILE: Final = ROOT / "sandbox/people/avis.toml"
THIS_YEAR: Final = datetime.now(ZoneInfo("Europe/Paris")).year
ENTRY: Final = """[[personne]]
numeroFiscal = "2690000000007"
referenceAvis = "2690000000007"
declarant1 = { nom = "CORMORAN" }
revenuFiscalReference = 12345
"""
NUMBERS: Final = {"numeroFiscal": "2690000000007", "referenceAvis": "2690000000007"}


@pytest.fixture
def people_file(tmp_path: Path) -> Path:
    file = tmp_path / "avis.toml"
    file.write_text(ENTRY)
    return file


def test_an_edit_of_the_people_file_counts_at_the_next_call(
    people_file: Path, cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = cloud.issue_key("dgfip_revenu_fiscal_reference")
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    answers = []
    with serve(svair.app(people_file)) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        for text in (ENTRY, ENTRY.replace("12345", "54321"), "", "personne = []", "[[personne", ENTRY):
            people_file.write_text(text)
            answer = v2(key, **NUMBERS)
            answers.append(answer.body.get("revenuFiscalReference") or answer.body["error"])
    assert answers == [12345, 54321, "network_error", "not_found", "network_error", 12345]
    assert "avis.toml" in capfd.readouterr().err


UNREADABLE: Final = {
    "no TOML": ('nom = CORMORAN, "2690000000007"', "at line 1"),
    "no list": ('personne = "CORMORAN"', "personne"),
    "no entry": ('personne = ["CORMORAN"]', "personne.0"),
    "a key too many": (ENTRY + 'prenom = "CORMORAN"', "personne.0.prenom"),
    "a key too few": ('[[personne]]\nannee = "courante"\nreferenceAvis = "CORMORAN"', "personne.0.numeroFiscal"),
    "a short number": (ENTRY.replace('"2690000000007"', '"269"'), "personne.0.numeroFiscal"),
    "another year": (ENTRY + 'annee = "prochaine"', "personne.0.annee"),
    "numbers for texts": ('[[personne]]\nannee = "courante"\nreferenceAvis = 2690000000007', "personne.0.numeroFiscal"),
    "another answer": (ENTRY + 'reponse = "CORMORAN"', "personne.0.reponse"),
    "an amount that is a list": (ENTRY.replace("12345", '["CORMORAN"]'), "personne.0.revenuFiscalReference"),
}


@pytest.mark.parametrize(("text", "where"), UNREADABLE.values(), ids=UNREADABLE)
def test_the_error_of_an_unreadable_people_file_gives_the_place_and_no_value(
    text: str, where: str, people_file: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    people_file.write_text(text)
    client = svair.app(people_file).test_client()
    answer = _post(client, _state(client))
    assert answer.status_code == 500
    for message in (answer.text, capfd.readouterr().err):
        assert where in message
        assert "CORMORAN" not in message
        assert "2690000000007" not in message


def test_an_absent_or_undecodable_people_file_is_an_error(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# é".encode("latin-1"))
    for file in (tmp_path / "none.toml", latin, tmp_path):
        with pytest.raises(svair.PeopleError, match=file.name):
            svair.people(file)


def test_the_first_person_is_the_one_of_the_getting_started_page() -> None:
    first = svair.people(PEOPLE_FILE)[0]
    assert (first.numero_fiscal, first.reference_avis) == ("2690000000001", f"{THIS_YEAR % 100:02}90000000001")


def test_each_person_of_the_file_gets_the_response_that_the_file_asks_for(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {"interdit": 503, "lent": 503, "panne": 503, "illisible": 502}
    key = cloud.issue_key("dgfip_avis_imposition")
    people = [person.model_copy(update={"secondes": 2}) for person in svair.people(PEOPLE_FILE)]
    with serve(svair.app_of(lambda: people)) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        for person in sorted(people, key=lambda person: person.reponse == "lent"):  # at the end
            if person.reponse == "lent":
                shorten_timeouts(monkeypatch)
            answer = v2(key, numeroFiscal=person.numero_fiscal, referenceAvis=person.reference_avis)
            past = person.annee < THIS_YEAR - 1
            assert answer.status == (404 if past else expected.get(person.reponse, 200))
    assert {person.reponse for person in people} == {"avis", *expected}


@pytest.mark.parametrize(("annee", "year"), [("courante", THIS_YEAR), ("precedente", THIS_YEAR - 1)])
def test_an_entry_may_follow_the_calendar(annee: str, year: int, people_file: Path) -> None:
    people_file.write_text(
        f"""[[personne]]
numeroFiscal = "2690000000007"
referenceAvis = "AA90000000007"
annee = "{annee}"
dateRecouvrement = "31/07/AAAA"
situationPartielle = "Situation AAAA-1"
"""
    )
    [person] = svair.people(people_file)
    assert (person.annee, person.annee_impots, person.annee_revenus) == (year, year, year - 1)
    assert person.reference_avis == f"{year % 100:02}90000000007"
    assert (person.date_recouvrement, person.situation_partielle) == (f"31/07/{year}", f"Situation {year - 1}")


def test_numbers_are_printed_as_the_service_prints_them(people_file: Path) -> None:
    people_file.write_text(
        ENTRY + "montantImpot = -1204\nrevenuImposable = 0\nnombreParts = 2.5\nnombrePersonnesCharge = 3\n"
    )
    [person] = svair.people(people_file)
    assert person.revenu_fiscal_reference == f"12{NBSP}345 €"
    assert person.montant_impot == f"-1{NBSP}204 €"
    assert (person.revenu_imposable, person.nombre_parts, person.nombre_personnes_charge) == ("0 €", "2.50", "3")
    assert (person.annee, person.annee_impots, person.annee_revenus) == (2026, 2026, 2025)


# ── Its forms ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def client() -> FlaskClient:
    return svair.app_of(lambda: [COUPLE]).test_client()


def _state(client: FlaskClient) -> str:
    found = re.search(r'name="javax.faces.ViewState"[^>]* value="([^"]+)"', client.get("/secavis/").text)
    assert found is not None
    return unescape(found[1])


def _post(client: FlaskClient, state: str, **changes: str) -> TestResponse:
    form = {
        "j_id_7:spi": "2690000000001",
        "j_id_7:num_facture": "2690000000001",
        "j_id_7:j_id_l": "Valider",
        "j_id_7_SUBMIT": "1",
        "javax.faces.ViewState": state,
    }
    return client.post("/secavis/faces/commun/index.jsf", data=form | changes)


def test_a_simulated_form_can_be_posted_again(client: FlaskClient) -> None:
    state = _state(client)
    assert ["BRUANT" in _post(client, state).text for _ in range(3)] == [True] * 3


def test_each_form_has_a_state_of_its_own(client: FlaskClient) -> None:
    assert len({_state(client) for _ in range(10)}) == 10


def test_a_state_of_another_session_is_refused(client: FlaskClient) -> None:
    state = _state(client)
    _state(client)  # another session
    for answer in (_post(client, state), _post(svair.app_of(lambda: [COUPLE]).test_client(), state)):
        assert answer.status_code == 500
        assert "ViewExpiredException" in answer.text


@pytest.mark.parametrize("state", ["", "é", "abc", "A" * 76])
def test_a_state_that_the_service_did_not_issue_is_refused(state: str, client: FlaskClient) -> None:
    _state(client)
    assert _post(client, state).status_code == 500


def test_a_state_expires_after_half_an_hour(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    state = _state(client)
    later = datetime.now(ZoneInfo("UTC")).timestamp() + svair.FORM_SECONDS
    monkeypatch.setattr("sandbox.simulators.svair.time.time", lambda: later)
    assert _post(client, state).status_code == 500


def test_a_form_posted_without_its_button_is_shown_again(client: FlaskClient) -> None:
    answer = _post(client, _state(client), **{"j_id_7:j_id_l": ""})
    assert (answer.status_code, "javax.faces.ViewState" in answer.text) == (200, True)
    assert "BRUANT" not in answer.text


def test_other_numbers_get_the_page_of_an_unknown_notice(client: FlaskClient) -> None:
    answer = _post(client, _state(client), **{"j_id_7:spi": "2690000000002"})
    assert 'id="nonTrouve"' in answer.text
    assert "BRUANT" not in answer.text
