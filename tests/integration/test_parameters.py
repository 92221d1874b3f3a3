"""Send the exact parameters of a query to the provider, or refuse them; never fail (contract §2)."""

from string import ascii_letters, digits
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cloud import Cloud
from tests.support.function import Response, event, invoke
from tests.support.tax_service import TaxService

SPACES = " \t\n\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}"

number = st.text(digits + SPACES, min_size=10, max_size=20) | st.text(digits, min_size=13, max_size=15)
reference = number | st.text(digits + ascii_letters, min_size=12, max_size=15)
anything = st.text() | st.binary().map(lambda sent: sent.decode(errors="surrogateescape")) | st.just("9" * 10_000)


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_nombre_parts")


def send(key: str, query: dict[str, Any] | None, function: str = "revenu_fiscal_reference") -> Response:
    made = event(f"{function}/v2", key=key)
    made["multiValueQueryStringParameters"] = query
    made["queryStringParameters"] = query and {name: values[-1] for name, values in query.items() if values}
    return invoke(made, function)


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    query=st.none()
    | st.fixed_dictionaries(
        {"numeroFiscal": st.lists(number | anything, max_size=2), "referenceAvis": st.lists(reference, max_size=2)},
    )
    | st.dictionaries(anything, st.lists(anything, max_size=2), max_size=3)
)
def test_any_query_is_either_sent_to_the_provider_exactly_or_refused(
    key: str, dgfip: TaxService, query: dict[str, list[str]] | None
) -> None:
    dgfip.requests.clear()
    answer = send(key, query)
    assert answer.status in {200, 400, 404}
    posted = [form for method, form in dgfip.requests if method == "POST"]
    if answer.status == 200:
        (form,) = posted
        sent: dict[str, list[str]] = query or {}
        (numero,) = {"".join(value.split())[:13] for value in sent["numeroFiscal"]}
        (notice,) = {"".join(value.split())[:13] for value in sent["referenceAvis"]}
        assert (form["j_id_7:spi"], form["j_id_7:num_facture"]) == (numero, notice)
        assert len(numero) == len(notice) == 13
    else:
        assert posted == []


def test_spaces_and_check_letters_are_removed_before_the_provider_is_called(key: str, dgfip: TaxService) -> None:
    query = {
        "numeroFiscal": ["26 90 000\N{NO-BREAK SPACE}000 012 et la suite"],
        "referenceAvis": ["26 90 000 000 0 3 4x"],
    }
    assert send(key, query).status == 200
    assert [form for method, form in dgfip.requests if method == "POST"] == [
        {
            "j_id_7:spi": "2690000000012",
            "j_id_7:num_facture": "2690000000034",
            "j_id_7:j_id_l": "Valider",
            "j_id_7_SUBMIT": "1",
            "javax.faces.ViewState": "état+de/vue==",
        }
    ]


@pytest.mark.parametrize(
    ("query", "named"),
    [
        (None, ("numeroFiscal", "referenceAvis")),
        ({}, ("numeroFiscal", "referenceAvis")),
        ({"numeroFiscal": ["2690000000012"]}, ("referenceAvis",)),
        ({"numeroFiscal": [" "], "referenceAvis": ["2690000000034"]}, ("numeroFiscal",)),
        ({"numeroFiscal": ["269"], "referenceAvis": ["2690000000034"]}, ("numeroFiscal",)),
        ({"numeroFiscal": ["2690000000012"], "referenceAvis": ["269"]}, ("referenceAvis",)),
        ({"numeroFiscal": ["2690000000012"] * 2, "referenceAvis": ["2690000000034", "1"]}, ("referenceAvis",)),
    ],
)
def test_a_refused_parameter_is_named_and_the_provider_is_not_called(
    key: str, dgfip: TaxService, query: dict[str, list[str]] | None, named: tuple[str, ...]
) -> None:
    answer = send(key, query)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    for name in named:
        assert name in answer.body["message"]
    assert dgfip.requests == []


def test_other_parameters_are_ignored(key: str, dgfip: TaxService) -> None:
    numbers = {"numeroFiscal": ["2690000000012"], "referenceAvis": ["2690000000034"]}
    assert send(key, {**numbers, "q": ["x"], "NumeroFiscal": ["x"]}).status == 200
    assert len(dgfip.requests) == 2
