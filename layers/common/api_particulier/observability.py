"""Logs, metrics and traces, none of which can carry personal data.

- A log line is a name of ``Event`` with fields of ``FIELDS``, and nothing else leaves: ``log`` writes it without the
  machinery of ``logging``, where libraries speak, and of whose lines only the logger's name is written. A message, an
  argument or an exception's text has no way out.
- A metric's dimensions are the dataset, the status and the provider. CloudWatch counts calls and questions from their
  lines (filters of ``template.yaml``); what is rare is a line of Powertools' that is its own metric.
- A trace has one subsegment a provider, with its duration and outcome; nothing is patched, because the patches of the
  X-Ray SDK write URLs, and no exception is recorded, because it would be with its text.

Importing this module sets logging up, so that no library speaks before.
"""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from os import environ
from time import monotonic
from typing import Any, Final, override

from aws_lambda_powertools import Tracer
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from api_particulier.errors import ApiError, BadRequest, InternalError, NotFound
from api_particulier.settings import settings

SERVICE: Final = "api-particulier"


class LogEvent(StrEnum):
    """Every line that the service can log."""

    ANSWERED = "answered"
    """One a call: what was asked of which dataset, and how it ended."""
    PROVIDER_ANSWERED = "provider_answered"
    """One a question to a provider, in which a refusal is an answer too;"""
    PROVIDER_FAILED = "provider_failed"
    """or this one."""
    CIRCUIT_OPENED = "circuit_opened"
    """A provider did not answer several times in a row: it is not asked for a while."""
    CIRCUIT_CLOSED = "circuit_closed"
    """It answers again."""
    CIRCUIT_UNKNOWN = "circuit_unknown"
    """The table could not tell whether a provider is to be asked: it is."""
    PROBE_UNKNOWN = "probe_unknown"
    """A provider answers, and does not know the test identity that probes ask for."""
    AUDIT_FAILED = "audit_failed"
    """An entry could not be written; the call was answered 503 without data."""
    ENUMERATION_SUSPECTED = "enumeration_suspected"
    """A question was refused because the token's questions look like an enumeration; the outcome is what it risks."""
    ENUMERATION_UNKNOWN = "enumeration_unknown"
    """Whether they do could not be told, or could not be told to who suspends."""
    TOKEN_SUSPENDED = "token_suspended"  # noqa: S105 - a name
    """A token is suspended because its questions are an enumeration."""
    HABILITATION_TOLD = "habilitation_told"
    """An event of a habilitation's life was received and kept."""
    HABILITATION_UNPROCESSABLE = "habilitation_unprocessable"
    """A signed event could not be processed; it waits in the dead-letter queue."""
    LINK_OPENED = "link_opened"
    LINK_REOPENED = "link_reopened"
    """A one-time link was opened again: somebody else may have the key."""
    KEY_COMPROMISED = "key_compromised"
    """A key was killed by somebody who held it."""
    NOTICE_SENT = "notice_sent"
    """Somebody was told that a key is about to end."""
    NOTICE_NOT_SENT = "notice_not_sent"
    """Nobody was: the message did not leave, or the key has no contact."""
    NOT_COUNTED = "not_counted"
    """A batch of the audit's stream, or a record of it, is not in the statistics yet."""
    SEALED = "sealed"
    """A batch of the audit's stream is in a seal."""
    SEAL_FAILED = "seal_failed"
    """A batch is in no seal yet; Lambda brings it again."""
    AUDIT_TAMPERED = "audit_tampered"
    """Something was written in the audit that no call writes: changed, removed, late or unreadable."""
    INTERNAL_ERROR = "internal_error"
    """Something nobody foresaw, with the type of the exception and where it was raised."""


FIELDS: Final = frozenset(
    {
        "dataset",
        "route",
        "status",
        "error",
        "request_id",
        "token",
        "provider",
        "outcome",
        "duration_ms",
        "exception",
        "at_line",
        "habilitation",
        "change",
        "seal",
        "entries",
    }
)
"""What a line may say besides its name."""


_EXPECTED: Final = frozenset(
    {
        *(LogEvent.ANSWERED, LogEvent.PROVIDER_ANSWERED, LogEvent.CIRCUIT_CLOSED),
        *(LogEvent.HABILITATION_TOLD, LogEvent.LINK_OPENED, LogEvent.NOTICE_SENT, LogEvent.SEALED),
    }
)
"""The others are errors."""


