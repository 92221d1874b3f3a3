"""How many calls each dataset answered, by day and status: exact, even if the stream delivers a record twice.

The statistics table holds one counter for a day, a dataset and a status, and one mark for each counted call. One
transaction writes the marks and adds to the counters, so that a call is counted once however often and in whichever
order its record is delivered (docs/decisions/0011-exact-counters.md). A day is of Paris.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from random import uniform
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit.record import DATASET
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Item, Table, TransactionCancelled, deserialize, write_together
from api_particulier.observability import LogEvent, log
from api_particulier.paris_time import day_of, today
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

PERIOD: Final = 30
"""Days of the figures, today included (contract §1)."""
MARK_LIFETIME: Final = timedelta(days=40)
"""How long a mark is kept: longer than the period, and than a record can still be delivered again."""
CACHE_SECONDS: Final = 60
"""How long an environment keeps the figures."""
COUNTERS: Final = "counters"
"""The partition of all counters: few writes, one a batch, and a period is one query."""

_DATASET_NAME: Final = re.compile("[a-z0-9_]{1,64}")
_ID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRANSACTION: Final = 100
"""Writes of a DynamoDB transaction, at most."""
_TRIES: Final = 5
"""Tries of a transaction, when another one writes the same counter."""


class UnreadableRecord(ValueError):
    """An item is not an audit record: its day, dataset and status are unknown."""


class Key(NamedTuple):
    """The key of a counter."""

    day: date
    dataset: str
    status: int

    @classmethod
    def from_sort_key(cls, sort_key: str) -> Self:
        day, dataset, status = sort_key.split("#")
        return cls(date.fromisoformat(day), dataset, int(status))

    @property
    def sort_key(self) -> str:
        return f"{self.day}#{self.dataset}#{self.status}"


@dataclass(frozen=True)
class CountedCall:
    """The attributes of an audit record that are counted."""

    id: str
    at: datetime
    dataset: str
    status: int

    @classmethod
    def from_item(cls, item: Item) -> Self | None:
        """Read an item of the audit table; return None for a call of no dataset, which is not counted.

        Raise ``UnreadableRecord`` when the item is not an audit record.
        """
        try:
            call = cls(item["id"], datetime.fromisoformat(item["at"]), item["dataset"], item["status"])
            is_valid = (
                _ID.fullmatch(call.id) is not None
                and _DATASET_NAME.fullmatch(call.dataset) is not None
                and call.at.tzinfo is not None
                and 100 <= call.status < 600  # noqa: PLR2004 - HTTP's statuses
                and isinstance(call.status, int)
            )
        except (KeyError, TypeError, ValueError):
            raise UnreadableRecord from None
        if not is_valid:
            raise UnreadableRecord
        return call if item.get("kind") == DATASET else None

    @property
    def key(self) -> Key:
        return Key(day_of(self.at), self.dataset, self.status)

    @property
    def mark_key(self) -> dict[str, str]:
        """The key of its mark: those of a day are in 16 partitions, of 500 calls a second each."""
        return {"pk": _mark_partition(self.key.day, self.id[-1]), "sk": self.id}


def _mark_partition(day: date, last_digit: str) -> str:
    return f"counted#{day}#{last_digit}"


# ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def consume(stream_records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Count the calls of a batch of the audit table's stream; return the sequence numbers of the records that failed.

    A record that fails does not stop the others, and one that is delivered again is not counted twice.
    """
    failed: list[str] = []
    calls: dict[str, CountedCall] = {}
    for stream_record in stream_records:
        if stream_record["eventName"] != "INSERT":  # a record that expires stays counted
            continue
        number = stream_record["dynamodb"]["SequenceNumber"]
        try:
            call = _read_image(stream_record["dynamodb"].get("NewImage", {}))
        except UnreadableRecord as error:
            log(LogEvent.NOT_COUNTED, exception=type(error).__name__)
            failed.append(number)
        else:
            if call is not None:
                calls[number] = call
    try:
        count(_stats_table(), calls.values())
    except (BotoCoreError, ClientError, TransactionCancelled) as error:
        log(LogEvent.NOT_COUNTED, exception=type(error).__name__)
        failed += calls  # the calls that were counted have their marks
    return failed


