"""Introspection: what the caller's own key is, and which scopes it opens."""

from typing import Any

from api_particulier.calls import Call, serve
from api_particulier.responses import Response


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer ``GET /api/introspect``."""
    return serve(event, "introspect", _describe)


def _describe(call: Call) -> dict[str, object]:
    return {"_id": call.token.id, "name": call.token.organisation, "scopes": sorted(call.token.scopes)}
