"""Every wrong parameter has its own object, in order; a wrong recipient is refused first, and nothing is asked."""

from typing import Any

import pytest
import time_machine

from tests.support.api_secu import IDENTITY, RECIPIENT, Gate, call
from tests.support.cloud import Cloud
from tests.support.function import Response

NOW = "2026-11-27T09:00:00Z"
BENEFIT = "allocation_adulte_handicape"


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


def refusals(response: Response) -> list[tuple[str, str | None]]:
    """Return the code of each object, with the parameter that it names."""
    return [(error["code"], error.get("source", {}).get("parameter")) for error in response.body["errors"]]


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "sex": ({"sexeEtatCivil": "X"}, "00427", "sexeEtatCivil"),
    "sex in a word": ({"sexeEtatCivil": "FF"}, "00427", "sexeEtatCivil"),
    "commune of four digits": ({"codeCogInseeCommuneNaissance": "2901"}, "00365", "codeCogInseeCommuneNaissance"),
    "commune of no department": ({"codeCogInseeCommuneNaissance": "20123"}, "00365", "codeCogInseeCommuneNaissance"),
    "commune abroad": (
        {"codeCogInseeCommuneNaissance": "ABCDE", "codeCogInseePaysNaissance": "99127"},
        "00365",
        "codeCogInseeCommuneNaissance",
    ),
    "no country": ({"codeCogInseePaysNaissance": None}, "00400", "codeCogInseePaysNaissance"),
    "blank country": ({"codeCogInseePaysNaissance": " "}, "00400", "codeCogInseePaysNaissance"),
    "country of six digits": ({"codeCogInseePaysNaissance": "991000"}, "00400", "codeCogInseePaysNaissance"),
    "country that is a commune": ({"codeCogInseePaysNaissance": "75111"}, "00400", "codeCogInseePaysNaissance"),
    "year 0": ({"anneeDateNaissance": "0"}, "00363", "anneeDateNaissance"),
    "year before 1900": ({"anneeDateNaissance": "1899"}, "00363", "anneeDateNaissance"),
    "next year": ({"anneeDateNaissance": "2027", "jourDateNaissance": None}, "00363", "anneeDateNaissance"),
    "year with letters": ({"anneeDateNaissance": "1987abc"}, "00363", "anneeDateNaissance"),
    "month 13": ({"moisDateNaissance": "13"}, "00363", "anneeDateNaissance"),
    "month with letters": ({"moisDateNaissance": "4a"}, "00363", "anneeDateNaissance"),
    "day 0": ({"jourDateNaissance": "00"}, "00363", "anneeDateNaissance"),
    "day 32 without a month": ({"jourDateNaissance": "32", "moisDateNaissance": None}, "00363", "anneeDateNaissance"),
    "no such day": ({"moisDateNaissance": "02", "jourDateNaissance": "30"}, "00363", "anneeDateNaissance"),
    "today": (
        {"anneeDateNaissance": "2026", "moisDateNaissance": "11", "jourDateNaissance": "27"},
        "00363",
        "anneeDateNaissance",
    ),
    "digits that are not ASCII": ({"anneeDateNaissance": "١٩٨٧"}, "00363", "anneeDateNaissance"),
    "first name without brackets": ({"prenoms[]": None, "prenoms": "Maëlle"}, "00367", "prenoms"),
    "first name with an index": ({"prenoms[]": None, "prenoms[0]": "Maëlle"}, "00367", "prenoms"),
    "first name with a digit": ({"prenoms[]": ["Maëlle", "Anne2"]}, "00367", "prenoms"),
    "no birth name": ({"nomNaissance": None}, "00420", "nomNaissance"),
    "birth name with a digit": ({"nomNaissance": "Kerl3o"}, "00420", "nomNaissance"),
    "birth name in Greek": ({"nomNaissance": "Παππάς"}, "00420", "nomNaissance"),
    "birth name of an ordinal": ({"nomNaissance": "Kerléoª"}, "00420", "nomNaissance"),
    "birth name with a sign": ({"nomNaissance": "A×B"}, "00420", "nomNaissance"),
    "birth name of 101 letters": ({"nomNaissance": "k" * 101}, "00420", "nomNaissance"),
    "two birth names": ({"nomNaissance": ["Kerléo", "Kerguen"]}, "00420", "nomNaissance"),
    "name in use with a dot": ({"nomUsage": "St. Pol"}, "00431", "nomUsage"),
    "department": (
        {
            "codeCogInseeCommuneNaissance": None,
            "nomCommuneNaissance": "Brest",
            "codeCogInseeDepartementNaissance": "975",
        },
        "00428",
        "codeCogInseeDepartementNaissance",
    ),
    "year with a commune's name": (
        {
            "codeCogInseeCommuneNaissance": None,
            "nomCommuneNaissance": "Brest",
            "codeCogInseeDepartementNaissance": "29",
            "anneeDateNaissance": "87",
        },
        "00422",
        "anneeDateNaissance",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_parameter_has_its_code_and_nothing_is_asked(key: str, gate: Gate, case: str) -> None:
    changes, code, parameter = WRONG[case]
    response = call(BENEFIT, key, **changes)
    assert (response.status, refusals(response)) == (422, [(code, parameter)])
    assert gate.questions == gate.token_requests == []


def test_wrong_parameters_are_all_refused_at_once_in_the_order_of_the_documentation(key: str, gate: Gate) -> None:
    response = call(
        "quotient_familial",
        key,
        nomNaissance="1",
        sexeEtatCivil="?",
        annee="26",
        codeCogInseePaysNaissance="0",
        moisDateNaissance="0",
    )
    assert [code for code, _ in refusals(response)] == ["00356", "00427", "00400", "00363", "00420"]
    assert gate.questions == gate.token_requests == []


def test_no_refusal_repeats_what_was_sent(key: str, gate: Gate) -> None:
    response = call(BENEFIT, key, nomNaissance="Kerléo 4", sexeEtatCivil="nonbinaire", anneeDateNaissance="19877")
    assert len(response.body["errors"]) == 3
    assert not [text for text in ("Kerléo", "nonbinaire", "19877") if text in response.text]
    assert gate.questions == []


RECIPIENTS = {
    "absent": (None, 422, "00203"),
    "blank": ("  ", 422, "00203"),
    "of 13 digits": ("1300252650001", 422, "00210"),
    "of a wrong sum": ("13002526500014", 422, "00210"),
    "of letters": ("1300252650001X", 422, "00210"),
    "given twice": ([RECIPIENT, "21000015400018"], 422, "00210"),
    "of another organisation": ("21750001600019", 403, "00213"),
    "of La Poste": ("35600000049837", 403, "00213"),
}


@pytest.mark.parametrize("case", RECIPIENTS)
def test_a_wrong_recipient_is_refused_first_and_by_itself(key: str, gate: Gate, case: str) -> None:
    recipient, status, code = RECIPIENTS[case]
    response = call(BENEFIT, key, recipient=recipient, nomNaissance="1", sexeEtatCivil="?")
    assert (response.status, refusals(response)) == (status, [(code, "recipient")])
    assert gate.questions == gate.token_requests == []


def test_the_recipient_may_be_another_establishment_of_the_organisation(cloud: Cloud, gate: Gate) -> None:
    key = cloud.issue_key("allocation_adulte_handicape", siret="35600000000048")
    assert call(BENEFIT, key, recipient="35600000049837").status == 200
    assert gate.questions[-1].headers["X-APIPART-FSFINAL"] == "35600000049837"


def test_a_query_that_cannot_be_decoded_is_400(key: str, gate: Gate) -> None:
    response = call(BENEFIT, key, nomNaissance="Kerl\ufffdo")
    assert (response.status, refusals(response)) == (400, [("00401", None)])
    assert gate.questions == []


PERIODS: dict[str, tuple[dict[str, Any], list[str] | tuple[str, str]]] = {
    "none": ({}, ("2026", "11")),
    "this month": ({"annee": "2026", "mois": "11"}, ("2026", "11")),
    "a leading zero": ({"annee": "2026", "mois": "05"}, ("2026", "05")),
    "no leading zero": ({"annee": "2026", "mois": "5"}, ("2026", "05")),
    "a year alone": ({"annee": "2025"}, ("2025", "11")),
    "a month alone": ({"mois": "2"}, ("2026", "02")),
    "the 23rd month before": ({"annee": "2024", "mois": "12"}, ("2024", "12")),
    "the 24th": ({"annee": "2024", "mois": "11"}, ["00355"]),
    "a year two years ago alone": ({"annee": "2024"}, ["00355"]),
    "next month": ({"annee": "2026", "mois": "12"}, ["00354"]),
    "a month to come": ({"mois": "12"}, ["00354"]),
    "next year": ({"annee": "2027"}, ["00356"]),
    "three years ago": ({"annee": "2023", "mois": "11"}, ["00356"]),
    "a wrong year and a wrong month": ({"annee": "26", "mois": "0"}, ["00356", "00354"]),
    "a month of three digits": ({"annee": "2026", "mois": "005"}, ["00354"]),
    "empty ones": ({"annee": "", "mois": ""}, ("2026", "11")),
}


@pytest.mark.parametrize("case", PERIODS)
def test_the_period_of_a_quotient_is_one_of_the_last_24_months(key: str, gate: Gate, case: str) -> None:
    gate.body = {"allocataires": [{}]}
    changes, expected = PERIODS[case]
    response = call("quotient_familial", key, **changes)
    if isinstance(expected, list):
        assert [code for code, _ in refusals(response)] == expected
        assert gate.questions == []
    else:
        year, month = expected
        assert (gate.asked["anneeDemandee"], gate.asked["moisDemande"]) == expected
        quotient = response.body["data"]["quotient_familial"]
        assert (quotient["annee"], quotient["mois"]) == (int(year), int(month))


def test_the_month_of_a_quotient_is_that_of_paris(cloud: Cloud, gate: Gate) -> None:
    gate.body = {"allocataires": [{}]}
    with time_machine.travel("2026-11-30T23:30:00Z", tick=False):
        call("quotient_familial", cloud.issue_key("cnaf_quotient_familial"))
    assert gate.asked["moisDemande"] == "12"


def test_a_period_is_no_parameter_of_the_other_benefits(key: str, gate: Gate) -> None:
    assert call(BENEFIT, key, annee="1789", mois="14").status == 200
    assert "anneeDemandee" not in gate.asked


@pytest.mark.parametrize("scopes", [(), ("dgfip_nombre_parts",), ("complementaire_sante_solidaire",)])
def test_a_token_without_a_scope_of_the_route_is_refused_before_anything_is_read(
    cloud: Cloud, gate: Gate, scopes: tuple[str, ...]
) -> None:
    response = call(BENEFIT, cloud.issue_key(*scopes), {}, recipient=None)
    assert (response.status, refusals(response)) == (403, [("00100", "token")])
    assert gate.questions == []


def test_a_minimal_identity_is_enough(key: str, gate: Gate) -> None:
    response = call(BENEFIT, key, {"nomNaissance": "Kerléo", "codeCogInseePaysNaissance": "99127"})
    assert response.status == 200
    assert gate.asked == {"nomNaissance": "Kerleo", "dateNaissance": "0000-00-00", "codePaysNaissance": "99127"}


def test_a_parameter_given_twice_with_one_value_is_given_once(key: str, gate: Gate) -> None:
    assert call(BENEFIT, key, sexeEtatCivil=["F", "F"], nomNaissance=["Kerléo", "Kerléo"]).status == 200
    assert (gate.asked["genre"], gate.asked["nomNaissance"]) == ("F", "Kerleo")


def test_brackets_may_be_encoded(key: str, gate: Gate) -> None:
    query = {name: value for name, value in IDENTITY.items() if name != "prenoms[]"}
    call(BENEFIT, key, query | {"prenoms%5B%5D": ["Maëlle", "Anne"]})
    assert gate.asked["listePrenoms"] == "Maelle Anne"
