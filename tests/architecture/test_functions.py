"""Each function is one small folder, one resource, its events, its tests; what is missing is named."""

import ast
import importlib
import json
import re
from functools import reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from api_particulier.api.dataset import Dataset
from api_particulier.scopes import fields_of
from tests.support.scopes import CNAF, DGFIP, DSS
from tests.support.template import ROOT, described_routes, resources

FOLDERS = sorted(path.name for path in (ROOT / "functions").iterdir() if path.name != "__pycache__")
FUNCTIONS = resources("AWS::Serverless::Function")
NOT_FOR_A_FUNCTION = {
    *("boto3", "requests", "urllib3", "lxml", "http", "socket", "ssl", "os", "sys", "subprocess", "logging", "json"),
    *("aws_lambda_powertools", "aws_xray_sdk"),
}
"""All this is the layer's."""
EXCEPTIONS = {"token_suspension": {"aws_lambda_powertools"}}
"""What a function needs of it all the same: the processor of batches."""


def module(folder: str) -> Any:
    return importlib.import_module(f"functions.{folder}.app")


DATASETS: dict[str, Dataset[Any]] = {
    folder: module(folder).DATASET for folder in FOLDERS if hasattr(module(folder), "DATASET")
}
MODELS = sorted({model for dataset in DATASETS.values() for model in dataset.routes.values()}, key=str)


def resource_of(folder: str) -> dict[str, Any]:
    """Return the properties of the resource that has its code in a folder."""
    found = [function for function in FUNCTIONS.values() if function["CodeUri"] == f"functions/{folder}/"]
    assert len(found) == 1, f"template.yaml has {len(found)} resources whose CodeUri is functions/{folder}/"
    return found[0]


def doors_of(folder: str) -> set[tuple[str, str]]:
    """Return the routes that the template gives to a function, each with its method."""
    events = described_routes(resource_of(folder))
    assert all(event["RestApiId"] in ({"Ref": "Api"}, {"Ref": "ApiV3"}) for event in events)
    return {(event["Method"].upper(), event["Path"]) for event in events}


def routes_of(dataset: str) -> set[str]:
    """Return the routes that the template gives to a dataset: it is read, and nothing else."""
    assert {method for method, _ in doors_of(dataset)} == {"GET"}
    return {route for _, route in doors_of(dataset)}


def events_of(folder: str) -> list[dict[str, Any]]:
    """Return the events of a function: of API Gateway, or of a stream or a schedule."""
    return [json.loads(path.read_text()) for path in (ROOT / "events" / folder).glob("*.json")]


def door_of(made: dict[str, Any]) -> tuple[str, str]:
    return made["httpMethod"], made["resource"]


# Those of a stream and of the authoriser are no requests.
EVENTS = sorted(path for path in (ROOT / "events").rglob("*.json") if "body" in json.loads(path.read_text()))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_holds_app_py_and_nothing_else(folder: str) -> None:
    # A second module there would silently be shared by every dataset in one test process.
    found = {path.name for path in (ROOT / "functions" / folder).iterdir()} - {"__pycache__"}
    assert found == {"app.py"}


