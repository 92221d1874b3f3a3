"""Families of the CAF over mutual TLS, and XML, on the deployed stack."""

from xml.etree import ElementTree as ET

import requests

from tests.support.stack import FAMILY_NUMBERS, NUMBERS, Stack


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
