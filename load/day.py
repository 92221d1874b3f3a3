"""Draw the instants of towns' calls over a day.

Office hours, families in the evening, school enrolment; many quiet towns, a few busy ones and a greedy one.
"""

import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

LIMIT: Final = 20
"""Calls a second that a key may make, which is also the burst that it may make."""

HOURS: Final = (
    *(0.02, 0.01, 0.01, 0.01, 0.01, 0.02, 0.05, 0.15, 0.50, 0.80, 0.80, 0.60),
    *(0.30, 0.45, 0.60, 0.55, 0.50, 0.45, 0.50, 0.70, 0.90, 0.60, 0.25, 0.08),
)
"""The activity at each hour of an ordinary day, relative to the busiest moment."""
ENROLMENT: Final = 20
"""The hour at which school enrolment opens, in all towns at once."""

type Kind = Literal["quiet", "busy", "steady", "greedy"]


@dataclass(frozen=True)
class Town:
    """A town, and its rate of calls at the busiest moment of the day."""

    name: str
    kind: Kind
    peak: float
    """Calls a second."""


def towns(count: int) -> list[Town]:
    """Return the towns of a day: a greedy one, a few busy ones, the others quiet."""
    busy = max(1, count // 8)
    return [
        Town("greedy", "greedy", 2 * LIMIT),
        *(Town(f"busy-{number}", "busy", 12) for number in range(1, busy + 1)),
        *(Town(f"quiet-{number}", "quiet", 1) for number in range(1, count - busy)),
    ][:count]


def steady(count: int) -> list[Town]:
    """Return towns that call at exactly the limit from start to end."""
    return [Town(f"steady-{number}", "steady", LIMIT) for number in range(1, count + 1)]


def activity(hour: float) -> float:
    """Return the activity at an hour (0 to 24), 1 when school enrolment opens.

    It is interpolated between the values of ``HOURS``.
    """
    if ENROLMENT <= hour < ENROLMENT + 0.5:
        return 1.0
    before, part = divmod(hour % 24, 1)
    return HOURS[int(before)] * (1 - part) + HOURS[(int(before) + 1) % 24] * part


def arrivals(town: Town, seconds: float, rng: random.Random) -> list[float]:
    """Return the instants of a town's calls, in a day that lasts ``seconds``.

    A steady town calls at equal intervals from a random instant, the others at random (a Poisson process). All but the
    greedy town keep to the limit: a call that would exceed it waits.
    """
    if town.kind == "steady":
        first = rng.random() / town.peak
        return [first + number / town.peak for number in range(int(seconds * town.peak))]
    at, instants = 0.0, list[float]()
    while (at := at + rng.expovariate(town.peak)) < seconds:
        if rng.random() < activity(24 * at / seconds):
            instants.append(at)
    return instants if town.kind == "greedy" else list(_within_limit(instants))


def _within_limit(instants: Sequence[float]) -> Iterator[float]:
    """Delay calls so that no second has more than the limit allows, less one.

    One call less, because the server's seconds do not start with this clock's.
    """
    recent = deque[float](maxlen=LIMIT - 1)
    for at in instants:
        paced = max(at, recent[0] + 1) if len(recent) == LIMIT - 1 else at
        recent.append(paced)
        yield paced


class Pace:
    """Delay a town's planned calls by as much as an earlier call was late.

    Calls that had to wait then never leave in a burst, which would exceed the limit that the plan keeps to.
    """

    TOLERANCE: Final = 1 / LIMIT
    """Seconds that a call may be late without delaying the next: a timer is never exact."""

    def __init__(self) -> None:
        self._behind = 0.0

    def due(self, planned: float) -> float:
        """Return the instant at which a planned call may leave."""
        return planned + self._behind

    def record(self, planned: float, at: float) -> None:
        """Record that a planned call left at this instant."""
        self._behind = max(self._behind, at - planned - self.TOLERANCE)


def over_the_limit(sent: Sequence[float]) -> int:
    """Return how many of the calls sent at these seconds a token bucket refuses.

    The bucket holds ``LIMIT`` tokens and gains as many a second.
    """
    tokens, last, refused = float(LIMIT), 0.0, 0
    for at in sorted(sent):
        tokens, last = min(LIMIT, tokens + (at - last) * LIMIT), at
        if tokens < 1 - 1e-9:
            refused += 1
        else:
            tokens -= 1
    return refused