def test_every_function_of_the_template_has_its_folder() -> None:
    assert {function["CodeUri"] for function in FUNCTIONS.values()} == {f"functions/{folder}/" for folder in FOLDERS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_resource_is_named_as_its_folder(name: str) -> None:
    folder = FUNCTIONS[name]["CodeUri"].split("/")[1]
    assert name == "".join(word.capitalize() for word in folder.split("_"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_has_its_resource(folder: str) -> None:
    assert resource_of(folder)["Description"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_route_has_an_event_and_each_event_a_route(folder: str) -> None:
    events = {door_of(event) for event in events_of(folder) if "body" in event}
    assert events == doors_of(folder), f"the routes of functions/{folder}, and those of events/{folder}/*.json"


@pytest.mark.parametrize("folder", DATASETS)
def test_a_dataset_declares_the_routes_that_the_template_gives_it(folder: str) -> None:
    assert set(DATASETS[folder].routes) == routes_of(folder)


@pytest.mark.parametrize("folder", DATASETS)
def test_a_dataset_is_named_as_its_folder_and_has_one_current_route(folder: str) -> None:
    dataset = DATASETS[folder]
    assert dataset.name == folder
    assert module(folder).lambda_handler.args == (dataset,)
    assert sum(route.startswith(("/api/v2/", "/v3/")) for route in dataset.routes) == 1


@pytest.mark.parametrize("folder", FOLDERS)
def test_tests_name_it(folder: str) -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py") if "architecture" not in path.parts)
    benefit = folder.removeprefix("dss_")  # what the tests of v3 call
    called = (f'"{folder}/', f'"{folder}"', f"functions.{folder}.app", f'"{benefit}"')
    assert any(call in tests for call in called), f'no test calls ask("{folder}/…")'


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_function_has_a_docstring_and_leaves_the_rest_to_the_layer(folder: str) -> None:
    path = ROOT / "functions" / folder / "app.py"
    assert module(folder).__doc__
    assert not imports(path) & (NOT_FOR_A_FUNCTION - EXCEPTIONS.get(folder, set()))


@pytest.mark.parametrize("folder", DATASETS)
def test_a_dataset_only_declares(folder: str) -> None:
    # The token, the masking, the audit record and the shape of errors are in none of them.
    source = (ROOT / "functions" / folder / "app.py").read_text()
    allowed = {"pydantic", "typing", "collections", "datetime", "api_particulier"}
    assert imports(ROOT / "functions" / folder / "app.py") <= allowed
    assert len(source.splitlines()) <= 100
    for inner in ("calls", "audit", "tokens", "responses", "observability", "aws", "settings"):
        assert f"api_particulier.{inner}" not in source
        assert f"import {inner}" not in source


def imports(path: Path) -> set[str]:
    """Return the top-level modules that a file imports, wherever it does."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    modules = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in plain | modules}


# ── Fields ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_has_the_scope_of_the_contract(model: type[BaseModel]) -> None:
    opens = DSS if model.__module__.startswith("functions.dss_") else {**DGFIP, **CNAF}
    for path, scope in fields_of(model):
        assert path in opens.get(scope, ()), f"{model.__name__}.{path} has {scope}"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_and_field_is_described_in_words(model: type[BaseModel]) -> None:
    assert model.__doc__
    for name, field in model.model_fields.items():
        inner = field.annotation
        described = field.description or (isinstance(inner, type) and issubclass(inner, BaseModel) and inner.__doc__)
        assert described, f"{model.__name__}.{name} has no description"


@pytest.mark.parametrize(("provider", "scopes"), [("dgfip", DGFIP), ("caf", CNAF), ("dss", DSS)])
def test_every_scope_of_the_contract_opens_something(provider: str, scopes: dict[str, list[str]]) -> None:
    models = [
        model for dataset in DATASETS.values() if dataset.provider == provider for model in dataset.routes.values()
    ]
    assert {scope for model in models for _, scope in fields_of(model)} == scopes.keys()


# ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_event_is_as_api_gateway_sends_it(path: Path) -> None:
    made = json.loads(path.read_text())
    context = made["requestContext"]
    assert path.parent.parent == ROOT / "events", "one folder a function"
    assert made["httpMethod"] == context["httpMethod"] == ("POST" if made["body"] else "GET")
    values = {f"{{{name}}}": value for name, value in (made["pathParameters"] or {}).items()}
    resource = made["resource"].replace("+}", "}")
    assert made["path"] == reduce(lambda path, name: path.replace(name, values[name]), values, resource)
    assert made["resource"] == context["resourcePath"]
    assert made["multiValueHeaders"] == {name: [value] for name, value in made["headers"].items()}
    query = made["queryStringParameters"]
    assert made["multiValueQueryStringParameters"] == (query and {name: [value] for name, value in query.items()})


@pytest.mark.parametrize("path", EVENTS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_event_holds_no_real_persons_numbers(path: Path) -> None:
    made = json.loads(path.read_text())
    query = made["queryStringParameters"] or {}
    for name in ("numeroFiscal", "referenceAvis"):
        assert query.get(name, "2690000000001").startswith("26900000000")
    assert query.get("numeroAllocataire", "2600001").startswith("26")
    assert set(made["headers"].get("X-API-Key", "0")) == {"0"}
    assert made["requestContext"]["identity"]["sourceIp"].startswith("203.0.113.")  # RFC 5737
    assert made["headers"]["Host"].endswith(".exemple.fr")
    assert made["requestContext"]["accountId"] == "123456789012"
    body = made["body"] or ""
    assert all(domain.endswith(".exemple.fr") for domain in re.findall(r"@([\w.-]+)", body))
    assert all(siret.startswith("210000") for siret in re.findall(r"(?<!\d)\d{14}(?!\d)", body))  # of no département
    assert set("".join(re.findall(r'"(?:key|lien)": ?"(\w*)"', body))) <= {"0"}


def test_no_two_events_have_the_same_route() -> None:
    doors = sorted(door_of(json.loads(path.read_text())) for path in EVENTS)
    assert all(door != other for door, other in pairwise(doors))
