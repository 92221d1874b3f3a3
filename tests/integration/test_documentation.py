"""The public contract, as it is served (contract §1)."""

import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.support.function import call_api
from tests.support.openapi import document

pytestmark = pytest.mark.usefixtures("site")


@pytest.mark.parametrize("event", ["site/open-api", "site/open-api-v1"])
def test_the_served_contract_is_valid_and_is_the_generated_one(event: str) -> None:
    response = call_api(event)
    served = yaml.load(response.text, yaml.CSafeLoader)
    OpenAPIV31SpecValidator(served).validate()
    assert (response.status, response.headers["Content-Type"]) == (200, "application/yaml; charset=utf-8")
    assert served | {"servers": None} == document() | {"servers": None}


@pytest.mark.parametrize(("event", "server"), [("site/open-api", ".."), ("site/open-api-v1", ".")])
def test_the_servers_address_is_relative_to_the_documents(event: str, server: str) -> None:
    # Relative: right behind any domain and any stage.
    assert yaml.load(call_api(event).text, yaml.CSafeLoader)["servers"][0]["url"] == server


@pytest.mark.parametrize("event", ["site/open-api", "site/open-api-v1"])
def test_any_page_may_read_the_contract_and_keep_it_for_an_hour(event: str) -> None:
    headers = call_api(event).headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"] == "public, max-age=3600"
