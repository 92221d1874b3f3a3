"""The headers of every response of v3: what is left of the second's calls, and that nothing is cached."""

from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from time import time
from typing import Final

from api_particulier.api.response import RATE_LIMIT

NOT_CACHED: Final = {"X-Response-Cached": "false", "X-Cache-Expires-in": ""}


@dataclass
class _Second:
    """The calls that an environment answered in the current second, by key."""

    number: int = 0
    calls: Counter[str] = field(default_factory=Counter)


@lru_cache(maxsize=1)
def _second() -> _Second:
    return _Second()


def of_call(key: str | None) -> dict[str, str]:
    """Return the headers of a call, and count it.

    The gateway decides who is throttled. ``RateLimit-Remaining`` is what this environment knows to be left, so at most
    what is.
    """
    now, second = int(time()), _second()
    if now != second.number:
        second.number, second.calls = now, Counter()
    second.calls[key or ""] += 1
    remaining = max(0, RATE_LIMIT - second.calls[key or ""])
    return {**NOT_CACHED, "RateLimit-Remaining": str(remaining), "RateLimit-Reset": str(now + 1)}
