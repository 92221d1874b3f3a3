"""The caller's request, read from an API Gateway event, and the format of its response."""

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

from api_particulier.api.parameters import Query
from api_particulier.errors import BadRequest, NotAcceptable
from api_particulier.keys.presented import presented_key

type Format = Literal["json", "xml", "jsonapi"]

MALFORMED_CONSENT: Final = "L'en-tête X-Consent doit comporter 1 à 64 lettres sans accent, chiffres ou signes . _ : -"
TELLING_CONSENT: Final = "L'en-tête X-Consent ne doit pas contenir un numéro de l'usager : il est gardé dans la trace."

_USER_LENGTH: Final = 256
CONSENT: Final = "[A-Za-z0-9._:-]{1,64}"
"""A reference to a citizen's consent: opaque, in an alphabet that is safe anywhere."""
_TELLING: Final = 7
"""A value of the query of this many characters must not be in the reference: the audit would keep it."""
_END_USER_LENGTH: Final = 64
_V3: Final = "/v3/"
_JSON_ONLY: Final = ("/api/v2/", "/api/citoyen/", "/api/cles/", "/api/datapass/", "/api/keys/", "/api/status")
_RANGES: Final[Mapping[Format, tuple[str, ...]]] = {
    "json": ("application/json", "application/*", "*/*"),
    "xml": ("application/xml", "text/xml", "application/*", "*/*"),
}
"""The media ranges of ``Accept`` that include a format, from the most to the least precise."""
_GZIP: Final = ("gzip", "x-gzip", "*")


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
    accept: str | None
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
            accept=headers.get("accept"),
            headers=headers,
            body=_body(event),
            base_url=f"https://{context.get('domainName', '')}"
            + context.get("path", "").removesuffix(event["resource"]),
        )

    @property
    def consent(self) -> str | None:
        """The caller's reference to the citizen's consent; raise ``BadRequest`` when it cannot be kept."""
        given = self.headers.get("x-consent", "").strip()
        if not given:
            return None
        if not re.fullmatch(CONSENT, given):
            raise BadRequest(MALFORMED_CONSENT)
        values = ("".join(value.split()) for values in self.query.values() for value in values)
        if any(len(value) >= _TELLING and value.lower() in given.lower() for value in values):
            raise BadRequest(TELLING_CONSENT)
        return given

    @property
    def is_v2(self) -> bool:
        return self.route.startswith("/api/v2/")

    @property
    def end_user(self) -> str | None:
        """The caller's own user that the request is for, as an opaque name (``X-End-User``)."""
        return self.headers.get("x-end-user", "")[:_END_USER_LENGTH].strip() or None

    @property
    def is_v3(self) -> bool:
        return self.route.startswith(_V3)

    @property
    def accepts_gzip(self) -> bool:
        """Whether a compressed body will do (RFC 9110 §12.5.3).

        The gateway turns base64 into bytes only for callers that send ``Accept``: others get no compressed body.
        """
        weights = _weights(self.headers.get("accept-encoding", ""))
        gzip = next((weights[coding] for coding in _GZIP if coding in weights), 0.0)
        return bool(self.accept) and gzip > 0 and gzip >= weights.get("identity", 0.0)


def preferred_format(request: Request) -> Format | None:
    """Return the format of the response, by ``?format=xml`` or by ``Accept``; None when neither format will do.

    Only v1 routes, ``introspect``, the pings and the statistics have XML (contract §3.5).
    """
    if request.is_v3:
        return "jsonapi"
    if request.route.startswith(_JSON_ONLY):
        return "json"
    for asked in reversed(request.query.get("format") or ()):
        for known in _RANGES:
            if asked.strip().lower() == known:
                return known
    accept = request.accept or ""
    weights = _weights(accept) if accept.strip(" ,") else {"*/*": 1.0}
    order = list(weights)
    accepted: list[tuple[float, int, int, Format]] = []
    for known, ranges in _RANGES.items():
        # The most precise range that the caller names decides (RFC 9110 §12.5.1); of two formats, the first named.
        named = next((media_range for media_range in ranges if media_range in weights), None)
        if named and weights[named] > 0:
            accepted.append((-weights[named], named.count("*"), order.index(named), known))
    return min(accepted, key=lambda choice: choice[:3])[3] if accepted else None


def negotiate_format(request: Request) -> Format:
    """Return the format of the response; raise ``NotAcceptable`` when neither JSON nor XML will do."""
    preferred = preferred_format(request)
    if preferred is None:
        raise NotAcceptable
    return preferred


def _body(event: Mapping[str, Any]) -> bytes:
    body: str = event.get("body") or ""
    return b64decode(body) if event.get("isBase64Encoded") else body.encode()


def _weights(header: str) -> dict[str, float]:
    """Return the weight of each member of an ``Accept`` or ``Accept-Encoding`` header, in its order (RFC 9110 §12.4.2).

    A weight that is no number excludes its member.
    """
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        written = next((parameter[1:].strip() for parameter in parameters if parameter.startswith("q")), "=1")
        weight = re.fullmatch(r"=\s*([01](?:\.[0-9]*)?)", written)
        if name:
            weights[name] = float(weight[1]) if weight else 0.0
    return weights
