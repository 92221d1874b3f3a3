"""Logs, metrics and traces, none of which can carry personal data.

- A log line is a name of ``LogEvent`` with fields of ``FIELDS``: Powertools' Logger writes it with a formatter that
  lets nothing else through. Of a line that a library logs, only the library's name is written: a message, an argument
  or an exception's text has no way out.
- A metric's dimensions are the dataset, the status and the provider. CloudWatch counts failures from their lines
  (filters of ``template.yaml``); a rare event is counted by Powertools' Metrics (EMF).
- A trace has a subsegment for each provider, with its duration and outcome. Nothing is patched, because the patches of
  the X-Ray SDK write URLs, and no exception is recorded, because its text would be.

Importing this module sets logging up, before any library logs.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from os import environ
from time import monotonic
from typing import Any, Final, TextIO, override
from uuid import uuid4

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.logging.formatter import BasePowertoolsFormatter
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from api_particulier.errors import ApiError, BadRequest, InternalError, NotConfigured, NotFound
from api_particulier.settings import settings

SERVICE: Final = "api-particulier"


class LogEvent(StrEnum):
    """Every line that the service can log."""

    ANSWERED = "answered"
    """A call: its dataset, its status, and how long it took and the provider asked."""
    PROVIDER_FAILED = "provider_failed"
    """A question without a usable response."""
    CIRCUIT_OPENED = "circuit_opened"
    """A provider failed several times in a row: it is not asked for a while."""
    CIRCUIT_CLOSED = "circuit_closed"
    """The provider answers again."""
    CIRCUIT_UNKNOWN = "circuit_unknown"
    """The table could not be read, so the circuit breaker let the question through."""
    PROBE_UNKNOWN = "probe_unknown"
    """A provider answers, and does not know the test identity of the probes."""
    NOT_CONFIGURED = "not_configured"
    """A secret is empty, or is not what it should be: what needs it is refused. No alarm rings."""
    AUDIT_FAILED = "audit_failed"
    """An audit record could not be written; the call was answered 503 without data."""
    ENUMERATION_SUSPECTED = "enumeration_suspected"
    """A question was refused because the token's questions look like an enumeration; the outcome is the sanction."""
    ENUMERATION_UNKNOWN = "enumeration_unknown"
    """The table or the queue that the enumeration guard needs could not be reached."""
    DAILY_BOUND_NEAR = "daily_bound_near"
    """A token asked, in a day, about half of the people that it may ask about, or of those that may be unknown."""
    SUSPICION_FORGED = "suspicion_forged"
    """A message of the queue of suspicions has no valid MAC: it was not sent by a dataset's function."""
    TOKEN_TAMPERED = "token_tampered"  # noqa: S105 - a name
    """The item of a token is not as the issuing code signed it; its calls are refused."""
    VAGUE_QUESTION = "vague_question"
    """A question of v3 without a first name or a month of birth, which finds more people than a whole one."""
    TOKEN_SUSPENDED = "token_suspended"  # noqa: S105 - a name
    """A token is suspended because its questions are an enumeration."""
    HABILITATION_RECEIVED = "habilitation_told"
    """An event of a habilitation's life was received and kept."""
    HABILITATION_UNPROCESSABLE = "habilitation_unprocessable"
    """A signed event could not be processed; it waits in the dead-letter queue."""
    LINK_OPENED = "link_opened"
    LINK_REOPENED = "link_reopened"
    """A one-time link was opened again: the key may be in other hands."""
    KEY_COMPROMISED = "key_compromised"
    """A key was reported by its holder and stopped."""
    REMINDER_SENT = "notice_sent"
    """A reminder that a key is about to expire was sent."""
    REMINDER_NOT_SENT = "notice_not_sent"
    """A reminder was not sent: the message did not leave, or the key has no contact."""
    NOT_COUNTED = "not_counted"
    """Seals are not in the statistics yet; the next batch counts them."""
    SEALED = "sealed"
    """A batch of the audit's stream is in a seal."""
    SEAL_FAILED = "seal_failed"
    """A batch is in no seal yet; Lambda delivers it again."""
    AUDIT_TAMPERED = "audit_tampered"
    """The audit table or the bucket of seals holds a change that no function makes; the outcome is its kind."""
    ARCHIVED = "archived"
    """The days of the audit that were due are archived; ``entries`` counts them."""
    NOT_ARCHIVED = "not_archived"
    """A day or a month of the audit cannot be archived whole; the place names the object that is not as it was."""
    NOT_VERIFIED = "not_verified"
    """A seal, a record or an object of the audit is not as it was sealed; the place and the outcome name it."""
    VERIFIED = "verified"
    """A day of the audit is as it was sealed."""
    HEAD_NOT_STAMPED = "head_not_stamped"
    """The timestamp authority gave no stamp of the last checkpoint; the outcome is why."""
    INTERNAL_ERROR = "internal_error"
    """An unexpected failure, with the type of the exception and where it was raised."""


