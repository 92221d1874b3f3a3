"""The OpenAPI document, against which the tests check every response."""

from functools import lru_cache
from typing import Any, Protocol

import yaml
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from api_particulier.v3_errors import MEDIA_TYPE
from tests.support.template import ROOT

OK = 200


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load((ROOT / "docs/openapi.yaml").read_text(), yaml.CSafeLoader)
    return loaded


@lru_cache(maxsize=1)
def _registry() -> Registry[Any]:
    whole = DRAFT202012.create_resource(document())
    registry: Registry[Any] = Registry().with_resource("urn:openapi", whole)
    return registry


@lru_cache
def _validator(reference: str) -> OAS31Validator:
    return OAS31Validator({"$ref": f"urn:openapi#{reference}"}, registry=_registry())


def pointer(*steps: str) -> str:
    """Write a JSON pointer (RFC 6901)."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


def schema_errors(schema_pointer: str, value: Any) -> list[str]:
    """Return where ``value`` breaks the schema at this place of the document, as path and rule, without the value."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.validator}"
        for error in _validator(schema_pointer).iter_errors(value)
    ]


def documented_response(method: str, path: str, status: int) -> tuple[dict[str, Any], str]:
    """Return the documented response for this status, and the JSON pointer to it in the document."""
    operation = document()["paths"][path][method.lower()]
    assert str(status) in operation["responses"], f"docs/openapi.yaml: {method} {path} has no response {status}"
    response = operation["responses"][str(status)]
    if "$ref" in response:
        name = response["$ref"].rsplit("/", 1)[1]
        return document()["components"]["responses"][name], pointer("components", "responses", name)
    return response, pointer("paths", path, method.lower(), "responses", str(status))


def is_documented(method: str, path: str) -> bool:
    """Return whether an operation has its responses there; HEAD and preflights have those of GET."""
    return method.lower() in document()["paths"].get(path, {})


class Response(Protocol):
    """An HTTP response, as the caller gets it."""

    status: int
    headers: dict[str, str]

    @property
    def body(self) -> Any: ...


def check_response(method: str, path: str, response: Response) -> None:
    """Fail unless a response has a documented status, media type, headers and (for JSON) body."""
    status, headers = response.status, response.headers
    documented, where = documented_response(method, path, status)
    media_type = headers["Content-Type"].split(";")[0]
    call = f"{method} {path} {status}"
    assert media_type in documented["content"], f"{call}: {media_type}"
    expected = {"X-Request-Id"} | documented["headers"].keys() - {"Retry-After", "Access-Control-Allow-Origin"}
    assert expected <= headers.keys(), f"{call}: {expected - headers.keys()}"
    assert "Retry-After" not in headers or "Retry-After" in documented["headers"], f"{call}: Retry-After"
    if media_type == MEDIA_TYPE and status != OK:
        codes = {error["code"] for error in response.body["errors"]}
        assert codes <= documented["content"][media_type]["examples"].keys(), f"{call}: {codes}"
    if media_type == MEDIA_TYPE:
        found = schema_errors(f"{where}{pointer('content', media_type, 'schema')}", response.body)
        assert not found, f"{call}: {found}"
    if media_type == "application/json":
        found = schema_errors(f"{where}/content/application~1json/schema", response.body)
        assert not found, f"{call}: {found}"
