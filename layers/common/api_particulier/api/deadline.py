"""How long a call may still last, so that a slow provider leaves time to write the audit record and to respond.

Lambda ends a function at its timeout without a word; the gateway would then respond in its place, for a call that has
no audit record. Lambda's context knows how much time is left, a slow start included.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import Any, Final

from api_particulier.aws import CALL_SECONDS

CALL: Final = 27.0
"""Seconds from a call's start to its response; the function's timeout is 28, the gateway's 29."""
_MARGIN: Final = 1.0
"""Seconds before Lambda's own timeout."""
RESERVED: Final = 3 * CALL_SECONDS
"""To count a failure, to open the circuit breaker and to write the audit record, each at its slowest."""

_end: ContextVar[float] = ContextVar("end of the call", default=inf)


@contextmanager
def of_call(context: Any) -> Iterator[None]:
    """Set the deadline of the call that is handled within, from Lambda's context; None in tests."""
    seconds = CALL
    if context is not None:
        seconds = min(CALL, context.get_remaining_time_in_millis() / 1000 - _MARGIN)
    previous = _end.set(monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(previous)


def left() -> float:
    """Return the seconds that a provider may take, 0 or less when none is left; infinity outside a call."""
    return _end.get() - RESERVED - monotonic()
