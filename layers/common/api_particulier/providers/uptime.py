"""The probes of a provider over 30 days, and the uptime and incidents computed from them.

A day is of Paris. A provider is not probed during an announced maintenance, which counts neither for nor against it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any, Final, Self

from api_particulier.dynamodb import Item, Table
from api_particulier.paris_time import day_of

PERIOD: Final = 30
"""Days of the history, today included."""
PROBE_INTERVAL: Final = timedelta(minutes=5)
"""Time between two probes, as the template schedules them."""
_KEPT: Final = timedelta(days=40)


@dataclass(frozen=True)
class Day:
    """The probes of a day."""

    day: date
    probes: int = 0
    answered: int = 0
    failures: tuple[datetime, ...] = ()
    """Times of the probes without a response, in order."""

    @classmethod
    def from_item(cls, item: Item) -> Self:
        failures = tuple(datetime.fromisoformat(failure) for failure in item.get("failures", ()))
        return cls(date.fromisoformat(item["sk"]), item["probes"], item.get("answered", 0), failures)


@dataclass(frozen=True)
class Incident:
    """A run of failed probes; its start and its end are known to within ``PROBE_INTERVAL``."""

    start: datetime
    end: datetime | None
    """None while it lasts."""


def record(table: Table, provider: str, at: datetime, *, answered: bool) -> None:
    """Add a probe to the history."""
    values: dict[str, Any] = {"probe": 1, "end": round((at + _KEPT).timestamp())}
    if answered:
        change = "SET expires_at = :end ADD probes :probe, answered :probe"
    else:
        change = "SET expires_at = :end, failures = list_append(if_not_exists(failures, :none), :at) ADD probes :probe"
        values |= {"none": [], "at": [at.isoformat(timespec="seconds")]}
    table.update({"pk": _partition(provider), "sk": f"{day_of(at)}"}, change, values=values)


def history(table: Table, provider: str, last: date) -> list[Day]:
    """Return the ``PERIOD`` days that end with ``last``, in order, with those that have no probe."""
    days = [last - timedelta(number) for number in reversed(range(PERIOD))]
    items = table.query(
        "pk = :probes AND sk BETWEEN :first AND :last",
        {"probes": _partition(provider), "first": f"{days[0]}", "last": f"{last}"},
    )
    found = {day.day: day for day in map(Day.from_item, items)}
    return [found.get(day, Day(day)) for day in days]


def _partition(provider: str) -> str:
    return f"probes#{provider}"


def percentage(days: Sequence[Day]) -> float | None:
    """Return the share of probes that were answered, in percent to three decimals; None without a probe."""
    probes = sum(day.probes for day in days)
    return round(100 * sum(day.answered for day in days) / probes, 3) if probes else None


def incidents(days: Sequence[Day], *, up_since: datetime | None) -> list[Incident]:
    """Return the runs of failed probes, latest first; the last one is still open without a later ``up_since``."""
    runs: list[list[datetime]] = []
    for moment in chain.from_iterable(day.failures for day in days):
        if runs and moment - runs[-1][-1] < 2 * PROBE_INTERVAL:
            runs[-1].append(moment)
        else:
            runs.append([moment])
    found = [Incident(run[0], run[-1] + PROBE_INTERVAL) for run in runs]
    if found:
        last = runs[-1][-1]
        end = min(up_since, last + PROBE_INTERVAL) if up_since and up_since > last else None
        found[-1] = Incident(runs[-1][0], end)
    return found[::-1]
