"""The documentation, as what every answer is held against: none may say what it does not."""

from functools import lru_cache
from typing import Any, Protocol

import yaml
from openapi_schema_validator import OAS31Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.support.template import ROOT


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


def violations(where: str, value: Any) -> list[str]:
    """Say what of ``value`` is not as the schema that is there in the document; never the value."""
    return [
        f"{'.'.join(map(str, error.absolute_path))}: {error.validator}"
        for error in _validator(where).iter_errors(value)
    ]


def documented_response(method: str, path: str, status: int) -> tuple[dict[str, Any], str]:
    """Return what the document says of an answer, and where it says so."""
    operation = document()["paths"][path][method.lower()]
    assert str(status) in operation["responses"], f"docs/openapi.yaml: {method} {path} does not answer {status}"
    response = operation["responses"][str(status)]
    if "$ref" in response:
        name = response["$ref"].rsplit("/", 1)[1]
        return document()["components"]["responses"][name], pointer("components", "responses", name)
    return response, pointer("paths", path, method.lower(), "responses", str(status))


def is_documented(path: str) -> bool:
    return path in document()["paths"]


class Answer(Protocol):
    """What a caller gets."""

    status: int
    headers: dict[str, str]

    @property
    def body(self) -> Any: ...


def hold(method: str, path: str, answer: Answer) -> None:
    """Fail when an answer is not as the documentation says: its status, type, headers or body (of JSON)."""
    status, headers = answer.status, answer.headers
    said, where = documented_response(method, path, status)
    media_type = headers["Content-Type"].split(";")[0]
    assert media_type in said["content"], f"{method} {path} {status}: {media_type}"
    expected = {"X-Request-Id"} | said["headers"].keys() & {"RateLimit-Limit", "RateLimit-Policy"}
    assert expected <= headers.keys(), f"{method} {path} {status}: {expected - headers.keys()}"
    assert "Retry-After" not in headers or "Retry-After" in said["headers"], f"{method} {path} {status}: Retry-After"
    if media_type == "application/json":
        found = violations(f"{where}/content/application~1json/schema", answer.body)
        assert not found, f"{method} {path} {status}: {found}"
