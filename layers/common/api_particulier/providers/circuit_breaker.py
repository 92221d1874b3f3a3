"""The circuit breaker of a provider, shared by every environment of every function.

``FAILURES`` questions in a row without a response, from any caller, open it: for ``settings().circuit_seconds`` the
provider is not asked, and callers are refused at once. Then it is half open: one environment is elected to ask, by
moving that time on, on the condition that no other has. Its response closes the circuit; when it fails, or its
environment dies, the next election is one period later.

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
"""Consecutive questions without a response that open the circuit."""
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
    def guard(self) -> Iterator[None]:
        """Let a question be asked within, and learn from its outcome.

        Raise ``CircuitOpen`` or ``ProviderInMaintenance``, before anything is asked, when it must not be asked.
        """
        half_open = self._enter()
        try:
            yield
        except ProviderUnavailable:
            if not half_open:  # else the next election is one period after this one already
                self._count_failure()
            raise
        except (InternalError, NotConfigured):  # a fault of this service, not of the provider
            raise
        except ApiError:
            self._count_response(half_open=half_open)  # a refusal is a response too
            raise
        else:
            self._count_response(half_open=half_open)

    def _enter(self) -> bool:
        """Return whether this question is the one that tests the provider of a half-open circuit."""
        known = self._read()
        if known is None or not (known.maintenances or known.open_until):
            return False
        if maintenance := known.maintenance(datetime.now(UTC)):
            raise ProviderInMaintenance(maintenance.end, maintenance.message)
        if known.open_until is None:
            return False
        # A time further away than any right clock could have written is that of a wrong clock: do not wait for it.
        left = known.open_until - time()
        if 0 < left <= 2 * settings().circuit_seconds or not self._elect_probe(known.open_until):
            raise CircuitOpen(ceil(left if left > 0 else settings().circuit_seconds))
        return True

    def _read(self) -> Health | None:
        if monotonic() >= self._known_until:
            self._known_until = monotonic() + REMEMBERED
            try:
                self._health = health.read(self._stats(), self._provider)
            except (BotoCoreError, ClientError) as error:
                self._forget(error)
        return self._health

    def _elect_probe(self, open_until: float) -> bool:
        """Move the end of the open time on; return False when another environment has."""
        values = {"next": _seconds_from_now(settings().circuit_seconds), "seen": open_until}
        return self._update("SET open_until = :next", "open_until = :seen", values)

    def _count_failure(self) -> None:
        self._update("ADD failures :more", values={"more": 1})
        known = self._health
        if known is None or known.failures < FAILURES or known.open_until is not None:
            return
        values = {"until": _seconds_from_now(settings().circuit_seconds), "now": _seconds_from_now(), "down": "down"}
        change = "SET open_until = :until, verdict = :down, checked_at = :now"
        if self._update(change, "attribute_not_exists(open_until)", values):
            alert(LogEvent.CIRCUIT_OPENED, provider=self._provider)

    def _count_response(self, *, half_open: bool) -> None:
        if half_open:
            change = "SET verdict = :up, checked_at = :now REMOVE open_until, failures"
            if self._update(change, values={"now": _seconds_from_now(), "up": "up"}):
                log(LogEvent.CIRCUIT_CLOSED, provider=self._provider)
        elif self._health is not None and self._health.failures:
            self._update("REMOVE failures", "attribute_not_exists(open_until)")

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


def _seconds_from_now(seconds: float = 0) -> float:
    """Return an instant in seconds since 1970, to the millisecond."""
    return round(time() + seconds, 3)
