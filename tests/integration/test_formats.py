"""JSON and XML, and the headers of every response (contract §3.5 and §5)."""

from collections.abc import Callable
from itertools import product
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from api_particulier.api.response import success
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, event, invoke
from tests.support.tax_service import BLANK_PAGE, NOT_FOUND_PAGE, NOTICE, REFUSED_PAGE, TaxService, notice_page

JSON, XML = "application/json; charset=utf-8", "application/xml; charset=utf-8"
NOT_ACCEPTABLE = {
    "error": "not_acceptable",
    "reason": "Not Acceptable",
    "message": "Les formats de réponse disponibles sont application/json et application/xml",
}

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cloud", "dgfip")]


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition")


def accepting(accept: str | None, key: str, door: str = "avis_imposition/v1") -> Response:
    made = event(door, key=key)
    del made["headers"]["Accept"]
    if accept is not None:
        made["headers"]["accept"] = accept
    return invoke(made, door.split("/", maxsplit=1)[0])


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        *[(accept, JSON) for accept in (None, "", "*/*", "application/*", "application/json", "APPLICATION/JSON")],
        *[(accept, JSON) for accept in ("application/json; charset=utf-8", "text/html, */*;q=0.1", "*/*;q=0.001")],
        ("application/json, application/xml", JSON),
        ("application/xml;q=0.8, application/json", JSON),
        ("application/xml;q=0.8,application/json;q=0.9,*/*;q=1", JSON),
        ("application/xml;q=0, */*", JSON),
        ("application/xml", XML),
        ("Application/XML ; q=0.5", XML),
        ("text/xml", XML),
        ("application/json;q=0.5, application/xml;q=0.6", XML),
        ("application/json;q=0, application/xml;q=0.1", XML),
        ("application/json;q=oops, application/xml", XML),
        ("*/*, application/xml", XML),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", XML),
        (",,application/xml,;;=,", XML),
        *[(accept, JSON) for accept in (" , ", "application/xml, application/*;q=1, application/xml;q=0")],
        *[(accept, XML) for accept in ("application/json;q=0, */*", "application/json; Q=0, application/*;q=0.2")],
        ("application/json;q=0.3, */*;q=0.5", XML),
    ],
)
def test_v1_responds_in_the_format_that_the_caller_prefers(key: str, accept: str | None, content_type: str) -> None:
    answer = accepting(accept, key)
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize(
    "accept",
    [
        *("text/html", "text/plain", "image/*", "application/soap+xml", "application/json;q=0", "json", "xml", "*"),
        *("application/json2", "application/xml;q=0.0, application/json;q=0", ";", "é\ud800", "a" * 10_000),
    ],
    ids=lambda accept: ascii(accept)[:30],
)
@pytest.mark.parametrize("door", ["avis_imposition/v1", "introspect/introspect", "ping/ping"])
def test_another_format_is_refused_in_json(key: str, accept: str, door: str) -> None:
    answer = accepting(accept, key, door)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (406, JSON, NOT_ACCEPTABLE)


def test_the_provider_is_not_called_when_no_format_is_acceptable(key: str, dgfip: TaxService) -> None:
    assert accepting("text/html", key).status == 406
    assert dgfip.requests == []


@pytest.mark.parametrize(
    ("wanted", "content_type"), [("xml", XML), ("json", JSON), ("XML", XML), ("Json", JSON), (" xml", XML)]
)
@pytest.mark.parametrize("accept", ["application/json", "application/xml", "text/html"])
def test_the_format_parameter_takes_precedence_over_accept(
    key: str, wanted: str, content_type: str, accept: str
) -> None:
    numbers = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
    answer = call_api("avis_imposition/v1", key=key, headers={"Accept": accept}, format=wanted, **numbers)
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize("wanted", ["", "csv", "application/xml"])
@pytest.mark.parametrize(("accept", "content_type"), [("application/json", JSON), ("application/xml", XML)])
def test_an_empty_or_unknown_format_is_as_none(key: str, wanted: str, accept: str, content_type: str) -> None:
    numbers = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
    answer = call_api("avis_imposition/v1", key=key, headers={"Accept": accept}, format=wanted, **numbers)
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)


