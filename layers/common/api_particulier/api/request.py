"""The caller's request, read from an API Gateway event, and the format of its response."""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from api_particulier.api.parameters import Query
from api_particulier.errors import NotAcceptable
from api_particulier.keys.presented import presented_key

type Format = Literal["json", "xml"]

_USER_LENGTH: Final = 256
_JSON_ONLY: Final = ("/api/v2/", "/api/citoyen/", "/api/cles/", "/api/datapass/", "/api/keys/", "/api/status")
_MEDIA_TYPES: Final[Mapping[str, Format]] = {
    "application/json": "json",
    "application/*": "json",
    "*/*": "json",
    "application/xml": "xml",
    "text/xml": "xml",
}


@dataclass(frozen=True)
class Request:
    """A request as an API Gateway event (REST, Lambda proxy) describes it."""

    id: str
    route: str
    """The declared resource, never the path that the caller wrote."""
    path: str
    """The path that the caller wrote, without the stage."""
    full_path: str
    """The same with the stage."""
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
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Read an event."""
        context = event["requestContext"]
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        user = "".join(filter(str.isprintable, headers.get("x-user", "")))[:_USER_LENGTH].strip()
        return cls(
            id=context["requestId"],
            route=event["resource"],
            path=event.get("path", ""),
            full_path=context.get("path", ""),
            address=context["identity"]["sourceIp"],
            query=event.get("multiValueQueryStringParameters") or {},
            key=presented_key(headers, event["resource"]),
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

    @property
    def accepts_gzip(self) -> bool:
        return "gzip" in self.headers.get("accept-encoding", "")


def preferred_format(request: Request) -> Format | None:
    """Return the format of the response, by ``?format=xml`` or by ``Accept``; None when neither format will do.

    Only v1 routes, ``introspect``, the pings and the statistics have XML (contract §3.5).
    """
    if request.route.startswith(_JSON_ONLY):
        return "json"
    formats = request.query.get("format")
    accepted = [f"application/{formats[-1]}"] if formats else _by_preference(request.accept)
    return next((_MEDIA_TYPES[media_type] for media_type in accepted if media_type in _MEDIA_TYPES), None)


def negotiate_format(request: Request) -> Format:
    """Return the format of the response; raise ``NotAcceptable`` when neither JSON nor XML will do."""
    preferred = preferred_format(request)
    if preferred is None:
        raise NotAcceptable
    return preferred


def _body(event: Mapping[str, Any]) -> bytes:
    body: str = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _by_preference(accept: str) -> list[str]:
    """Return the media types of an ``Accept`` header, by weight and then by precision (RFC 9110 §12.5.1)."""
    weighted = []
    for part in accept.split(","):
        media_type, *parameters = (text.strip().lower() for text in part.split(";"))
        weights = [parameter[2:] for parameter in parameters if parameter.startswith("q=")]
        try:
            weight = float(weights[0]) if weights else 1.0
        except ValueError:
            weight = 0.0
        if weight > 0:
            weighted.append((weight, media_type))
    return [media_type for _, media_type in sorted(weighted, key=lambda pair: (-pair[0], pair[1].count("*")))]
