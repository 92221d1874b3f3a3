"""The two doors of the API, and the story of a request from its event to its response.

``handle`` and its sibling ``handle_audited`` release nothing unless an audit record is written; ``handle_public`` is
for routes without a key. Everything else - format, errors, log line, duration - is the same for all.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Any

from pydantic import BaseModel

from api_particulier import aws
from api_particulier.api import deadline, enumeration, v3_headers
from api_particulier.api.asker import asking
from api_particulier.api.dataset import Dataset
from api_particulier.api.identity import recipient_of
from api_particulier.api.parameters import Parameters
from api_particulier.api.request import Request, negotiate_format, preferred_format
from api_particulier.api.response import Response, preflight, refusal, success, with_headers
from api_particulier.audit.pseudonyms import pseudonym
from api_particulier.audit.record import DATASET, AuditRecord, write
from api_particulier.errors import (
    ApiError,
    AuditUnavailable,
    InsufficientScopes,
    InternalError,
    NotFound,
    TokenTampered,
)
from api_particulier.keys import lookup
from api_particulier.keys.token import Token, check_usable
from api_particulier.observability import handling, log_unexpected, record_call
from api_particulier.scopes import allowed_fields, mask, scopes_of
from api_particulier.v3_errors import in_v3

type Handler = Callable[[dict[str, Any], Any], Response]


def dataset_handler[P: Parameters](dataset: Dataset[P]) -> Handler:
    """Return the Lambda handler of a dataset, and make its clients while the function initialises."""
    aws.prepare()
    return partial(handle, dataset)


def handle[P: Parameters](dataset: Dataset[P], event: Mapping[str, Any], context: Any) -> Response:
    """Answer a request for a dataset."""
    started = monotonic()
    request = Request.from_event(event)
    record = _start_record(request, dataset.name, DATASET)
    try:
        with deadline.of_call(context), handling(request.id):
            token = authenticate(request, record)  # 401, 403
            output = negotiate_format(request)  # 406
            model = dataset.routes[request.route]
            fields = authorize(model, token)  # 403
            if request.is_v3:
                record.recipient = recipient_of(request.query, token.siret)  # 403, 422
            parameters = dataset.parameters.parse(request.query)  # 400, or 422 on v3
            record.consent = request.consent  # 400
            record.citizen = pseudonym(parameters.citizen_id, record.at)  # 503 without KMS
            guarded = enumeration.guard(token, parameters, record, request.end_user)  # 429
            with asking(token.id, record.citizen), guarded, time_provider(record, dataset.provider):
                data, record.warnings = dataset.fetch(parameters, fields)  # 404, 502, 503
            masked = mask(data, model, fields, keep_empty=request.is_v2 or request.is_v3)  # 502
            record.released, record.withheld = masked.released, masked.withheld
            response = success(masked.body, request.id, output)
            record.status = 200
    except Exception as error:  # noqa: BLE001 - every failure has its response, without its cause
        response = _refuse(_known(error, request), request, record)
    return _release(response, request, record, started)


def handle_audited(
    event: Mapping[str, Any],
    context: Any,
    name: str,
    build_body: Callable[[Request, AuditRecord], object],
    record_type: str | None = None,
) -> Response:
    """Answer an audited request that is not for a dataset; ``build_body`` authenticates the caller itself.

    ``build_body`` completes the audit record, and raises an ``ApiError`` to refuse.
    """
    started = monotonic()
    request = Request.from_event(event)
    record = _start_record(request, name, record_type)
    try:
        with deadline.of_call(context):
            response = success(build_body(request, record), request.id, negotiate_format(request))
            record.status = 200
    except Exception as error:  # noqa: BLE001 - every failure has its response, without its cause
        known = _known(error, request)
        response = _refuse(known, request, record)
        if not known.is_recorded:
            return _answer(response, record, started)
    return _release(response, request, record, started)


def handle_public(
    event: Mapping[str, Any], context: Any, name: str, build_response: Callable[[Request], Response]
) -> Response:
    """Answer a request without a key; ``build_response`` raises an ``ApiError`` to refuse."""
    started = monotonic()
    request = Request.from_event(event)
    error_code = None
    try:
        with deadline.of_call(context):
            response = build_response(request)
    except Exception as error:  # noqa: BLE001 - every failure has its response, without its cause
        known = _known(error, request)
        error_code = known.code
        response = refusal(known, request.id, preferred_format(request) or "json")
    duration_ms = round((monotonic() - started) * 1000)
    status: int = response["statusCode"]
    record_call(name, status, duration_ms, route=request.route, error=error_code, request_id=request.id)
    return response


def handle_read(
    event: Mapping[str, Any],
    context: Any,
    name: str,
    build_response: Callable[[Request], Response],
    *,
    any_origin: bool = False,
) -> Response:
    """Answer a resource without a key that is only read: GET, HEAD, and the preflight of pages of ``any_origin``."""
    match event["httpMethod"]:
        case "GET" | "HEAD":  # the gateway sends the head alone, with the length of the body
            return handle_public(event, context, name, build_response)
        case "OPTIONS" if any_origin:
            return handle_public(event, context, name, lambda request: preflight(request.id))
    return handle_public(event, context, name, _refuse_method)


def _refuse_method(_request: Request) -> Response:
    raise NotFound("No such route or method", "Cette adresse n'existe pas")  # as the gateway answers it


def authenticate(request: Request, record: AuditRecord) -> Token:
    """Return the caller's token; raise ``AccessDenied``, ``TokenTampered`` or ``AddressNotAllowed`` otherwise.

    The audit record names the token before it is checked, so that a refused key leaves a trace too.
    """
    try:
        token = lookup.find_by_key(request.key)
    except TokenTampered as error:  # the item's administration is not to be believed
        record.token, record.suspicion = error.token_id, "tampered"
        raise
    record.identify(token)
    check_usable(token, request.address)
    return token


def authorize(model: type[BaseModel], token: Token) -> frozenset[str]:
    """Return the fields of a response that a token opens; raise ``InsufficientScopes`` when it opens none."""
    fields = allowed_fields(model, token.scopes)
    if not fields:
        raise InsufficientScopes(scopes_of(model))
    return fields


@contextmanager
def time_provider(record: AuditRecord, provider: str) -> Iterator[None]:
    """Keep in the audit record which provider is asked within, and how long that takes."""
    record.provider = provider
    started = monotonic()
    try:
        yield
    finally:
        record.provider_ms = round((monotonic() - started) * 1000)


def _start_record(request: Request, name: str, record_type: str | None) -> AuditRecord:
    return AuditRecord(
        at=datetime.now(UTC),
        request_id=request.id,
        dataset=name,
        route=request.route,
        address=request.address,
        record_type=record_type,
        user=request.user,
    )


def _known(error: Exception, request: Request) -> ApiError:
    """Return the error that a caller gets; an unexpected one is logged, and its cause stays in the log."""
    if isinstance(error, ApiError):
        return error
    log_unexpected(error, request.id)
    return InternalError()


def _refuse(error: ApiError, request: Request, record: AuditRecord) -> Response:
    if request.is_v3:
        error = in_v3(error, record.dataset)
    record.status, record.error = error.status, error.code
    record.released, record.withheld = [], []
    return refusal(error, request.id, preferred_format(request) or "json")


def _release(response: Response, request: Request, record: AuditRecord, started: float) -> Response:
    """Write the audit record and return the response; without the record, return a refusal in its place."""
    try:
        write(record)
    except AuditUnavailable as error:  # no audit record, no data
        response = _refuse(error, request, record)
    if request.is_v3:
        response = with_headers(response, v3_headers.of_call(request.key))
    return _answer(response, record, started)


def _answer(response: Response, record: AuditRecord, started: float) -> Response:
    """Write the log line of a call, and return its response."""
    duration_ms = round((monotonic() - started) * 1000)
    record_call(
        record.dataset,
        record.status,
        duration_ms,
        route=record.route,
        error=record.error,
        token=record.token,
        provider=record.provider,
        provider_ms=record.provider_ms,
        request_id=record.request_id,
    )
    return response