@pytest.mark.parametrize("accept", ["application/xml", "text/html", "", "application/json;q=0"])
def test_v2_always_responds_in_json(key: str, accept: str) -> None:
    numbers = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
    answer = call_api("avis_imposition/v2", key=key, headers={"Accept": accept}, format="xml", **numbers)
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (200, JSON, NOTICE)


def test_a_notice_in_xml(key: str, dgfip: TaxService) -> None:
    dgfip.page = notice_page(
        {**NOTICE, "declarant2": {"nom": "", "nomNaissance": "", "prenoms": "", "dateNaissance": ""}, "nombreParts": 2}
    )
    assert accepting("application/xml", key).text == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        "<result>\n"
        "\t<declarant1>\n"
        "\t\t<nom>TILLEUL</nom>\n"
        "\t\t<nomNaissance>CHARME</nomNaissance>\n"
        "\t\t<prenoms>Odette Rose</prenoms>\n"
        "\t\t<dateNaissance>02/05/1971</dateNaissance>\n"
        "\t</declarant1>\n"
        "\t<declarant2>\n"
        "\t\t<nom></nom>\n"
        "\t\t<nomNaissance></nomNaissance>\n"
        "\t\t<prenoms></prenoms>\n"
        "\t\t<dateNaissance></dateNaissance>\n"
        "\t</declarant2>\n"
        "\t<dateRecouvrement>31/07/2026</dateRecouvrement>\n"
        "\t<dateEtablissement>08/07/2026</dateEtablissement>\n"
        "\t<nombreParts>2</nombreParts>\n"
        "\t<situationFamille>Marié(e)s</situationFamille>\n"
        "\t<nombrePersonnesCharge>1</nombrePersonnesCharge>\n"
        "\t<revenuBrutGlobal>41207</revenuBrutGlobal>\n"
        "\t<revenuImposable>39118</revenuImposable>\n"
        "\t<impotRevenuNetAvantCorrections>2904</impotRevenuNetAvantCorrections>\n"
        "\t<montantImpot/>\n"
        "\t<revenuFiscalReference>39119</revenuFiscalReference>\n"
        "\t<foyerFiscal>\n"
        "\t\t<annee>2026</annee>\n"
        "\t\t<adresse>BAT C 3 allée des Frênes 01234 BOURG-EXEMPLE</adresse>\n"
        "\t</foyerFiscal>\n"
        "\t<anneeImpots>2026</anneeImpots>\n"
        "\t<anneeRevenus>2025</anneeRevenus>\n"
        "\t<erreurCorrectif>Un avis correctif annule et remplace cet avis.</erreurCorrectif>\n"
        "\t<situationPartielle>Situation de l'année au 1er mars.</situationPartielle>\n"
        "</result>"
    )


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nom=st.text(min_size=1), adresse=st.text(min_size=1))
def test_xml_is_well_formed_for_any_text_of_a_notice(key: str, dgfip: TaxService, nom: str, adresse: str) -> None:
    dgfip.page = notice_page(
        {**NOTICE, "declarant1": {"nom": f"x{nom}"}, "foyerFiscal": {"annee": 2026, "adresse": f"x{adresse}"}}
    )
    read, answer = call_api("avis_imposition/v1", key=key), accepting("application/xml", key)
    assert (read.status, answer.status) == (200, 200)
    result = etree.fromstring(answer.text.encode())
    assert result.tag == "result"
    assert result.findtext("declarant1/nom") == readable_in_xml(read.body["declarant1"]["nom"])


@pytest.mark.parametrize(
    ("text", "in_xml"),
    [
        ("<&]]>\"'", "<&]]>\"'"),
        ("<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;", None),
        ("\x00\x0b\x1f\x7f\x85\ufffe\uffff\ud800", "\ufffd\ufffd\ufffd\x7f\x85\ufffd\ufffd\ufffd"),
        ("\U0001f333 tilleul", None),
        (" deux  espaces ", None),
        ("a\r\nb\rc\td", "a\nb\nc\td"),  # every XML parser normalises line ends
    ],
    ids=ascii,
)
@pytest.mark.parametrize("parse", [etree.fromstring, ET.fromstring])
def test_markup_in_a_value_is_written_as_text(
    parse: Callable[[bytes], ET.Element], text: str, in_xml: str | None
) -> None:
    body = success({"nom": text, "noms": [text, text]}, "id", "xml")["body"]
    assert isinstance(body, str)
    root = parse(body.encode())
    assert [element.text for element in root] == [in_xml or text] * 3


