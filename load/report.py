"""Report latency, errors and fairness: each key must have a limit of its own."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from load.day import over_the_limit

type Call = Mapping[str, Any]
"""``town``, ``route``, ``planned`` and ``at`` (sent), in seconds, ``ms``, ``status`` (0 without a response)."""

THROTTLED: Final = 429
ON_PACE: Final = 0.95
"""A key whose rate is below this share of its planned rate was slow."""


@dataclass(frozen=True)
class Latency:
    """Percentiles in milliseconds, without the calls that were throttled."""

    p50: float
    p95: float
    p99: float
    longest: float

    @classmethod
    def from_calls(cls, calls: Iterable[Call]) -> "Latency | None":
        times = sorted(call["ms"] for call in calls if call["status"] != THROTTLED)
        if not times:
            return None
        return cls(_percentile(times, 0.5), _percentile(times, 0.95), _percentile(times, 0.99), times[-1])


def _percentile(times: Sequence[float], part: float) -> float:
    return times[min(len(times) - 1, int(part * len(times)))]


@dataclass(frozen=True)
class Route:
    """The calls of a route: their statuses and latency."""

    route: str
    calls: int
    statuses: dict[str, int]
    latency: Latency | None


@dataclass(frozen=True)
class Key:
    """The calls of a town's key, and how many were throttled."""

    town: str
    calls: int
    over: int
    """How many of its calls exceeded its limit, by the instants at which they were sent."""
    throttled: int
    planned_per_second: float | None
    per_second: float | None
    """The rate from the first call to the last, as sent; None with fewer than two."""

    @property
    def slow(self) -> bool:
        """Whether it called less often than planned, and so tested its limit less."""
        return (self.per_second or 0) < ON_PACE * (self.planned_per_second or 0)


def _rate(instants: Sequence[float]) -> float | None:
    lasted = max(instants) - min(instants)
    return round((len(instants) - 1) / lasted, 2) if lasted else None


@dataclass(frozen=True)
class Report:
    """The figures of a run."""

    calls: int
    seconds: float
    per_second: float
    at_most: int
    """Calls in the busiest second."""
    errors: int
    """5xx, and calls without a response."""
    late_ms: float
    """The delay of the generator, 99th percentile."""
    latency: Latency | None
    routes: list[Route]
    keys: list[Key]

    @property
    def unfair(self) -> list[Key]:
        """Return the keys that kept to their limit and were throttled all the same."""
        return [key for key in self.keys if key.throttled and not key.over]

    def to_json(self) -> dict[str, Any]:
        within = [key for key in self.keys if not key.over]
        fairness = {
            "keysWithinLimit": len(within),
            "theirCalls": sum(key.calls for key in within),
            "theirThrottled": sum(key.throttled for key in within),
        }
        return asdict(self) | {"fairness": fairness, "slow": [key.town for key in self.keys if key.slow]}


def report(calls: Sequence[Call]) -> Report:
    """Count the calls of a run; raise ``ValueError`` when there is none."""
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
        late_ms=round(_percentile(sorted(call["at"] - call["planned"] for call in calls), 0.99) * 1000, 1),
        latency=Latency.from_calls(calls),
        routes=[
            Route(route, len(calls), _statuses(calls), Latency.from_calls(calls))
            for route, calls in sorted(by_route.items())
        ],
        keys=[_key(town, calls) for town, calls in sorted(by_town.items())],
    )


def _key(town: str, calls: Sequence[Call]) -> Key:
    sent = [call["at"] for call in calls]
    throttled = sum(call["status"] == THROTTLED for call in calls)
    planned = _rate([call["planned"] for call in calls])
    return Key(town, len(calls), over_the_limit(sent), throttled, planned, _rate(sent))


def _statuses(calls: Iterable[Call]) -> dict[str, int]:
    return {str(status): number for status, number in sorted(Counter(call["status"] for call in calls).items())}


def text(run: Report) -> str:
    """Return the report for a terminal."""
    lines = [
        f"{run.calls} calls in {run.seconds} s: {run.per_second} a second, {run.at_most} in the busiest one.",
        f"{run.errors} errors. The generator was {run.late_ms} ms late at most, for 99 % of the calls.",
        "",
        f"{'':34}{'calls':>7}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'longest':>9}   responses",
    ]
    for route in [*run.routes, Route("all", run.calls, {}, run.latency)]:
        times = "".join(f"{value:9.0f}" for value in asdict(route.latency).values()) if route.latency else " " * 36
        statuses = ", ".join(f"{number} × {status}" for status, number in route.statuses.items())
        lines.append(f"{route.route:34}{route.calls:7}{times}   {statuses}")
    fairness = run.to_json()["fairness"]
    paces = [key.per_second for key in run.keys if key.per_second]
    lines += [
        "",
        f"{len(run.keys)} keys made {min(paces, default=0):.1f} to {max(paces, default=0):.1f} calls a second each.",
        "{keysWithinLimit} of them kept to the limit of 20 calls a second: "
        "{theirThrottled} of their {theirCalls} calls were throttled.".format_map(fairness),
    ]
    lines += [
        f"{key.town} sent {key.over} calls of {key.calls} over its limit: {key.throttled} were throttled."
        for key in run.keys
        if key.over
    ]
    if slow := [key for key in run.keys if key.slow]:
        planned, sent = sum(key.planned_per_second or 0 for key in slow), sum(key.per_second or 0 for key in slow)
        lines.append(
            f"THE PLAN WAS NOT KEPT: {len(slow)} of the keys were to make {planned:.0f} calls a second together, and "
            f"made {sent:.0f}: responses were too slow for the number of calls in flight (--in-flight)."
        )
    return "\n".join(lines)
