"""The citizen's access log on the deployed stack: calls appear in it within seconds, and in no other citizen's."""

import time
from typing import Any

import pytest
import requests

from sandbox.simulators import PEOPLE, caf, svair
from tests.support.stack import FAMILY_NUMBERS, NUMBERS, RFR_ROUTE, Stack, start_stack

SOON = 5.0
"""Seconds after which a call must be in the log."""
NEIGHBOUR = svair.people(PEOPLE / "avis.toml")[-5]
NEIGHBOUR_NUMBERS = {"numeroFiscal": NEIGHBOUR.numero_fiscal, "referenceAvis": NEIGHBOUR.reference_avis}
OTHER_FAMILY = caf.familles(PEOPLE / "familles.toml")[3]
OTHER_FAMILY_NUMBERS = {"numeroAllocataire": OTHER_FAMILY.numero_allocataire, "codePostal": OTHER_FAMILY.code_postal}


def by_towns(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an access log without the operator's own readings."""
    return [access for access in body["acces"] if access["jeuDeDonnees"] != "operator"]


def log(stack: Stack, numbers: dict[str, str], status: int = 200) -> Any:
    response = requests.get(f"{stack.api_url}/citoyen/acces", numbers, timeout=60)
    assert response.status_code == status, response.text
    return response.json()


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
    before, before_of_other = log(stack, numbers)["total"], log(stack, other_numbers)
    key = stack.issue_key(
        "dgfip_revenu_fiscal_reference", "cnaf_quotient_familial", options=("--purpose", "Tarif de la cantine")
    )
    assert stack.get(route, key=key["key"], **numbers).status_code == 200
    until = time.monotonic() + SOON
    while (found := log(stack, numbers))["total"] == before:
        assert time.monotonic() < until
    assert found["total"] == before + 1
    latest = found["acces"][0]
    assert (latest["administration"], latest["finalite"], latest["champs"], latest["statut"]) == (
        *("VILLE EXEMPLE", "Tarif de la cantine"),
        *(fields, 200),
    )
    assert log(stack, other_numbers) == before_of_other
    name, number = next(iter(numbers.items()))
    options = ("--numero-fiscal", number) if name == "numeroFiscal" else ("--numero-allocataire", number)
    postcode = ("--code-postal", numbers["codePostal"]) if "codePostal" in numbers else ()
    seen = stack.run_cli("citizen", "access", *options, *postcode)
    assert (seen["acces"][0]["jeuDeDonnees"], seen["acces"][0]["siret"]) == ("operator", None)  # its own reading
    assert by_towns(seen) == by_towns(found)


def test_a_wrong_second_number_gets_the_same_response_as_an_unknown_citizen(stack: Stack) -> None:
    wrong = log(stack, NUMBERS | {"referenceAvis": NUMBERS["referenceAvis"][:-3] + "999"}, status=404)
    unknown = log(stack, NUMBERS | {"numeroFiscal": "2699999999999"}, status=404)
    assert wrong == unknown
    assert wrong["error"] == "not_found"
    assert log(stack, FAMILY_NUMBERS | {"codePostal": "01000"}, status=404) == unknown


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
        log(stack, numbers, status)


def test_accesses_are_found_after_a_rotation_of_the_pseudonym_key(
    stack: Stack,
) -> None:
    assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
    before = log(stack, NUMBERS)
    kms, first = stack.client("kms"), stack.deployment.outputs["PseudonymKeyIds"].strip(",")
    keys = [kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]]
    former = kms.describe_key(KeyId=first)["KeyMetadata"]["Arn"]
    try:
        start_stack(PSEUDONYM_KEY_ARN=keys[0], FORMER_PSEUDONYM_KEY_ARNS=former)
        assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
        after = log(stack, NUMBERS)
        assert after["total"] > before["total"] > 1  # those of both keys; a new stack makes a few calls itself
        assert by_towns(stack.run_cli("citizen", "access", "--numero-fiscal", NUMBERS["numeroFiscal"])) == by_towns(
            after
        )
        with stack.without_statement("CitizenAccess", "NameCitizensAsBefore"):
            log(stack, NUMBERS, status=500)
    finally:
        start_stack()
