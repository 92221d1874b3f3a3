"""The collection of requests, made from the documentation and from the sandbox's people."""

import re
from typing import Any

import pytest

from release.collection import collection
from tests.support.openapi import document


def requests_of(folder: dict[str, Any]) -> list[dict[str, Any]]:
    return [request for item in folder["item"] for request in (requests_of(item) if "item" in item else [item])]


@pytest.mark.slow
def test_every_route_for_clients_is_in_the_collection() -> None:
    paths = {path for path, item in document()["paths"].items() if "get" in item}
    asked = {"/" + "/".join(request["request"]["url"]["path"]) for request in requests_of(collection())}
    assert paths - asked == {"/api/cles/remise", "/api/open-api.yml", "/documentation-open-api.yaml"}


def test_a_request_holds_the_key_by_its_variable_only() -> None:
    keyed = [request for request in requests_of(collection()) if request["request"]["header"]]
    assert keyed
    for request in keyed:
        assert request["request"]["header"] == [{"key": "X-API-Key", "value": "{{cle}}"}]


@pytest.mark.slow
def test_every_required_parameter_has_the_value_of_a_person() -> None:
    for request in requests_of(collection()):
        url = request["request"]["url"]
        (operation,) = [
            item["get"] for path, item in document()["paths"].items() if path == "/" + "/".join(url["path"])
        ]
        required = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["required"]}
        given = {pair["key"]: pair["value"] for pair in url["query"]}
        assert required <= given.keys()
        assert all(re.fullmatch(r"(\{\{\w+\}\})?[0-9A-Z]+", value) for value in given.values())


def test_the_documentation_names_a_host_for_tools_that_need_one() -> None:
    first, second = document()["servers"]
    assert first["url"] == ".."
    assert second["variables"]["adresse"]["default"].startswith("https://")
