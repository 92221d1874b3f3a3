"""One call that carries a key: from API Gateway's event to an answer that leaves once its audit entry is written."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Self

from api_particulier import audit, deadline, responses, tokens
from api_particulier.errors import ApiError, AuditUnavailable, InternalError, NotAcceptable
from api_particulier.observability import count_call, log_unforeseen
from api_particulier.parameters import Query
from api_particulier.responses import Response

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


@dataclass(frozen=True)
class Call:
    """A request, who makes it, and the audit entry that is being filled in."""

    request: Request
    token: tokens.Token
    entry: audit.Entry


def serve(event: Mapping[str, Any], name: str, tell: Callable[[Call], object], kind: str | None = None) -> Response:
    """Authenticate the caller, let ``tell`` make the answer's body, audit, and answer.

    ``tell`` refuses by raising an ``ApiError``. Nothing that it returns leaves unless the audit entry is written.
    """
    return serve_audited(event, name, lambda request, entry: tell(_entitled(request, entry)), kind)


def _entitled(request: Request, entry: audit.Entry) -> Call:
    """Find who calls, and refuse them when their token cannot be used; the entry says whose it is all the same."""
    token = tokens.find(request.key)
    entry.identify(token)  # before it is checked: the audit says whose key was refused, and from where
    tokens.check(token, request.address)
    if request.wants_xml() is None:
        raise NotAcceptable
    return Call(request, token, entry)


def serve_audited(
    event: Mapping[str, Any], name: str, tell: Callable[[Request, audit.Entry], object], kind: str | None
) -> Response:
    """Let ``tell`` make the answer's body and complete the audit entry, audit, and answer.

    ``tell`` finds out who asks. It refuses by raising an ``ApiError``. Nothing that it returns leaves unless the audit
    entry is written.
    """
    started = monotonic()
    request = Request.of(event)
    entry = audit.Entry(
        at=datetime.now(UTC),
        request_id=request.id,
        dataset=name,
        route=request.route,
        address=request.address,
        kind=kind,
        user=request.user,
    )
    xml = request.wants_xml() is True
    try:
        with deadline.of_call(started):
            response = responses.data(tell(request, entry), request.id, xml=xml)
        entry.status = 200
    except ApiError as error:
        response = _refuse(error, entry, xml=xml)
    except Exception as error:  # noqa: BLE001 - whatever happens, an answer of ours that tells nothing of it
        log_unforeseen(error, request.id)
        response = _refuse(InternalError(), entry, xml=xml)
    try:
        audit.write(entry)
    except AuditUnavailable as error:  # no entry, no data: what was to leave is dropped here
        response = _refuse(error, entry, xml=xml)
    duration_ms = round((monotonic() - started) * 1000)
    count_call(
        name,
        entry.status,
        duration_ms,
        route=entry.route,
        error=entry.error,
        token=entry.token,
        request_id=entry.request_id,
    )
    return response


def serve_without_key(
    event: Mapping[str, Any], name: str, tell: Callable[[Request], object], *, or_xml: bool = False
) -> Response:
    """Let ``tell`` make the answer's body, for who has no key; it refuses by raising an ``ApiError``.

    With ``or_xml`` the answer is XML for who asks for it.
    """
    started = monotonic()
    request = Request.of(event)
    wants_xml = or_xml and request.wants_xml()
    status, xml = 200, wants_xml is True
    try:
        if wants_xml is None:
            raise NotAcceptable  # noqa: TRY301 - one place turns errors into answers
        response = responses.data(tell(request), request.id, xml=xml)
    except ApiError as error:
        status, response = error.status, responses.refusal(error, request.id, xml=xml)
    except Exception as error:  # noqa: BLE001 - whatever happens, an answer of ours that tells nothing of it
        log_unforeseen(error, request.id)
        status, response = InternalError.status, responses.refusal(InternalError(), request.id, xml=xml)
    duration_ms = round((monotonic() - started) * 1000)
    count_call(name, status, duration_ms, route=request.route, request_id=request.id)
    return response


def _refuse(error: ApiError, entry: audit.Entry, *, xml: bool) -> Response:
    entry.status, entry.error = error.status, error.code
    entry.released, entry.withheld = [], []
    return responses.refusal(error, entry.request_id, xml=xml)