def _write(level: str, **said: object) -> None:
    """Write a line to whatever standard output is at the time."""
    # RFC 3339 with its Z, without which Lambda takes every line for INFO.
    moment = datetime.now(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    line = {"timestamp": f"{moment}Z", "level": level, "service": SERVICE, **said}
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")


class _Libraries(logging.Handler):
    """Stands where libraries log: that one spoke is all that can be told."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        _write(record.levelname, event="library", logger=record.name)


def _set_up() -> None:
    # Libraries log through the root; what the Lambda runtime put there prints their messages as they are.
    logging.getLogger().handlers[:] = [_Libraries(logging.WARNING)]
    logging.captureWarnings(capture=True)
    # Its warnings are of invocations that Lambda does not trace; they would be two lines a call.
    logging.getLogger("aws_xray_sdk").setLevel(logging.ERROR)


_set_up()


def log(event: LogEvent, **fields: str | int | None) -> None:
    """Write one line; ``ValueError`` for a field that is not in ``FIELDS``."""
    if unknown := fields.keys() - FIELDS:
        msg = f"not a field of a log line: {', '.join(sorted(unknown))}"
        raise ValueError(msg)
    said = {name: fields[name] for name in sorted(fields) if fields[name] is not None}
    _write("INFO" if event in _EXPECTED else "ERROR", event=event.value, **said)


def log_unexpected(error: Exception, request_id: str) -> None:
    """Log the type of an unforeseen exception and the line that raised it, never its text."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    at_line = f"{frame.tb_frame.f_code.co_qualname}:{frame.tb_lineno}" if frame else None
    log(LogEvent.INTERNAL_ERROR, exception=type(error).__name__, at_line=at_line, request_id=request_id)


def _metrics(**dimensions: str) -> EphemeralMetrics:
    metrics = EphemeralMetrics(namespace="ApiParticulier", service=SERVICE)
    metrics.add_dimension("environment", settings().environment)
    for name, value in dimensions.items():
        metrics.add_dimension(name, value)
    return metrics


def record_call(dataset: str, status: int, duration_ms: int, **fields: str | int | None) -> None:
    """Log one call of a dataset, with how long it took; CloudWatch counts the line by status."""
    # A dimension is a text.
    log(LogEvent.ANSWERED, dataset=dataset, status=str(status), duration_ms=duration_ms, **fields)


def alert(event: LogEvent, **fields: str | int | None) -> None:
    """Log what somebody must hear of, and count it: an alarm of the template watches the count."""
    log(event, **fields)
    metrics = _metrics(alert=event.value)
    metrics.add_metric("Alerts", MetricUnit.Count, 1)
    metrics.flush_metrics()


def measure_certificate(provider: str, days: int) -> None:
    """Measure how many days the certificate that we show a provider is still good, less than 0 once it is not."""
    metrics = _metrics(provider=provider)
    metrics.add_metric("CertificateDaysLeft", MetricUnit.Count, days)
    metrics.flush_metrics()


def count_seal(entries: int, lag_seconds: float) -> None:
    """Count the entries of one seal, and how long the oldest of them waited for it."""
    metrics = _metrics()
    metrics.add_metric("SealedEntries", MetricUnit.Count, entries)
    metrics.add_metric("SealLag", MetricUnit.Seconds, lag_seconds)
    metrics.flush_metrics()


def count_tampering() -> None:
    """Count one record of the audit's stream that no call writes."""
    metrics = _metrics()
    metrics.add_metric("AuditTampering", MetricUnit.Count, 1)
    metrics.flush_metrics()


@lru_cache(maxsize=1)
def _tracer() -> Any:  # Powertools' type knows only of its context manager
    return Tracer(service=SERVICE, auto_patch=False)


def _begin_subsegment(provider: str) -> Any:
    """Begin the part of the trace that a provider is; None for a call that Lambda does not trace.

    It traces the first of a second in each function, and one in 20 of the others: hardly any at the busiest, where it
    counts.

    Not the recorder's context manager, which records exceptions. What is not traced does not pay for the recorder
    (docs/performance.md).
    """
    if "Sampled=1" not in environ.get("_X_AMZN_TRACE_ID", ""):
        return None
    return _tracer().provider.begin_subsegment(f"## {provider}")


@contextmanager
def provider_call(provider: str) -> Iterator[None]:
    """Time, log and trace one question to a provider; the outcome is ``ok`` or the code of the error raised."""
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
        duration_ms = round((monotonic() - started) * 1000)
        answered = outcome in {"ok", NotFound.code, BadRequest.code}
        if subsegment is not None:
            subsegment.put_annotation("outcome", outcome)
            if not answered:
                subsegment.add_fault_flag()
            _tracer().provider.end_subsegment()
        event = LogEvent.PROVIDER_ANSWERED if answered else LogEvent.PROVIDER_FAILED
        log(event, provider=provider, outcome=outcome, duration_ms=duration_ms)
