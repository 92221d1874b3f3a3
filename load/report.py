"""What a day came to: latency, errors, and whether each key had its own limit and nobody else's."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from load.day import over_the_limit

type Call = Mapping[str, Any]
"""``town``, ``route``, when it was ``planned`` and sent (``at``), in seconds, ``ms``, ``status`` (0 without answer)."""

THROTTLED: Final = 429
KEPT: Final = 0.95
"""The share of its planned pace from which a key kept its plan."""


@dataclass(frozen=True)
class Latency:
    """Milliseconds, of the calls that were not throttled."""

    p50: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def of(cls, calls: Iterable[Call]) -> "Latency | None":
        times = sorted(call["ms"] for call in calls if call["status"] != THROTTLED)
        if not times:
            return None
        return cls(_at(times, 0.5), _at(times, 0.95), _at(times, 0.99), times[-1])


def _at(times: Sequence[float], part: float) -> float:
    return times[min(len(times) - 1, int(part * len(times)))]


@dataclass(frozen=True)
class Route:
    """How one route answered."""

    route: str
    calls: int
    statuses: dict[str, int]
    latency: Latency | None


@dataclass(frozen=True)
class Key:
    """How one town was treated."""

    town: str
    calls: int
    over: int
    """Of its calls, those that were over its limit as it sent them."""
    throttled: int
    planned_per_second: float | None
    per_second: float | None
    """From the first call to the last, as sent; None with less than two."""

    @property
    def slow(self) -> bool:
        """Whether it asked less often than planned, so that what it shows of its limit is less than was meant."""
        return (self.per_second or 0) < KEPT * (self.planned_per_second or 0)


def _pace(instants: Sequence[float]) -> float | None:
    lasted = max(instants) - min(instants)
    return round((len(instants) - 1) / lasted, 2) if lasted else None


@dataclass(frozen=True)
class Report:
    """A day, in figures."""

    calls: int
    seconds: float
    per_second: float
    at_most: int
    """Calls in the busiest second."""
    errors: int
    """5xx, and calls without an answer."""
    late_ms: float
    """By how much the generator was late, at most but for one call in a hundred."""
    latency: Latency | None
    routes: list[Route]
    keys: list[Key]

    @property
    def unfair(self) -> list[Key]:
        """The keys that were refused a call and had kept within their limit."""
        return [key for key in self.keys if key.throttled and not key.over]

    def described(self) -> dict[str, Any]:
        within = [key for key in self.keys if not key.over]
        fairness = {
            "keysWithinLimit": len(within),
            "theirCalls": sum(key.calls for key in within),
            "theirThrottled": sum(key.throttled for key in within),
        }
        return asdict(self) | {"fairness": fairness, "slow": [key.town for key in self.keys if key.slow]}


def report(calls: Sequence[Call]) -> Report:
    """Count a day's calls; ``ValueError`` without any."""
    if not calls:
        msg = "no call was made"
        raise ValueError(msg)
    seconds = Counter(int(call["at"]) for call in calls)
    lasted = max(call["at"] for call in calls) or 1.0
    by_route, by_town = defaultdict[str, list[Call]](list), defaultdict[str, list[Call]](list)
    for call in calls:
        by_route[call["route"]].append(call)
        by_town[call["town"]].append(call)
    return Report(
        calls=len(calls),
        seconds=round(lasted, 1),
        per_second=round(len(calls) / lasted, 1),
        at_most=max(seconds.values()),
        errors=sum(call["status"] == 0 or call["status"] >= 500 for call in calls),  # noqa: PLR2004 - HTTP's own
        late_ms=round(_at(sorted(call["at"] - call["planned"] for call in calls), 0.99) * 1000, 1),
        latency=Latency.of(calls),
        routes=[Route(route, len(made), _statuses(made), Latency.of(made)) for route, made in sorted(by_route.items())],
        keys=[_key(town, made) for town, made in sorted(by_town.items())],
    )


def _key(town: str, made: Sequence[Call]) -> Key:
    sent = [call["at"] for call in made]
    throttled = sum(call["status"] == THROTTLED for call in made)
    return Key(town, len(made), over_the_limit(sent), throttled, _pace([call["planned"] for call in made]), _pace(sent))


def _statuses(calls: Iterable[Call]) -> dict[str, int]:
    return {str(status): number for status, number in sorted(Counter(call["status"] for call in calls).items())}


def text(made: Report) -> str:
    """Return the report for a terminal."""
    lines = [
        f"{made.calls} calls in {made.seconds} s: {made.per_second} a second, {made.at_most} in the busiest one.",
        f"{made.errors} errors. The generator was at most {made.late_ms} ms late, but for 1 %.",
        "",
        f"{'':34}{'calls':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'longest':>9}   answers",
    ]
    for one in [*made.routes, Route("all", made.calls, {}, made.latency)]:
        times = "".join(f"{value:9.0f}" for value in asdict(one.latency).values()) if one.latency else " " * 36
        answers = ", ".join(f"{number} × {status}" for status, number in one.statuses.items())
        lines.append(f"{one.route:34}{one.calls:7}{times}   {answers}")
    fairness = made.described()["fairness"]
    paces = [key.per_second for key in made.keys if key.per_second]
    lines += [
        "",
        f"{len(made.keys)} keys asked {min(paces, default=0):.1f} to {max(paces, default=0):.1f} times a second each.",
        "{keysWithinLimit} of them kept within 20 calls a second: "
        "{theirThrottled} of their {theirCalls} calls were throttled.".format_map(fairness),
    ]
    lines += [
        f"{key.town} sent {key.over} calls of {key.calls} over its limit: {key.throttled} were throttled."
        for key in made.keys
        if key.over
    ]
    if slow := [key for key in made.keys if key.slow]:
        planned, sent = sum(key.planned_per_second or 0 for key in slow), sum(key.per_second or 0 for key in slow)
        lines.append(
            f"THE PLAN WAS NOT KEPT: {len(slow)} of the keys were to ask {planned:.0f} times a second together, and "
            f"asked {sent:.0f}: no more could be sent with so many calls in flight (--in-flight), so slow were answers."
        )
    return "\n".join(lines)
