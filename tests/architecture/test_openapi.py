"""The public contract is whole: every route, described, with examples that are what it says, and of the sandbox."""

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api_particulier import errors
from api_particulier.errors import ApiError
from api_particulier.scopes import fields_of
from ops.functions import datasets, modules
from release.openapi.generator import UndocumentedRouteError, openapi
from sandbox.simulators import PEOPLE, caf, svair
from tests.support.openapi import document, pointer, schema_errors
from tests.support.template import resources


def routes() -> set[tuple[str, str]]:
    """Return the routes of the template that are not pages of the site."""
    events = [
        event["Properties"]
        for function in resources("AWS::Serverless::Function").values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "Api"
    ]
    of_api = ("/api/", "/documentation-open-api.yaml")
    return {(one["Method"], one["Path"]) for one in events if one["Path"].startswith(of_api)}


OPERATIONS = [(path, method) for path, item in document()["paths"].items() for method in item]


def answers(path: str, method: str) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield each answer of an operation: its status, what is said of it, and where."""
    for status, response in document()["paths"][path][method]["responses"].items():
        if "$ref" in response:
            name = response["$ref"].rsplit("/", 1)[1]
            yield status, document()["components"]["responses"][name], pointer("components", "responses", name)
        else:
            yield status, response, pointer("paths", path, method, "responses", status)


def test_it_is_valid() -> None:
    OpenAPIV31SpecValidator(document()).validate()


def test_every_route_of_the_template_is_in_it_and_no_other() -> None:
    assert {(method, path) for path, method in OPERATIONS} == routes()


def test_a_route_that_no_function_tells_of_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modules()["stats"], "ROUTES", ())
    with pytest.raises(UndocumentedRouteError, match=r"functions/stats/app\.py.*GET /api/stats"):
        openapi()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_example_is_what_its_schema_says(path: str, method: str) -> None:
    operation = document()["paths"][path][method]
    for _, response, where in answers(path, method):
        said = response["content"].get("application/json", {})
        for name, example in said.get("examples", {}).items():
            assert schema_errors(f"{where}/content/application~1json/schema", example["value"]) == [], name
    if "requestBody" in operation:
        where = pointer("paths", path, method, "requestBody", "content", "application/json")
        for example in operation["requestBody"]["content"]["application/json"]["examples"].values():
            assert schema_errors(f"{where}/schema", example["value"]) == []


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_says_what_it_is_has_an_example_and_the_requests_id(path: str, method: str) -> None:
    for status, response, _ in answers(path, method):
        assert response["description"], status
        assert response["content"], status
        assert all(one["examples"] for one in response["content"].values()), status
        assert "X-Request-Id" in response["headers"], status


@pytest.mark.parametrize("one", datasets(), ids=lambda one: str(one.name))
def test_every_field_of_a_dataset_is_described_with_its_scope(one: Any) -> None:
    for path, model in one.routes.items():
        (schema,) = (
            response["content"]["application/json"]["schema"]
            for status, response, _ in answers(path, "get")
            if status == "200"
        )
        for field, scope in fields_of(model):
            told = field_of(schema, field.split("."))
            assert told["x-scope"] == scope
            assert told["description"]


def field_of(schema: dict[str, Any], steps: list[str]) -> dict[str, Any]:
    for step in steps:
        schema = document()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]["properties"][step]
    return schema


def test_examples_are_the_sandboxs_own_people() -> None:
    citizen, family = svair.people(PEOPLE / "avis.toml")[0], caf.familles(PEOPLE / "familles.toml")[0]
    examples = {
        parameter["name"]: example["value"]
        for path, method in OPERATIONS
        for parameter in document()["paths"][path][method].get("parameters", ())
        for example in parameter.get("examples", {}).values()
    }
    assert examples["numeroFiscal"] == citizen.numero_fiscal
    assert examples["referenceAvis"][2:] == citizen.reference_avis[2:]  # its year is that of the document
    assert (examples["numeroAllocataire"], examples["codePostal"]) == (family.numero_allocataire, family.code_postal)


def kinds(error: type[ApiError]) -> Iterator[type[ApiError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from kinds(kind)


@pytest.mark.parametrize("kind", sorted(kinds(errors.ApiError), key=str))
def test_an_error_that_a_caller_can_get_says_when_and_is_in_it(kind: type[ApiError]) -> None:
    if kind.__subclasses__() and not kind.reason:
        return  # a family of errors, of which none is raised
    assert kind.__doc__
    said = {
        example["summary"]
        for path, method in OPERATIONS
        for _, response, _ in answers(path, method)
        for example in response["content"].get("application/json", {}).get("examples", {}).values()
        if "summary" in example
    }
    assert kind.__doc__ in said
