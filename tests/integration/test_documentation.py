"""The public contract, as it is served (contract §1)."""

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.function import call_api
from tests.support.openapi import document


@pytest.mark.parametrize("door", ["documentation/open-api", "documentation/v1"])
def test_the_contract_that_is_served_is_valid_and_the_one_that_was_generated(door: str) -> None:
    answer = call_api(door)
    served = yaml.load(answer.text, yaml.CSafeLoader)
    OpenAPIV31SpecValidator(served).validate()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/yaml; charset=utf-8")
    assert served | {"servers": None} == document() | {"servers": None}


@pytest.mark.parametrize(("door", "server"), [("documentation/open-api", ".."), ("documentation/v1", ".")])
def test_it_says_where_the_api_is_from_where_it_is_itself(door: str, server: str) -> None:
    # Relative: right behind any domain and any stage.
    assert yaml.load(call_api(door).text, yaml.CSafeLoader)["servers"] == [{"url": server}]


def test_any_page_may_read_it_and_keep_it_for_an_hour() -> None:
    headers = call_api("documentation/open-api").headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "public, max-age=3600"
