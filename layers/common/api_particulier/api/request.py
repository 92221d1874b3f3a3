"""The caller's request, read from an API Gateway event."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from api_particulier.api.parameters import Query

_USER_LENGTH = 256
_FOR_CITIZENS = "/api/citoyen/"


@dataclass(frozen=True)
class Request:
    """What an API Gateway (REST, Lambda proxy) event says of the caller's request."""

    id: str
    route: str
    """The declared resource, never the path that the caller wrote."""
    address: str
    query: Query = field(repr=False)
    key: str | None = field(repr=False)
    user: str | None = field(repr=False)
    accept: str
    headers: Mapping[str, str] = field(repr=False)
    """By their names in small letters."""
    body: bytes = field(repr=False)
    """As it was sent, to the byte."""
    base_url: str
    """What comes before a route in the address that this request was sent to."""

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Self:
        context = event["requestContext"]
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        user = "".join(filter(str.isprintable, headers.get("x-user", "")))[:_USER_LENGTH].strip()
        return cls(
            id=context["requestId"],
            route=event["resource"],
            address=context["identity"]["sourceIp"],
            query=event.get("multiValueQueryStringParameters") or {},
            key=headers.get("x-api-key"),
            user=user or None,
            accept=headers.get("accept") or "*/*",
            headers=headers,
            body=_body(event),
            base_url=f"https://{context.get('domainName', '')}"
            + context.get("path", "").removesuffix(event["resource"]),
        )

    @property
    def is_v2(self) -> bool:
        return self.route.startswith("/api/v2/")

    def wants_xml(self) -> bool | None:
        """Tell whether to answer XML: v1 only, by ``?format=xml`` or by ``Accept``; None when neither will do."""
        if self.is_v2 or self.route.startswith(_FOR_CITIZENS):
            return False
        asked = self.query.get("format")
        for media_type in [f"application/{asked[-1]}"] if asked else _by_preference(self.accept):
            if media_type in {"application/json", "application/*", "*/*"}:
                return False
            if media_type in {"application/xml", "text/xml"}:
                return True
        return None


def _body(event: Mapping[str, Any]) -> bytes:
    body: str = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _by_preference(accept: str) -> list[str]:
    """Return the media types of an ``Accept`` header, the preferred and then the precise first (RFC 9110 §12.5.1)."""
    weighted = []
    for one in accept.split(","):
        media_type, *parameters = (part.strip().lower() for part in one.split(";"))
        weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        if weight > 0:
            weighted.append((weight, media_type))
    return [media_type for _, media_type in sorted(weighted, key=lambda pair: (-pair[0], pair[1].count("*")))]
