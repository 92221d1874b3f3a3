"""A function called in process, as the gateway calls it: an event of ``events/`` in, a response out."""

import copy
import importlib
import json
import sys
from dataclasses import dataclass
from typing import Any

from tests.support import openapi
from tests.support.template import ROOT


def new_environment() -> None:
    """Clear the caches of the layer, as a new Lambda environment starts: settings unread, no client, no connection.

    Caches are found by looking through the imported modules, so that a cache added to the layer cannot be forgotten
    here; ``tests/architecture/test_layer.py`` holds that every one is where this looks.
    """
    for name, module in list(sys.modules.items()):
        if name.startswith("api_particulier"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


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
    if openapi.is_documented(gateway_event["resource"]):
        openapi.check_response(gateway_event["httpMethod"], gateway_event["resource"], response)
    return response


def call_api(name: str, *, key: str | None = None, headers: dict[str, str] | None = None, **query: str) -> Response:
    """Invoke the function that ``events/<name>.json`` is for with that event, changed as ``event`` changes it."""
    return invoke(event(name, key=key, headers=headers, **query), name.split("/", maxsplit=1)[0])
