"""The total time of a question to a provider, which ``requests`` does not limit.

Its timeouts are between two bytes, and it looks at no clock while a head drips in. So a watchdog shuts the connection
down at the end of the time, which wakes the thread that reads it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from math import inf
from threading import Condition, Thread
from time import monotonic
from typing import Any, Final

from api_particulier.errors import ProviderUnavailable


class TimeLimit:
    """The instant at which a question ends, even while the provider goes on sending byte after byte."""

    def __init__(self, seconds: float) -> None:
        self.end = monotonic() + seconds
        self.expired = False
        self.socket: Any = None
        """The socket that a response is awaited on; None until the first request is sent."""

    def bound(self, timeout: float) -> float:
        """Return a timeout that ends no later than this limit; raise ``ProviderUnavailable`` at its end."""
        left = self.end - monotonic()
        if left <= 0:
            raise ProviderUnavailable.of("timeout")
        return min(left, timeout)

    def expire(self) -> None:
        """Shut the connection down, which wakes the thread that reads it."""
        self.expired = True
        if self.socket is not None:
            with suppress(OSError):  # closed already
                self.socket.shutdown(2)  # both ways


class _Watchdog:
    """A thread that ends the questions whose time is over; it lives as long as the environment.

    A ``Timer`` for each question would start a thread for each: 0.1 ms of CPU, and as much waiting for each other.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._limits: set[TimeLimit] = set()
        self._wakes_at = inf
        self._thread: Thread | None = None
        """None until the first question: a snapshot must hold no thread."""

    def watch(self, limit: TimeLimit) -> None:
        """Expire ``limit`` at its end, unless it is released before."""
        with self._changed:
            self._limits.add(limit)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="provider watchdog", daemon=True)
                self._thread.start()
            if limit.end < self._wakes_at:
                self._changed.notify()

    def release(self, limit: TimeLimit) -> None:
        """Leave ``limit`` alone from now on."""
        with self._changed:
            self._limits.discard(limit)

    def _run(self) -> None:
        with self._changed:
            while True:
                now = monotonic()
                for limit in [limit for limit in self._limits if limit.end <= now]:
                    limit.expire()
                    self._limits.discard(limit)
                self._wakes_at = min((limit.end for limit in self._limits), default=inf)
                self._changed.wait(None if self._wakes_at == inf else self._wakes_at - now)


_WATCHDOG: Final = _Watchdog()
_CURRENT: Final[ContextVar[TimeLimit]] = ContextVar("time limit of the question")


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the time that the requests sent within take together."""
    limit = TimeLimit(seconds)
    previous = _CURRENT.set(limit)
    _WATCHDOG.watch(limit)
    try:
        yield
    finally:
        _WATCHDOG.release(limit)
        _CURRENT.reset(previous)


def current_limit() -> TimeLimit:
    """Return the time limit of the question that is being asked; raise ``LookupError`` outside a question."""
    return _CURRENT.get()
