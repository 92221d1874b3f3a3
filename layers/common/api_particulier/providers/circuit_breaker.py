"""The circuit breaker of a provider, shared by every environment of every function.

Questions about ``FAILURES`` different people, from several callers, without any response in between, open it: for
``settings().circuit_seconds`` the provider is not asked, and callers are refused at once. Then it is half open: one
environment is elected to ask, by moving that time on, on the condition that no other has. Its response closes the
circuit; when it fails, or its environment dies, the next election is one period later. A question that failed before is
elected only when no other came for a period: it may be the file that fails, and not the provider.

What a caller alone meets, it pays alone: after ``FAILURES`` failures about one person, or about as many people, its
questions about this person, or all of them, wait a period.

A healthy provider costs a busy environment one read a second, and no write. When the table cannot be reached, the
question is let through: the circuit breaker spares a provider, and must not be one more cause of outages
(docs/decisions/0034-deadlines-and-circuit-breakers.md).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from math import ceil
from time import monotonic, time
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.api.asker import Asker
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.errors import (
    ApiError,
    CircuitOpen,
    InternalError,
    NotConfigured,
    ProviderInMaintenance,
    ProviderUnavailable,
)
from api_particulier.observability import LogEvent, alert, log
from api_particulier.providers import health
from api_particulier.providers.health import Health
from api_particulier.settings import settings

FAILURES: Final = 5
"""People about whom no question has a response, for the provider to be taken for down."""
_KEPT_FAILURES: Final = 64
REMEMBERED: Final = 1.0
"""Seconds during which an environment does not read the table again."""


class CircuitBreaker:
    """What one environment knows of a provider's circuit."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._health: Health | None = None
        """None when the table could not be reached."""
        self._known_until = 0.0

    @contextmanager
    def guard(self, asker: Asker) -> Iterator[None]:
        """Let a question be asked within, and learn from its outcome.

        Raise ``CircuitOpen`` or ``ProviderInMaintenance``, before anything is asked, when it must not be asked.
        """
        half_open = self._enter(asker)
        try:
            yield
        except ProviderUnavailable:
            self._count_failure(asker, half_open=half_open)
            raise
        except (InternalError, NotConfigured):  # a fault of this service, not of the provider
            raise
        except ApiError:
            self._count_response(half_open=half_open)  # a refusal is a response too
            raise
        else:
            self._count_response(half_open=half_open)

    def _enter(self, asker: Asker) -> bool:
        """Return whether this question is the one that tests the provider of a half-open circuit."""
        known = self._read()
        if known is None or not (known.maintenances or known.open_until or known.failed):
            return False
        if maintenance := known.maintenance(datetime.now(UTC)):
            raise ProviderInMaintenance(maintenance.end, maintenance.message)
        if known.open_until is None:
            self._check_own_failures(known, asker)
            return False
        # A time further away than any right clock could have written is that of a wrong clock: do not wait for it.
        left, period = known.open_until - time(), settings().circuit_seconds
        wait = left + period if known.failures_about(asker) else left
        if 0 < wait <= 3 * period or not self._elect_probe(known, asker):
            raise CircuitOpen(ceil(left if left > 0 else period))
        return True

    def _check_own_failures(self, known: Health, asker: Asker) -> None:
        left = known.failed_at + settings().circuit_seconds - time()
        failures = max(known.failures_about(asker), known.failures_of(asker))
        if 0 < left <= settings().circuit_seconds and failures >= FAILURES:
            raise CircuitOpen(ceil(left))

    def _read(self) -> Health | None:
        if monotonic() >= self._known_until:
            self._known_until = monotonic() + REMEMBERED
            try:
                self._health = health.read(self._stats(), self._provider)
            except (BotoCoreError, ClientError) as error:
                self._forget(error)
        return self._health

    def _elect_probe(self, known: Health, asker: Asker) -> bool:
        """Move the end of the open time on; return False when another environment has.

        The question counts as failed until its response.
        """
        next_end = _seconds_from_now(settings().circuit_seconds)
        values = {"next": next_end, "seen": known.open_until, "more": {_question(known, asker)}}
        return self._update("SET open_until = :next ADD failed :more", "open_until = :seen", values)

    def _count_failure(self, asker: Asker, *, half_open: bool) -> None:
        known = self._health
        if half_open or known is None:  # the next election is one period after this one already
            return
        question = _question(known, asker)
        if len(known.failed) < _KEPT_FAILURES or question in known.failed:
            values = {"now": _seconds_from_now(), "more": {question}}
            self._update("SET failed_at = :now ADD failed :more", values=values)
        known = self._health
        if known is None or known.open_until is not None or not known.is_outage(FAILURES):
            return
        values = {"until": _seconds_from_now(settings().circuit_seconds), "now": _seconds_from_now(), "down": "down"}
        change = "SET open_until = :until, verdict = :down, checked_at = :now"
        if self._update(change, "attribute_not_exists(open_until)", values):
            alert(LogEvent.CIRCUIT_OPENED, provider=self._provider)

    def _count_response(self, *, half_open: bool) -> None:
        if half_open:
            change = "SET verdict = :up, checked_at = :now REMOVE open_until, failed, failed_at"
            if self._update(change, values={"now": _seconds_from_now(), "up": "up"}):
                log(LogEvent.CIRCUIT_CLOSED, provider=self._provider)
        elif self._health is not None and self._health.failed:
            self._update("REMOVE failed, failed_at", "attribute_not_exists(open_until)")

    def _update(self, change: str, condition: str = "", values: Mapping[str, Any] | None = None) -> bool:
        """Change what every environment knows; return False when the condition fails or the table is unreachable."""
        if self._health is None:
            return False
        try:
            item = self._stats().update(health.key_of(self._provider), change, condition=condition, values=values)
        except (BotoCoreError, ClientError) as error:
            self._forget(error)
            return False
        if item is None:  # another environment was first: read what it wrote
            self._known_until = 0.0
            return False
        self._health, self._known_until = Health.from_item(item), monotonic() + REMEMBERED
        return True

    def _forget(self, error: Exception) -> None:
        self._health = None
        log(LogEvent.CIRCUIT_UNKNOWN, provider=self._provider, exception=type(error).__name__)

    def _stats(self) -> Table:
        return Table(dynamodb(), settings().stats_table)


def _question(known: Health, asker: Asker) -> str:
    """Return the name of a question that fails: the same, from the fifth failure about a person on."""
    return f"{asker.name}:{min(known.failures_about(asker), FAILURES - 1)}"


def _seconds_from_now(seconds: float = 0) -> float:
    """Return an instant in seconds since 1970, to the millisecond."""
    return round(time() + seconds, 3)
