"""A function called in process, as the gateway calls it: an event of ``events/`` in, a response out."""

import copy
import importlib
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import openapi
from tests.support.template import ROOT


def new_environment() -> None:
    """Clear the caches of the layer and of functions, as if a new Lambda environment started.

    Settings are then unread, and there is no client or connection. The caches are looked up in the imported modules,
    since a list of them could miss one; ``tests/architecture/test_layer.py`` holds that this finds every cache.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith(("api_particulier", "functions.")):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def shorten_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a second for a provider to connect or to go on, and two for its response, in a new environment."""
    for name, seconds in (("CONNECT_TIMEOUT", "1"), ("READ_TIMEOUT", "1"), ("DEADLINE", "2")):
        monkeypatch.setenv(f"PROVIDER_{name}", seconds)
    new_environment()


@dataclass
class Response:
    """An HTTP response, as the caller gets it."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def event(name: str, *, key: str | None = None, headers: dict[str, str] | None = None, **query: str) -> dict[str, Any]:
    """Return the event ``events/<name>.json`` with this key, these headers and, if any is given, this query."""
    loaded: dict[str, Any] = copy.deepcopy(json.loads((ROOT / "events" / f"{name}.json").read_text()))
    changed = ({"X-API-Key": key} if key is not None else {}) | (headers or {})
    loaded["headers"] |= changed
    loaded["multiValueHeaders"] |= {header: [value] for header, value in changed.items()}
    if query:
        loaded["queryStringParameters"] = query
        loaded["multiValueQueryStringParameters"] = {parameter: [value] for parameter, value in query.items()}
    return loaded


def invoke(gateway_event: dict[str, Any], function: str) -> Response:
    """Invoke the function with an event, as Lambda does, and check the response against ``docs/openapi.yaml``."""
    handler = importlib.import_module(f"functions.{function}.app").lambda_handler
    returned = handler(gateway_event, None)
    response = Response(returned["statusCode"], returned["headers"], returned["body"])
    if openapi.is_documented(gateway_event["httpMethod"], gateway_event["resource"]):
        openapi.check_response(gateway_event["httpMethod"], gateway_event["resource"], response)
    return response


def call_api(name: str, *, key: str | None = None, headers: dict[str, str] | None = None, **query: str) -> Response:
    """Invoke the function that ``events/<name>.json`` is for with that event, changed as ``event`` changes it."""
    return invoke(event(name, key=key, headers=headers, **query), name.split("/", maxsplit=1)[0])