def _read_image(image: Mapping[str, Any]) -> CountedCall | None:
    """Read the image of a stream record, like ``CountedCall.from_item``."""
    try:
        item = deserialize(image)
    except (AttributeError, TypeError, ArithmeticError):
        raise UnreadableRecord from None
    return CountedCall.from_item(item)


def count(table: Table, calls: Iterable[CountedCall]) -> int:
    """Count the calls that are not counted yet, and return their number.

    A call older than a mark's life is not counted: its mark may be gone, and it is out of the period. Raise botocore's
    errors or ``TransactionCancelled`` when DynamoDB refuses; the calls counted before that stay counted.
    """
    since = datetime.now(UTC) - MARK_LIFETIME
    waiting = list({call.id: call for call in calls if call.at > since}.values())
    counted = 0
    while waiting:
        together = _first_transaction(waiting)
        counted += _count_together(table, together)
        del waiting[: len(together)]
    return counted


def _first_transaction(calls: Sequence[CountedCall]) -> Sequence[CountedCall]:
    """Return the first calls, as many as one transaction can hold with their marks and counters."""
    keys = set[Key]()
    for number, call in enumerate(calls):
        keys.add(call.key)
        if number + 1 + len(keys) > _TRANSACTION:
            return calls[:number]
    return calls[:]


def _count_together(table: Table, calls: Sequence[CountedCall]) -> int:
    """Count calls in one transaction, without those that have a mark; return how many were counted."""
    tries = 0
    while calls:
        try:
            write_together(table.client, _writes(table, calls))
        except TransactionCancelled as error:
            # A call with a mark is counted. A mark is deleted only by its age, so it can be left out for good.
            counted = {number for number, reason in enumerate(error.reasons) if reason == "ConditionalCheckFailed"}
            new = [call for number, call in enumerate(calls) if number not in counted]
            if len(new) == len(calls):
                tries += 1
                if tries == _TRIES:
                    raise
                sleep(uniform(0, 0.05 * 2**tries))  # noqa: S311 - a delay is no secret
            calls = new
        else:
            return len(calls)
    return 0


def _writes(table: Table, calls: Sequence[CountedCall]) -> list["TransactWriteItemTypeDef"]:
    """Return the marks of the calls, in their order, and then the counters."""
    marks = [
        table.putting(
            call.mark_key | {"expires_at": round((call.at + MARK_LIFETIME).timestamp())},
            condition="attribute_not_exists(pk)",
        )
        for call in calls
    ]
    counters = [
        table.updating({"pk": COUNTERS, "sk": key.sort_key}, "ADD calls :more", values={"more": more})
        for key, more in Counter(call.key for call in calls).items()
    ]
    return marks + counters


# ── Figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    by_day, by_dataset = Counter[date](), Counter[str]()
    for key, calls in counters(table, first, last).items():
        if calls and key.status == 200:  # noqa: PLR2004 - OK
            by_day[key.day] += calls
            by_dataset[key.dataset] += calls
    return Figures(first, last, by_day, by_dataset)


def counters(table: Table, first: date, last: date, *, consistent: bool = False) -> dict[Key, int]:
    """Read every counter from one day to another, both included."""
    items = table.query(
        "pk = :counters AND sk BETWEEN :first AND :after",
        {"counters": COUNTERS, "first": f"{first}", "after": f"{last}$"},  # "$" sorts after "#": the last day is within
        consistent=consistent,
    )
    return {Key.from_sort_key(item["sk"]): item["calls"] for item in items}


def counted_ids(table: Table, day: date) -> set[str]:
    """Return the ids of the audit records of a day whose calls were counted."""
    return {
        item["sk"]
        for last_digit in "0123456789abcdef"
        for item in table.query("pk = :marks", {"marks": _mark_partition(day, last_digit)}, consistent=True)
    }


def _stats_table() -> Table:
    return Table(dynamodb(), settings().stats_table)
