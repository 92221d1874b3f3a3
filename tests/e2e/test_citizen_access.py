"""The citizen's access log on the deployed stack: calls appear in it within seconds, and in no other citizen's."""

import time

import pytest

from sandbox.simulators import PEOPLE, caf, svair
from tests.support.stack import FAMILY_NUMBERS, NUMBERS, RFR_ROUTE, Stack, by_towns

SOON = 5.0
"""Seconds after which a call must be in the log."""
NEIGHBOUR = svair.people(PEOPLE / "avis.toml")[-5]
NEIGHBOUR_NUMBERS = {"numeroFiscal": NEIGHBOUR.numero_fiscal, "referenceAvis": NEIGHBOUR.reference_avis}
OTHER_FAMILY = caf.familles(PEOPLE / "familles.toml")[3]
OTHER_FAMILY_NUMBERS = {"numeroAllocataire": OTHER_FAMILY.numero_allocataire, "codePostal": OTHER_FAMILY.code_postal}


@pytest.mark.parametrize(
    ("route", "numbers", "other_numbers", "fields"),
    [
        (RFR_ROUTE, NUMBERS, NEIGHBOUR_NUMBERS, ["revenuFiscalReference"]),
        ("/v2/quotient-familial", FAMILY_NUMBERS, OTHER_FAMILY_NUMBERS, ["quotientFamilial", "mois", "annee"]),
    ],
)
def test_a_call_is_in_its_citizens_log_within_seconds_and_in_no_other_log(
    stack: Stack, route: str, numbers: dict[str, str], other_numbers: dict[str, str], fields: list[str]
) -> None:
    before, before_of_other = stack.access_log(numbers)["total"], stack.access_log(other_numbers)
    key = stack.issue_key(
        "dgfip_revenu_fiscal_reference", "cnaf_quotient_familial", options=("--purpose", "Tarif de la cantine")
    )
    assert stack.get(route, key=key["key"], **numbers).status_code == 200
    until = time.monotonic() + SOON
    while (found := stack.access_log(numbers))["total"] == before:
        assert time.monotonic() < until
    assert found["total"] == before + 1
    latest = found["acces"][0]
    assert (latest["administration"], latest["finalite"], latest["champs"], latest["statut"]) == (
        *("VILLE EXEMPLE", "Tarif de la cantine"),
        *(fields, 200),
    )
    assert stack.access_log(other_numbers) == before_of_other
    name, number = next(iter(numbers.items()))
    options = ("--numero-fiscal", number) if name == "numeroFiscal" else ("--numero-allocataire", number)
    postcode = ("--code-postal", numbers["codePostal"]) if "codePostal" in numbers else ()
    seen = stack.run_cli("citizen", "access", *options, *postcode)
    assert (seen["acces"][0]["jeuDeDonnees"], seen["acces"][0]["siret"]) == ("operator", None)  # its own reading
    assert by_towns(seen) == by_towns(found)


def test_a_wrong_second_number_gets_the_same_response_as_an_unknown_citizen(stack: Stack) -> None:
    wrong = stack.access_log(NUMBERS | {"referenceAvis": NUMBERS["referenceAvis"][:-3] + "999"}, status=404)
    unknown = stack.access_log(NUMBERS | {"numeroFiscal": "2699999999999"}, status=404)
    assert wrong == unknown
    assert wrong["error"] == "not_found"
    assert stack.access_log(FAMILY_NUMBERS | {"codePostal": "01000"}, status=404) == unknown


# LimitTries is left out: MiniStack ignores conditions on keys, and another statement allows writes to the table.
@pytest.mark.parametrize(
    ("sid", "numbers", "status"),
    [
        ("FindAccesses", NUMBERS, 500),
        ("NameCitizens", NUMBERS, 503),
        ("WriteAudit", NUMBERS, 503),
        ("ReadCafCertificate", FAMILY_NUMBERS, 500),
    ],
)
def test_each_statement_of_the_citizens_log_is_needed(
    stack: Stack, sid: str, numbers: dict[str, str], status: int
) -> None:
    with stack.without_statement("CitizenAccess", sid):
        stack.new_environment("CitizenAccess")  # an environment caches the month's key and the certificate
        stack.access_log(numbers, status)
