"""Statistics compared with the seals: counters corrected, figures proven.

A counter is the sum of the counts of the seals, up to the last one counted. Seals are signed, so the figures are
proven by them alone.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import Any, Final

from api_particulier.audit.sealing import COUNTED
from api_particulier.audit.seals import COUNTERS, MAX_SEAL_DELAY
from api_particulier.dynamodb import Item, Table, TransactionCancelled, write_together
from api_particulier.paris_time import PARIS, today
from api_particulier.public import statistics
from api_particulier.public.statistics import Figures
from ops import chain, verify_file
from ops.audit import public_key
from ops.deployment import Deployment

_TRIES: Final = 20
"""Readings of the counters, while seals are counted."""
_MOST_CORRECTED: Final = 99
"""Counters of a transaction."""


class StatisticsMove(Exception):
    """Seals are counted all the time: the counters could not be read, or corrected, between two of them."""


@dataclass(frozen=True)
class Difference:
    """A counter that differs from the seals."""

    counter: str
    """``<day>#<dataset>#<status>``, as in a seal."""
    counted: int
    audited: int

    def described(self) -> dict[str, Any]:
        """Return the difference as the command prints it."""
        day, dataset, status = self.counter.split("#")
        counts = {"counted": self.counted, "audited": self.audited}
        return {"day": day, "dataset": dataset, "status": int(status), **counts}


@dataclass(frozen=True)
class Recount:
    """The seals of a period compared with the counters."""

    first: date
    last: date
    seals: int
    sums: Mapping[str, int]
    """The calls of the seals counted so far, by counter."""
    uncounted: int
    """Calls of the seals that are not counted yet."""
    differences: Sequence[Difference]
    findings: Sequence[str]
    """Seals that are missing, or not as they were signed: what they held is not in the sums."""
    stored: Item | None = field(repr=False)
    """What the table holds of the last seal counted."""
    end: tuple[int, str] = field(repr=False)
    """The number and the hash of the last seal of the sums."""

    @property
    def is_sound(self) -> bool:
        """Whether the number of the last seal counted is that of a seal."""
        stored = self.stored or {"number": 0, "hash": ""}
        return (stored.get("number"), stored.get("hash")) == self.end

    @property
    def figures(self) -> Figures:
        """The public figures, by the seals alone."""
        return statistics.summed(self.sums, self.first, self.last)

    def described(self) -> dict[str, Any]:
        """Return the output of ``stats rebuild --json``."""
        return {
            "period": {"first": f"{self.first}", "last": f"{self.last}"},
            "seals": self.seals,
            "audited": sum(self.sums.values()),
            "uncounted": self.uncounted,
            "differences": [difference.described() for difference in self.differences],
            "findings": list(self.findings),
        }


@dataclass(frozen=True)
class StatisticsAudit:
    """The statistics of a deployment, checked against its seals."""

    deployment: Deployment

    def figures(self) -> Figures:
        """Return the figures of ``/api/stats/details``."""
        return statistics.read(self._stats, today())

    def recount(self) -> Recount:
        """Add up the counts of the seals of the period, and compare the sums with the counters.

        Correct while calls go on: the counters are read between two readings of the number of the last seal counted.
        Raise ``StatisticsMove`` when that number never rests.
        """
        last = today()
        first = last - timedelta(statistics.PERIOD - 1)
        stored, counters = self._read_counters(first, last)
        since = datetime.combine(first, time(), PARIS).astimezone(UTC) - MAX_SEAL_DELAY
        checked, so_far = chain.Checked(self.deployment.bucket, self._key), Counter[str]()
        seals, sums, end = 0, None, (0, "")
        for seal in checked.seals(since, None):
            seals += 1
            so_far.update(seal.counts)
            if sums is None:
                end = (seal.number, seal.hash)
                if stored is not None and end == (stored.get("number"), stored.get("hash")):
                    sums = Counter(so_far)
        sums = so_far if sums is None else sums  # when the table names no seal, all of them are to be counted
        within = Counter({counter: calls for counter, calls in sums.items() if f"{first}" <= counter <= f"{last}$"})
        return Recount(
            first=first,
            last=last,
            seals=seals,
            sums=within,
            uncounted=sum((so_far - sums).values()),
            differences=[
                Difference(counter, counters.get(counter, 0), within[counter])
                for counter in sorted({*within, *counters})
                if counters.get(counter, 0) != within[counter]
            ],
            findings=[f"{finding.place}: {finding.what}" for finding in checked.in_order],
            stored=stored,
            end=end,
        )

    def rebuild(self) -> Recount:
        """Set the wrong counters to the sums of the seals, and return the recount made before that.

        Raise ``StatisticsMove``, without any correction, when a seal is counted at the same time.
        """
        found = self.recount()
        wrong = found.differences
        for start in range(0, len(wrong) or int(not found.is_sound), _MOST_CORRECTED):
            try:
                self._correct(found, wrong[start : start + _MOST_CORRECTED])
            except TransactionCancelled:
                raise StatisticsMove from None
        return found

    def _correct(self, found: Recount, wrong: Sequence[Difference]) -> None:
        table = self._stats
        number = (found.stored or {}).get("number")
        moved = table.updating(
            COUNTED,
            "SET #number = :number, #hash = :hash",
            condition="attribute_not_exists(#number)" if number is None else "#number = :seen",
            values=dict(zip(("number", "hash"), found.end, strict=True)) | ({} if number is None else {"seen": number}),
        )
        corrected = [
            table.updating(
                {"pk": COUNTERS, "sk": difference.counter},
                "SET #calls = :audited",
                condition="#calls = :counted"
                if difference.counted
                else "attribute_not_exists(#calls) OR #calls = :counted",
                values={"audited": difference.audited, "counted": difference.counted},
            )
            for difference in wrong
        ]
        write_together(table.client, [moved, *corrected])

    def _read_counters(self, first: date, last: date) -> tuple[Item | None, Mapping[str, int]]:
        """Return what is stored of the last seal counted, and the counters as that seal left them."""
        stored = self._stats.get(COUNTED, consistent=True)
        for _ in range(_TRIES):
            counters = statistics.counters(self._stats, first, last, consistent=True)
            before, stored = stored, self._stats.get(COUNTED, consistent=True)
            if stored == before:
                return stored, counters
        raise StatisticsMove

    @cached_property
    def _key(self) -> Any:
        return verify_file.read_key(public_key(self.deployment).encode())

    @property
    def _stats(self) -> Table:
        return self.deployment.stats
