"""The pages that people read, and the public contract (docs/openapi.yaml), from the files of the website's layer."""

from functools import lru_cache
from typing import Any, Final

from api_particulier.api.handler import handle_public
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, text, with_headers
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


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer a page, an asset or the OpenAPI document; nothing of the reader is kept."""
    return handle_public(event, context, "site", _build_response)


def _build_response(request: Request) -> Response:
    if request.route in {_OPENAPI, _OPENAPI_V1}:
        response = text(_document(request.route), _MEDIA_TYPE, request.id)
        return with_headers(response, _OPENAPI_HEADERS)
    if request.route == _HOME and not request.full_path.endswith("/"):
        return site.redirect_to_slash(request.full_path, request.id)
    return site.serve_file(request.path.strip("/"), request.id, accepts_gzip=request.accepts_gzip)


@lru_cache(maxsize=2)
def _document(route: str) -> str:
    """Return the OpenAPI document as served at ``route``: its server's address is relative to its own."""
    document = site.openapi()
    if route == _OPENAPI_V1:  # one step nearer to the API
        return document.replace("\nservers:\n- url: ..\n", "\nservers:\n- url: .\n")
    return document
