"""How many calls each dataset answered, by day and status, over the last 30 days.

A counter is the sum of the counts of the audit's seals (``audit.sealing``). A day is of Paris.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from time import monotonic
from typing import Final

from api_particulier.audit.seals import COUNTERS
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.paris_time import today
from api_particulier.settings import settings

PERIOD: Final = 30
"""Days of the figures, today included (contract §1)."""
CACHE_SECONDS: Final = 5
"""How long an environment keeps the figures."""


@dataclass(frozen=True)
class Figures:
    """The responses 200 of datasets over a period."""

    first: date
    last: date
    by_day: Mapping[date, int]
    by_dataset: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_dataset.values())

    def to_dict(self) -> dict[str, object]:
        """Return the body of ``/api/stats/details``, with every day of the period (contract §1)."""
        days = [self.first + timedelta(number) for number in range((self.last - self.first).days + 1)]
        return {
            "periode": {"debut": f"{self.first}", "fin": f"{self.last}"},
            "total": self.total,
            "parJour": [{"date": f"{day}", "total": self.by_day.get(day, 0)} for day in days],
            "parJeuDeDonnees": dict(sorted(self.by_dataset.items())),
        }


def figures() -> Figures:
    """Return the figures of the period that ends today, at most ``CACHE_SECONDS`` old."""
    return _figures_at(today(), int(monotonic() // CACHE_SECONDS))


@lru_cache(maxsize=1)
def _figures_at(last: date, _tick: int) -> Figures:
    return read(_stats_table(), last)


def read(table: Table, last: date) -> Figures:
    """Read the figures of the ``PERIOD`` days that end with ``last``."""
    first = last - timedelta(PERIOD - 1)
    return summed(counters(table, first, last), first, last)


def summed(calls_by_counter: Mapping[str, int], first: date, last: date) -> Figures:
    """Return the figures of a period by its counters, which are named as in a seal."""
    by_day, by_dataset = Counter[date](), Counter[str]()
    for counter, calls in calls_by_counter.items():
        day, dataset, status = counter.split("#")
        if calls and status == "200":
            by_day[date.fromisoformat(day)] += calls
            by_dataset[dataset] += calls
    return Figures(first, last, by_day, by_dataset)


def counters(table: Table, first: date, last: date, *, consistent: bool = False) -> dict[str, int]:
    """Read every counter from one day to another, both included, by ``<day>#<dataset>#<status>``."""
    items = table.query(
        "pk = :counters AND sk BETWEEN :first AND :after",
        {"counters": COUNTERS, "first": f"{first}", "after": f"{last}$"},  # "$" sorts after "#": the last day is within
        consistent=consistent,
    )
    return {item["sk"]: item["calls"] for item in items}


def _stats_table() -> Table:
    return Table(dynamodb(), settings().stats_table)