FIELDS: Final = frozenset(
    {
        "dataset",
        "route",
        "status",
        "error",
        "request_id",
        "token",
        "provider",
        "provider_ms",
        "outcome",
        "duration_ms",
        "exception",
        "at_line",
        "habilitation",
        "change",
        "seal",
        "secret",
        "entries",
        "place",
    }
)
"""The fields of a line, besides its name."""

_EXPECTED: Final = frozenset(
    {
        *(LogEvent.ANSWERED, LogEvent.CIRCUIT_CLOSED),
        *(LogEvent.HABILITATION_RECEIVED, LogEvent.LINK_OPENED, LogEvent.REMINDER_SENT, LogEvent.SEALED),
        *(LogEvent.ARCHIVED, LogEvent.VERIFIED, LogEvent.VAGUE_QUESTION),
    }
)
"""The events of level INFO; the others are errors."""


_compact: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""Without spaces: a line is billed by its bytes."""


class _CatalogueFormatter(BasePowertoolsFormatter):
    """Writes the catalogue's fields of a line, and nothing else that its record holds."""

    @override
    def format(self, record: logging.LogRecord) -> str:
        if isinstance(record.msg, LogEvent):
            given = vars(record)
            line = {"event": record.msg.value} | {name: given[name] for name in sorted(given.keys() & FIELDS)}
        else:  # not written by ``log``: its message may hold anything
            line = {"event": "library", "logger": record.name}
        # RFC 3339 with its Z, without which Lambda takes every line for INFO.
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        timestamp = f"{moment.removesuffix('+00:00')}Z"
        return _compact({"timestamp": timestamp, "level": record.levelname, "service": SERVICE, **line})

    @override
    def append_keys(self, **additional_keys: Any) -> None:
        """Ignore keys that are not of the catalogue."""

    @override
    def clear_state(self) -> None:
        """Keep no state between lines."""


class _StandardOutput(logging.StreamHandler[TextIO]):
    """Writes to the standard output of the moment, which Lambda's runtime and tests replace."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_CatalogueFormatter())

    @property
    def stream(self) -> TextIO:
        return sys.stdout

    @stream.setter
    def stream(self, _: TextIO) -> None:
        """Keep the standard output."""


def _set_up() -> Logger:
    """Return the service's logger, and give the root, where libraries log, the same output."""
    libraries = _StandardOutput()
    libraries.setLevel(logging.WARNING)
    logging.getLogger().handlers[:] = [libraries]  # Lambda's runtime has put one there that prints messages
    logging.captureWarnings(capture=True)
    # The X-Ray SDK warns of every invocation that Lambda does not trace: two lines a call.
    logging.getLogger("aws_xray_sdk").setLevel(logging.ERROR)
    logging.getLogger(SERVICE).propagate = False
    return Logger(
        service=SERVICE, level="INFO", logger_handler=_StandardOutput(), logger_formatter=_CatalogueFormatter()
    )


_LOGGER: Final = _set_up()


def log(event: LogEvent, **fields: str | int | None) -> None:
    """Write one line; raise ``ValueError`` for a field that is not in ``FIELDS``."""
    if unknown := fields.keys() - FIELDS:
        msg = f"not a field of a log line: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    known = {name: value for name, value in fields.items() if value is not None}
    write = _LOGGER.info if event in _EXPECTED else _LOGGER.error
    write(event, extra=known)


def log_unexpected(error: Exception, request_id: str) -> None:
    """Log the type of an unexpected exception and the line that raised it, never its text."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    at_line = f"{frame.tb_frame.f_code.co_qualname}:{frame.tb_lineno}" if frame else None
    log(LogEvent.INTERNAL_ERROR, exception=type(error).__name__, at_line=at_line, request_id=request_id)


def record_call(name: str, status: int, duration_ms: int, **fields: str | int | None) -> None:
    """Log a call of a function, with its duration in milliseconds; the status is a text, as in the gateway's log."""
    log(LogEvent.ANSWERED, dataset=name, status=str(status), duration_ms=duration_ms, **fields)


_CALL: Final[ContextVar[str]] = ContextVar("id of the call")


