"""The CAF over mutual TLS, the geocoder and the second tax provider, on the deployed stack."""

from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import requests

from tests.support.stack import FAMILY_NUMBERS, NUMBERS, RFR_ROUTE, Stack, start_stack

DGFIP_ROUTES = ("/v2/avis-imposition", RFR_ROUTE, "/v2/declarants", "/v2/adresse-fiscale")
GEOCODED = {"adresseStructuree", "coordonnees", "score"}
"""Fields that come from the geocoder."""


def test_a_family_is_found_by_its_number_and_postcode(stack: Stack) -> None:
    whole = stack.get("/v2/composition-familiale", **FAMILY_NUMBERS)
    assert whole.status_code == 200
    quotient = stack.get("/v2/quotient-familial", **FAMILY_NUMBERS).json()
    assert list(quotient) == ["quotientFamilial", "mois", "annee"]
    assert quotient.items() <= whole.json().items()
    assert stack.get("/v2/adresse", **FAMILY_NUMBERS).json() == {"adresse": whole.json()["adresse"]}
    assert stack.get("/caf/ping", key="").json() == "pong"


def test_version_1_is_available_in_xml(stack: Stack) -> None:
    headers = {"X-API-Key": stack.api_key, "Accept": "application/xml"}
    for route, numbers in (("/impots/svair", NUMBERS), ("/caf/famille", FAMILY_NUMBERS)):
        response = requests.get(f"{stack.api_url}{route}", numbers, headers=headers, timeout=60)
        assert response.headers["Content-Type"] == "application/xml; charset=utf-8"
        assert ET.fromstring(response.text).tag == "result"  # noqa: S314 - trusted XML


def test_only_a_function_that_may_read_the_certificate_calls_the_caf(stack: Stack) -> None:
    with stack.without_statement("QuotientFamilial", "ReadCafCertificate"):
        stack.new_environment("QuotientFamilial")  # an environment caches the certificate
        assert stack.get("/v2/quotient-familial", **FAMILY_NUMBERS).status_code == 500
        assert stack.get("/v2/adresse", **FAMILY_NUMBERS).status_code == 200
    assert stack.get("/v2/quotient-familial", **FAMILY_NUMBERS).status_code == 200


@pytest.fixture(scope="module")
def svair_bodies(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the bodies of the first tax provider, before the second replaces it."""
    return {route: stack.get(route, **NUMBERS).json() for route in DGFIP_ROUTES}


@pytest.fixture(scope="module")
def other_stack(stack: Stack, svair_bodies: dict[str, dict[str, Any]]) -> Iterator[Stack]:
    """Deploy the stack with the second tax provider and no geocoder, and the first again at the end."""
    assert svair_bodies
    yield start_stack(DGFIP_PROVIDER="impot_particulier", BAN_URL="http://127.0.0.1:9")
    assert start_stack().api_url == stack.api_url


@pytest.mark.parametrize("route", DGFIP_ROUTES)
def test_the_other_tax_provider_gives_the_same_figures(
    svair_bodies: dict[str, dict[str, Any]], other_stack: Stack, route: str
) -> None:
    response = other_stack.get(route, **NUMBERS)
    assert response.status_code == 200
    both = (response.json().keys() & svair_bodies[route].keys()) - GEOCODED
    assert both >= {"/v2/avis-imposition": {"revenuFiscalReference", "nombreParts", "declarant1"}}.get(route, set())
    assert both
    assert {name: response.json()[name] for name in both} == {name: svair_bodies[route][name] for name in both}


def test_without_a_geocoder_the_address_is_as_printed(other_stack: Stack) -> None:
    response = other_stack.get("/v2/adresse-fiscale", **NUMBERS)
    body = response.json()
    assert response.status_code == 200
    assert body["adresse"]
    assert [body[name] for name in ("adresseStructuree", "coordonnees", "score")] == [None, None, None]
    table = other_stack.description["tables"]["audit"]
    records = other_stack.client("dynamodb").scan(TableName=table)["Items"]
    assert ["ban: network_error"] in [[note["S"] for note in record.get("notes", {"L": []})["L"]] for record in records]
