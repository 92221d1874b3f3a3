"""One call that carries a key: from API Gateway's event to an answer that leaves once its audit entry is written."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from api_particulier.api import deadline
from api_particulier.api.request import Request
from api_particulier.api.response import Response, data, refusal
from api_particulier.audit.record import AuditRecord, write
from api_particulier.errors import ApiError, AuditUnavailable, InternalError, NotAcceptable
from api_particulier.keys.token import Token, check_usable, find_by_key
from api_particulier.observability import log_unexpected, record_call


@dataclass(frozen=True)
class Call:
    """A request, who makes it, and the audit entry that is being filled in."""

    request: Request
    token: Token
    entry: AuditRecord


def serve(event: Mapping[str, Any], name: str, tell: Callable[[Call], object], kind: str | None = None) -> Response:
    """Authenticate the caller, let ``tell`` make the answer's body, audit, and answer.

    ``tell`` refuses by raising an ``ApiError``. Nothing that it returns leaves unless the audit entry is written.
    """
    return serve_audited(event, name, lambda request, entry: tell(_entitled(request, entry)), kind)


def _entitled(request: Request, entry: AuditRecord) -> Call:
    """Find who calls, and refuse them when their token cannot be used; the entry says whose it is all the same."""
    token = find_by_key(request.key)
    entry.identify(token)  # before it is checked: the audit says whose key was refused, and from where
    check_usable(token, request.address)
    if request.wants_xml() is None:
        raise NotAcceptable
    return Call(request, token, entry)


def serve_audited(
    event: Mapping[str, Any], name: str, tell: Callable[[Request, AuditRecord], object], kind: str | None
) -> Response:
    """Let ``tell`` make the answer's body and complete the audit entry, audit, and answer.

    ``tell`` finds out who asks. It refuses by raising an ``ApiError``. Nothing that it returns leaves unless the audit
    entry is written.
    """
    started = monotonic()
    request = Request.of(event)
    entry = AuditRecord(
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
            response = data(tell(request, entry), request.id, xml=xml)
        entry.status = 200
    except ApiError as error:
        response = _refuse(error, entry, xml=xml)
    except Exception as error:  # noqa: BLE001 - whatever happens, an answer of ours that tells nothing of it
        log_unexpected(error, request.id)
        response = _refuse(InternalError(), entry, xml=xml)
    try:
        write(entry)
    except AuditUnavailable as error:  # no entry, no data: what was to leave is dropped here
        response = _refuse(error, entry, xml=xml)
    duration_ms = round((monotonic() - started) * 1000)
    record_call(
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
        response = data(tell(request), request.id, xml=xml)
    except ApiError as error:
        status, response = error.status, refusal(error, request.id, xml=xml)
    except Exception as error:  # noqa: BLE001 - whatever happens, an answer of ours that tells nothing of it
        log_unexpected(error, request.id)
        status, response = InternalError.status, refusal(InternalError(), request.id, xml=xml)
    duration_ms = round((monotonic() - started) * 1000)
    record_call(name, status, duration_ms, route=request.route, request_id=request.id)
    return response


def _refuse(error: ApiError, entry: AuditRecord, *, xml: bool) -> Response:
    entry.status, entry.error = error.status, error.code
    entry.released, entry.withheld = [], []
    return refusal(error, entry.request_id, xml=xml)
