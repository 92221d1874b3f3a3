"""The documentation: the public contract, generated from what is deployed (docs/decisions/0022-openapi.md)."""

from pathlib import Path
from typing import Any, Final

from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, text, with_headers
from api_particulier.observability import record_call

_KEPT: Final = 3600
"""Seconds that anybody between us and the reader may keep it."""
_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": f"public, max-age={_KEPT}"}
_MEDIA_TYPE: Final = "application/yaml"

# Written together with docs/openapi.yaml, of which it is a copy.
_TEXT: Final = Path(__file__).with_name("openapi.yaml").read_text(encoding="utf-8")
_TEXTS: Final = {
    "/api/open-api.yml": _TEXT,
    # It says where the API is from where it is itself: here, one step less away.
    "/documentation-open-api.yaml": _TEXT.replace("\nservers:\n- url: ..\n", "\nservers:\n- url: .\n"),
}

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
    for name, path in (("documentation", "/api/open-api.yml"), ("documentation_v1", "/documentation-open-api.yaml"))
)


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer ``GET`` at both addresses. Anyone may read it, from any page."""
    request = Request.from_event(event)
    response = text(_TEXTS[request.route], _MEDIA_TYPE, request.id)
    record_call("documentation", 200, 0, route=request.route, request_id=request.id)
    return with_headers(response, _HEADERS)
