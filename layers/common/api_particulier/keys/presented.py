"""The key that a caller presents: in ``X-API-Key``, or on some routes in ``Authorization: Bearer`` too.

A key in the query is never read: addresses are logged on the way.
"""

from collections.abc import Mapping
from typing import Final

_BEARER_TOO: Final = ("/v3/", "/api/introspect")


def presented_key(headers: Mapping[str, str], route: str) -> str | None:
    """Return the key that a caller presents on a route, or None without a key, or with two different keys.

    An ``Authorization`` of another scheme is ignored.
    """
    named = {name.lower(): value for name, value in headers.items()}
    key = named.get("x-api-key") or None
    if not route.startswith(_BEARER_TOO):
        return key
    scheme, _, credentials = named.get("authorization", "").strip().partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    if bearer and key and bearer != key:
        return None  # the audit must name one caller
    return bearer or key
