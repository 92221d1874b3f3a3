"""The pages that people read, and the public contract (docs/openapi.yaml), from the files of the website's layer."""

from functools import lru_cache
from typing import Any, Final

from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, text, with_headers
from api_particulier.observability import LogEvent, log, record_call
from api_particulier.public import site

_HOME: Final = "/"
_OPENAPI: Final = "/api/open-api.yml"
_OPENAPI_V1: Final = "/documentation-open-api.yaml"
_OPENAPI_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=3600"}
_MEDIA_TYPE: Final = "application/yaml"

ROUTES = tuple(
    Route(
        name=name,
        path=path,
        summary="Cette documentation, au format OpenAPI",
        answer=dict[str, Any],
        example={"openapi": "3.1.0"},
        media_type=_MEDIA_TYPE,
        headers={"Access-Control-Allow-Origin": "`*` : toute page peut la lire."},
    )
    for name, path in (("documentation", _OPENAPI), ("documentation_v1", _OPENAPI_V1))
)


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer a page, an asset or the OpenAPI document; nothing of the reader is kept."""
    route = event["resource"]
    if route in {_OPENAPI, _OPENAPI_V1}:
        return _openapi(Request.of(event))
    request_id = event["requestContext"]["requestId"]
    if route == _HOME and not event["requestContext"]["path"].endswith("/"):
        response = site.with_slash(event["requestContext"]["path"], request_id)
    else:
        headers = {name.lower(): value for name, value in (event["headers"] or {}).items()}
        accepts_gzip = "gzip" in headers.get("accept-encoding", "")
        response = site.answer(event["path"].strip("/"), request_id, accepts_gzip=accepts_gzip)
    status = response["statusCode"]
    assert isinstance(status, int)  # noqa: S101 - made by site
    log(LogEvent.ANSWERED, dataset="site", route=route, status=status, request_id=request_id)
    return response


def _openapi(request: Request) -> Response:
    response = text(_document(request.route), _MEDIA_TYPE, request.id)
    record_call("documentation", 200, 0, route=request.route, request_id=request.id)
    return with_headers(response, _OPENAPI_HEADERS)


@lru_cache(maxsize=2)
def _document(route: str) -> str:
    """Return the OpenAPI document as served at ``route``: its server's address is relative to its own."""
    document = site.openapi()
    if route == _OPENAPI_V1:  # one step nearer to the API
        return document.replace("\nservers:\n- url: ..\n", "\nservers:\n- url: .\n")
    return document