def test_half_a_character_becomes_a_question_mark() -> None:
    assert success({"nom": "TILL\ud800EUL"}, "id")["body"] == '{"nom":"TILL?EUL"}'


def readable_in_xml(text: str) -> str:
    return "".join(char if char in "\t\n\r" or char >= " " else "\ufffd" for char in text).translate(
        {0xFFFE: "\ufffd", 0xFFFF: "\ufffd"}
    )


@pytest.mark.parametrize(
    ("status", "error", "shown", "query"),
    [
        (400, "bad_request", "", {"numeroFiscal": "<&]]>"}),
        (404, "not_found", NOT_FOUND_PAGE, {}),
        (502, "invalid_response", BLANK_PAGE, {}),
        (503, "rate_limited", REFUSED_PAGE, {}),
    ],
)
def test_an_error_is_in_xml_when_xml_is_accepted(  # noqa: PLR0913, PLR0917 - a table of cases
    key: str, dgfip: TaxService, status: int, error: str, shown: str, query: dict[str, str]
) -> None:
    dgfip.page = shown
    made = event("avis_imposition/v1", key=key, headers={"Accept": "application/xml"})
    if query:
        made["multiValueQueryStringParameters"] = {name: [value] for name, value in query.items()}
    answer = invoke(made, "avis_imposition")
    assert_xml_error(answer, status, error)


def assert_xml_error(answer: Response, status: int, error: str) -> None:
    assert (answer.status, answer.headers["Content-Type"]) == (status, XML)
    root = etree.fromstring(answer.text.encode())
    assert [root.tag, *(child.tag for child in root)] == ["error", "error", "reason", "message"]
    assert root.findtext("error") == error
    assert root.findtext("message")


def test_a_refusal_of_the_caller_is_in_xml_too(cloud: Cloud) -> None:
    assert_xml_error(accepting("application/xml", "unknown"), 401, "access_denied")
    assert_xml_error(accepting("application/xml", cloud.issue_key("foo")), 403, "forbidden")
    assert_xml_error(accepting("application/xml", cloud.issue_key("foo", allowed=["10.0.0.0/8"])), 403, "forbidden")


def test_an_xml_error_has_the_layout_of_2020(key: str) -> None:
    made = event("avis_imposition/v1", key=key, headers={"Accept": "application/xml"})
    made["multiValueQueryStringParameters"] = {"numeroFiscal": ["2690000000001"]}
    sentence = "Les paramètres numeroFiscal et referenceAvis doivent être fournis dans la requête."
    assert invoke(made, "avis_imposition").text == (
        '<?xml version="1.0" encoding="UTF-8"?>\n<error>\n\t<error>bad_request</error>\n'
        f"\t<reason>{sentence}</reason>\n\t<message>{sentence}</message>\n</error>"
    )


@pytest.mark.parametrize("door", ["avis_imposition/v1", "avis_imposition/v2", "introspect/introspect", "ping/ping"])
@pytest.mark.parametrize("shown", [notice_page(NOTICE), NOT_FOUND_PAGE, BLANK_PAGE, REFUSED_PAGE])
def test_every_response_carries_the_same_headers(key: str, dgfip: TaxService, door: str, shown: str) -> None:
    dgfip.page = shown
    for made_key, accept in product((key, "unknown"), ("application/json", "application/xml", "text/html")):
        made = event(door, key=made_key, headers={"Accept": accept})
        made["requestContext"]["requestId"] = "3f0c"
        headers = invoke(made, door.split("/", maxsplit=1)[0]).headers
        assert headers["X-Request-Id"] == "3f0c"
        assert headers["Cache-Control"] == "no-store"
        assert headers["RateLimit-Limit"] == "20"
        assert headers["RateLimit-Policy"] == "20;w=1"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
        assert all(isinstance(value, str) for value in headers.values())
