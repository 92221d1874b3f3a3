"""How long a call may still last: whatever was slow before, what a provider is given leaves time to audit and answer.

Lambda ends a function after its time-out without a word, and the gateway would answer in its place, of a call that the
audit knows nothing of.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from math import inf
from time import monotonic
from typing import Final

from api_particulier.aws import CALL_SECONDS

CALL: Final = 27.0
"""Seconds from a call's start to its answer at the latest; the function's time-out is 28, the gateway's 29."""
RESERVED: Final = 3 * CALL_SECONDS
"""To count a failure, to open the circuit, and to write the audit entry, each as slow as it may be."""

_END: ContextVar[float] = ContextVar("end of the call at hand", default=inf)


@contextmanager
def of_call(started: float) -> Iterator[None]:
    """Answer, within, a call that began at ``started`` (by ``monotonic``)."""
    before = _END.set(started + CALL)
    try:
        yield
    finally:
        _END.reset(before)


def left() -> float:
    """Return the seconds that a provider can be given, 0 or less when there are none; all of them outside of a call."""
    return _END.get() - RESERVED - monotonic()
