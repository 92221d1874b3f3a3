"""When towns ask: desks by day, families in the evening, many quiet towns, a few busy ones, and school enrolment."""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

LIMIT: Final = 20
"""Calls in a second that a key may make, and that it may make at once."""

HOURS: Final = (
    *(0.02, 0.01, 0.01, 0.01, 0.01, 0.02, 0.05, 0.15, 0.50, 0.80, 0.80, 0.60),
    *(0.30, 0.45, 0.60, 0.55, 0.50, 0.45, 0.50, 0.70, 0.90, 0.60, 0.25, 0.08),
)
"""How much is asked at each hour of an ordinary day, 1 being the most."""
ENROLMENT: Final = 20
"""The hour at which school enrolment opens, for everybody at once."""

type Kind = Literal["quiet", "busy", "steady", "greedy"]


@dataclass(frozen=True)
class Town:
    """Who asks, and what they ask at the busiest moment of the day."""

    name: str
    kind: Kind
    peak: float
    """Calls in a second."""


def towns(count: int) -> list[Town]:
    """Return the towns of a day: a few busy ones, one whose software knows no limit, and quiet ones for the rest."""
    busy = max(1, count // 8)
    return [
        Town("greedy", "greedy", 2 * LIMIT),
        *(Town(f"busy-{number}", "busy", 12) for number in range(1, busy + 1)),
        *(Town(f"quiet-{number}", "quiet", 1) for number in range(1, count - busy)),
    ][:count]


def steady(count: int) -> list[Town]:
    """Return towns that ask at exactly the limit, from the first second to the last."""
    return [Town(f"steady-{number}", "steady", LIMIT) for number in range(1, count + 1)]


def share(hour: float) -> float:
    """Return how much is asked at an hour (0 to 24), between two of ``HOURS``; the enrolment's first minutes are 1."""
    if ENROLMENT <= hour < ENROLMENT + 0.5:
        return 1.0
    before, part = divmod(hour % 24, 1)
    return HOURS[int(before)] * (1 - part) + HOURS[(int(before) + 1) % 24] * part


def arrivals(town: Town, seconds: float, chance: random.Random) -> list[float]:
    """Return when a town asks, in seconds from the start of a day that lasts so many.

    A steady town asks at equal intervals from an instant of its own, the others by chance. All but the greedy one heed
    the limit: what would be over it waits.
    """
    if town.kind == "steady":
        first = chance.random() / town.peak
        return [first + number / town.peak for number in range(int(seconds * town.peak))]
    at, asked = 0.0, list[float]()
    while (at := at + chance.expovariate(town.peak)) < seconds:
        if chance.random() < share(24 * at / seconds):
            asked.append(at)
    return asked if town.kind == "greedy" else list(_paced(asked))


def _paced(asked: Sequence[float]) -> Iterator[float]:
    """Put off what would be more than the limit in a second, of whoever's clock: one call less than it allows."""
    recent = deque[float](maxlen=LIMIT - 1)
    for at in asked:
        paced = max(at, recent[0] + 1) if len(recent) == LIMIT - 1 else at
        recent.append(paced)
        yield paced


class Pace:
    """When a town's calls leave: as planned, or put off by as much as one before was late.

    So what had to wait never leaves in one burst, which would be over the limit that the plan heeds.
    """

    TOLERANCE: Final = 1 / LIMIT
    """Seconds that a call may be late by without putting off the next: a timer is never quite on time."""

    def __init__(self) -> None:
        self._behind = 0.0

    def due(self, planned: float) -> float:
        return planned + self._behind

    def left(self, planned: float, at: float) -> None:
        self._behind = max(self._behind, at - planned - self.TOLERANCE)


def over_the_limit(sent: Sequence[float]) -> int:
    """Return how many of the calls, sent at these seconds, a bucket of ``LIMIT`` a second refuses."""
    tokens, last, refused = float(LIMIT), 0.0, 0
    for at in sorted(sent):
        tokens, last = min(LIMIT, tokens + (at - last) * LIMIT), at
        if tokens < 1 - 1e-9:
            refused += 1
        else:
            tokens -= 1
    return refused
