"""The OpenAPI document has every route, with descriptions, and examples that match its schemas."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api_particulier import errors, v3_errors
from api_particulier.errors import ApiError
from api_particulier.scopes import fields_of
from api_particulier.v3_errors import MEDIA_TYPE
from ops.functions import datasets, modules
from release.openapi.generator import UndocumentedRouteError, openapi
from sandbox.simulators import PEOPLE, caf, svair
from tests.support.openapi import document, pointer, schema_errors
from tests.support.template import described_routes, resources


def routes() -> set[tuple[str, str]]:
    """Return the method and path of each route of the template, except the pages of the website."""
    events = [
        event for function in resources("AWS::Serverless::Function").values() for event in described_routes(function)
    ]
    prefixes = ("/api/", "/v3/", "/documentation-open-api.yaml")
    return {(event["Method"], event["Path"]) for event in events if event["Path"].startswith(prefixes)}


OPERATIONS = [(path, method) for path, item in document()["paths"].items() for method in item]


def responses(path: str, method: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the status, the documented response and its JSON pointer, for each response of an operation."""
    for status, response in document()["paths"][path][method]["responses"].items():
        if "$ref" in response:
            name = response["$ref"].rsplit("/", 1)[1]
            yield status, document()["components"]["responses"][name], pointer("components", "responses", name)
        else:
            yield status, response, pointer("paths", path, method, "responses", status)


def test_the_document_is_valid_openapi() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_the_document_has_the_routes_of_the_template_and_no_other() -> None:
    assert {(method, path) for path, method in OPERATIONS} == routes()


def test_generation_fails_for_a_route_without_documentation_and_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules()["stats"], "ROUTES", ())
    with pytest.raises(UndocumentedRouteError, match=r"functions/stats/app\.py.*GET /api/stats"):
        openapi()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_example_matches_its_schema(path: str, method: str) -> None:
    operation = document()["paths"][path][method]
    for _, response, where in responses(path, method):
        for media_type in response["content"].keys() & {"application/json", MEDIA_TYPE}:
            schema = f"{where}{pointer('content', media_type, 'schema')}"
            for name, example in response["content"][media_type].get("examples", {}).items():
                assert schema_errors(schema, example["value"]) == [], name
    if "requestBody" in operation:
        where = pointer("paths", path, method, "requestBody", "content", "application/json")
        for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
            assert schema_errors(f"{where}/schema", example["value"]) == []


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_response_has_a_description_an_example_and_a_request_id(path: str, method: str) -> None:
    for status, response, _ in responses(path, method):
        assert response["description"], status
        assert response["content"], status
        assert all(content["examples"] for content in response["content"].values()), status
        assert "X-Request-Id" in response["headers"], status


@pytest.mark.parametrize("dataset", datasets(), ids=lambda dataset: str(dataset.name))
def test_every_field_of_a_dataset_is_described_with_its_scope(dataset: Any) -> None:
    for path, model in dataset.routes.items():
        (content,) = (response["content"] for status, response, _ in responses(path, "get") if status == "200")
        schema = content[MEDIA_TYPE]["schema"]["properties"]["data"] if MEDIA_TYPE in content else None
        schema = schema or content["application/json"]["schema"]
        for field, scope in fields_of(model):
            described = field_of(schema, field.split("."))
            assert described["x-scope"] == scope
            assert described["description"]


def field_of(schema: dict[str, Any], steps: list[str]) -> dict[str, Any]:
    for step in steps:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["properties"][step]
    return schema


def test_the_numbers_of_examples_are_those_of_people_of_the_sandbox() -> None:
    citizen, family = svair.people(PEOPLE / "avis.toml")[0], caf.familles(PEOPLE / "familles.toml")[0]
    examples = {
        parameter["name"]: example["value"]
        for path, method in OPERATIONS
        for parameter in document()["paths"][path][method].get("parameters", ())
        for example in parameter.get("examples", {}).values()
    }
    assert examples["numeroFiscal"] == citizen.numero_fiscal
    assert (
        examples["referenceAvis"][2:] == citizen.reference_avis[2:]
    )  # the first two digits are the year, which the document sets
    assert (examples["numeroAllocataire"], examples["codePostal"]) == (family.numero_allocataire, family.code_postal)


def subclasses(error: type[ApiError]) -> Iterator[type[ApiError]]:
    for subclass in error.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


@pytest.mark.parametrize("error", sorted(subclasses(errors.ApiError), key=str))
def test_every_error_of_the_api_is_in_the_document_with_its_summary(error: type[ApiError]) -> None:
    if error.__subclasses__() and not error.reason:
        return  # a base class, never raised
    if error.__module__ == v3_errors.__name__:
        return  # v3 documents its codes
    assert error.__doc__
    summaries = {
        example["summary"]
        for path, method in OPERATIONS
        for _, response, _ in responses(path, method)
        for example in response["content"].get("application/json", {}).get("examples", {}).values()
        if "summary" in example
    }
    assert error.__doc__ in summaries