@contextmanager
def handling(request_id: str) -> Iterator[None]:
    """Give the id of the call that is handled within to the questions that it leads to."""
    previous = _CALL.set(request_id)
    try:
        yield
    finally:
        _CALL.reset(previous)


def correlation_id() -> str:
    """Return the id of the call, a UUID, that a provider is given; outside a call a new one."""
    return _CALL.get("") or str(uuid4())


# ── Metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _metrics(**dimensions: str) -> EphemeralMetrics:
    metrics = EphemeralMetrics(namespace="ApiParticulier", service=SERVICE)
    metrics.add_dimension("environment", settings().environment)
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    return metrics


def alert(event: LogEvent, **fields: str | int | None) -> None:
    """Log an event that an operator must see, and count it: an alarm of the template watches the count."""
    log(event, **fields)
    metrics = _metrics(alert=event.value)
    metrics.add_metric("Alerts", MetricUnit.Count, 1)
    metrics.flush_metrics()


def measure_certificate(provider: str, days: int) -> None:
    """Measure how many days a provider's client certificate is still valid; negative once it has expired."""
    metrics = _metrics(provider=provider)
    metrics.add_metric("CertificateDaysLeft", MetricUnit.Count, days)
    metrics.flush_metrics()


def count_seal(lag_seconds: float, heartbeats: int) -> None:
    """Count the heartbeats of a seal, and measure how long its oldest record waited, if for more than usual.

    A metric is billed by the hour with data; Lambda's ``IteratorAge`` shows the usual wait.
    """
    metrics = _metrics()
    if lag_seconds > USUAL_LAG:
        metrics.add_metric("SealLag", MetricUnit.Seconds, lag_seconds)
    if heartbeats:
        metrics.add_metric("HeartbeatsSealed", MetricUnit.Count, heartbeats)
    if metrics.metric_set:
        metrics.flush_metrics()


USUAL_LAG: Final = 40
"""Seconds that a record waits for its seal at most, as a rule: the window of the stream, and the work."""


def count_archive_run() -> None:
    """Count a run after which every day of the audit that is due is archived."""
    metrics = _metrics()
    metrics.add_metric("ArchiveRuns", MetricUnit.Count, 1)
    metrics.flush_metrics()


def count_verified(days: int) -> None:
    """Count the days of the audit that are as they were sealed."""
    metrics = _metrics()
    metrics.add_metric("DaysVerified", MetricUnit.Count, days)
    metrics.flush_metrics()


def count_counted(seals: int) -> None:
    """Count the seals whose counts were added to the statistics."""
    metrics = _metrics()
    metrics.add_metric("SealsCounted", MetricUnit.Count, seals)
    metrics.flush_metrics()


def report_tampering(kind: str) -> None:
    """Log a change of the audit that no function makes, and count it for the alarm."""
    log(LogEvent.AUDIT_TAMPERED, outcome=kind)
    metrics = _metrics()
    metrics.add_metric("AuditTampering", MetricUnit.Count, 1)
    metrics.flush_metrics()


# ── Traces ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@lru_cache(maxsize=1)
def _tracer() -> Any:  # Powertools' type describes its context manager only
    return Tracer(service=SERVICE, auto_patch=False)


def _begin_subsegment(provider: str) -> Any:
    """Begin a provider's part of the trace; None for a call that Lambda does not trace.

    Lambda traces the first call of each second in each function, and one in 20 of the others. The recorder takes 24 MB
    and 150 ms, so it is made for traced calls only. Its context manager would record exceptions, so it is not used.
    """
    if "Sampled=1" not in environ.get("_X_AMZN_TRACE_ID", ""):
        return None
    return _tracer().provider.begin_subsegment(f"## {provider}")


@contextmanager
def provider_call(provider: str) -> Iterator[None]:
    """Trace a question to a provider, and log one that fails; the outcome is ``ok`` or the code of the error raised."""
    started = monotonic()
    outcome = "ok"
    subsegment = _begin_subsegment(provider)
    try:
        yield
    except ApiError as error:
        outcome = error.code
        raise
    except Exception:
        outcome = InternalError.code
        raise
    finally:
        answered = outcome in {"ok", NotFound.code, BadRequest.code}
        if subsegment is not None:
            subsegment.put_annotation("outcome", outcome)
            if not answered:
                subsegment.add_fault_flag()
            _tracer().provider.end_subsegment()
        if not answered and outcome != NotConfigured.code:  # without its secret, the provider was not asked
            duration_ms = round((monotonic() - started) * 1000)
            log(LogEvent.PROVIDER_FAILED, provider=provider, outcome=outcome, duration_ms=duration_ms)
