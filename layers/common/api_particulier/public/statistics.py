"""How many calls each dataset answered, by day and status: exact, whatever Lambda and the stream do.

The statistics table holds one counter for a day, a dataset and a status, and one mark for each entry counted. A counter
grows in the transaction that writes the marks of what it grew by, so that an entry is counted once however often, in
whatever order and next to whichever others it is delivered (docs/decisions/0011-exact-counters.md). A day is Paris's.
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
from zoneinfo import ZoneInfo

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit.record import DATASET
from api_particulier.aws import dynamodb
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

PERIOD: Final = 30
"""Days that the figures are of, today included (contract §1)."""
MARKED: Final = timedelta(days=40)
"""How long an entry counted is remembered: longer than the period, and than anything can still deliver it again."""
REMEMBERED: Final = 60
"""Seconds during which an environment does not read the counters again."""
COUNTERS: Final = "counters"
"""The partition of every counter: a function writes few, once a batch, and reads a period in one query."""

_PARIS: Final = ZoneInfo("Europe/Paris")
_DATASET_NAME: Final = re.compile("[a-z0-9_]{1,64}")
_ID: Final = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TRANSACTION: Final = 100
"""Writes that DynamoDB takes together."""
_TRIES: Final = 5
"""Of one transaction, when another one is at the same counter."""


class NotAnEntry(ValueError):
    """What should be an audit entry is not one: nothing tells of which day, dataset and status it is."""


class Key(NamedTuple):
    """What a counter counts."""

    day: date
    dataset: str
    status: int

    @classmethod
    def of(cls, sort_key: str) -> Self:
        day, dataset, status = sort_key.split("#")
        return cls(date.fromisoformat(day), dataset, int(status))

    @property
    def sort_key(self) -> str:
        return f"{self.day}#{self.dataset}#{self.status}"


@dataclass(frozen=True)
class CountedCall:
    """What is counted of an audit entry."""

    id: str
    at: datetime
    dataset: str
    status: int

    @classmethod
    def of(cls, image: Mapping[str, Any]) -> Self | None:
        """Read an item of the audit table; None for a service's, which is not counted.

        ``NotAnEntry`` for what cannot be read.
        """
        try:
            entry = cls(
                id=image["id"]["S"],
                at=datetime.fromisoformat(image["at"]["S"]),
                dataset=image["dataset"]["S"],
                status=int(image["status"]["N"]),
            )
        except (KeyError, TypeError, ValueError):
            raise NotAnEntry from None
        named = _ID.fullmatch(entry.id) and _DATASET_NAME.fullmatch(entry.dataset)
        if not named or entry.at.tzinfo is None or not 100 <= entry.status < 600:  # noqa: PLR2004 - HTTP's statuses
            raise NotAnEntry
        return entry if image.get("kind") == {"S": DATASET} else None

    @property
    def key(self) -> Key:
        return Key(day_of(self.at), self.dataset, self.status)

    @property
    def mark(self) -> dict[str, "AttributeValueTypeDef"]:
        """The key of its mark: a day's are together, in 16 partitions, of which each takes 500 calls a second."""
        return {"pk": {"S": f"{_marks(self.key.day, self.id[-1])}"}, "sk": {"S": self.id}}


def day_of(moment: datetime) -> date:
    """Return the day in Paris of a moment."""
    return moment.astimezone(_PARIS).date()


def today() -> date:
    return day_of(datetime.now(UTC))


# ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def consume(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Count what a batch of the audit table's stream says, and return the sequence numbers of what was not.

    Everything that can be counted is, though another record cannot: a record delivered again costs nothing.
    """
    failed: list[str] = []
    answered: dict[str, CountedCall] = {}
    for record in records:
        if record["eventName"] != "INSERT":  # what expires is not uncounted
            continue
        number = record["dynamodb"]["SequenceNumber"]
        try:
            entry = CountedCall.of(record["dynamodb"].get("NewImage", {}))
        except NotAnEntry as error:
            log(LogEvent.NOT_COUNTED, exception=type(error).__name__)
            failed.append(number)
        else:
            if entry is not None:
                answered[number] = entry
    try:
        count(dynamodb(), settings().stats_table, answered.values())
    except (BotoCoreError, ClientError) as error:
        log(LogEvent.NOT_COUNTED, exception=type(error).__name__)
        failed += answered  # those that were counted will be found to be
    return failed


def count(client: "DynamoDBClient", table: str, entries: Iterable[CountedCall]) -> int:
    """Count the entries that have not been, and return how many these were.

    Botocore's errors when DynamoDB refuses: what was counted until then stays so. What is too old for its mark to be
    sure to remain is not counted: it is out of the period too.
    """
    since = datetime.now(UTC) - MARKED
    waiting = list({entry.id: entry for entry in entries if entry.at > since}.values())
    counted = 0
    while waiting:
        together = _that_fit(waiting)
        counted += _count_together(client, table, together)
        del waiting[: len(together)]
    return counted


def _that_fit(entries: Sequence[CountedCall]) -> Sequence[CountedCall]:
    """Return the first entries whose marks and counters are one transaction."""
    keys = set[Key]()
    for number, entry in enumerate(entries):
        keys.add(entry.key)
        if number + 1 + len(keys) > _TRANSACTION:
            return entries[:number]
    return entries[:]


def _count_together(client: "DynamoDBClient", table: str, entries: Sequence[CountedCall]) -> int:
    tries = 0
    while entries:
        try:
            client.transact_write_items(TransactItems=_writes(table, entries))
        except client.exceptions.TransactionCanceledException as error:
            reasons = enumerate(error.response["CancellationReasons"])
            # Those marked are counted. A mark is never removed but by its age, so leaving them out is for good.
            done = {number for number, reason in reasons if reason.get("Code") == "ConditionalCheckFailed"}
            fresh = [entry for number, entry in enumerate(entries) if number not in done]
            if len(fresh) == len(entries):
                tries += 1
                if tries == _TRIES:
                    raise
                sleep(uniform(0, 0.05 * 2**tries))  # noqa: S311 - who tries again first is no secret
            entries = fresh
        else:
            return len(entries)
    return 0


def _writes(table: str, entries: Sequence[CountedCall]) -> list["TransactWriteItemTypeDef"]:
    """Return the marks of the entries, in their order, and then the counters."""
    marks: list[TransactWriteItemTypeDef] = [
        {
            "Put": {
                "TableName": table,
                "Item": entry.mark | {"expires_at": {"N": f"{(entry.at + MARKED).timestamp():.0f}"}},
                "ConditionExpression": "attribute_not_exists(pk)",
            }
        }
        for entry in entries
    ]
    counters: list[TransactWriteItemTypeDef] = [
        {
            "Update": {
                "TableName": table,
                "Key": {"pk": {"S": COUNTERS}, "sk": {"S": key.sort_key}},
                "UpdateExpression": "ADD calls :more",
                "ExpressionAttributeValues": {":more": {"N": f"{more}"}},
            }
        }
        for key, more in Counter(entry.key for entry in entries).items()
    ]
    return marks + counters


# ── Figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Figures:
    """The answers 200 of datasets over a period."""

    first: date
    last: date
    by_day: Mapping[date, int]
    by_dataset: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_dataset.values())

    def described(self) -> dict[str, object]:
        """Return the body of ``/api/stats/details``, every day of the period in it (contract §1)."""
        days = [self.first + timedelta(number) for number in range((self.last - self.first).days + 1)]
        return {
            "periode": {"debut": f"{self.first}", "fin": f"{self.last}"},
            "total": self.total,
            "parJour": [{"date": f"{day}", "total": self.by_day.get(day, 0)} for day in days],
            "parJeuDeDonnees": dict(sorted(self.by_dataset.items())),
        }


def figures() -> Figures:
    """Return the figures of the period that ends today, at most ``REMEMBERED`` seconds old."""
    return _figures_at(today(), int(monotonic() // REMEMBERED))


@lru_cache(maxsize=1)
def _figures_at(last: date, _tick: int) -> Figures:
    return read(dynamodb(), settings().stats_table, last)


def read(client: "DynamoDBClient", table: str, last: date) -> Figures:
    """Read the figures of the ``PERIOD`` days that end with ``last``."""
    first = last - timedelta(PERIOD - 1)
    by_day, by_dataset = Counter[date](), Counter[str]()
    for key, calls in counters(client, table, first, last).items():
        if calls and key.status == 200:  # noqa: PLR2004 - OK
            by_day[key.day] += calls
            by_dataset[key.dataset] += calls
    return Figures(first, last, by_day, by_dataset)


def counters(
    client: "DynamoDBClient", table: str, first: date, last: date, *, consistent: bool = False
) -> dict[Key, int]:
    """Read every counter from one day to another, both included."""
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :counters AND sk BETWEEN :first AND :after",
        ExpressionAttributeValues={
            ":counters": {"S": COUNTERS},
            ":first": {"S": f"{first}"},
            ":after": {"S": f"{last}$"},  # after every "<last>#…"
        },
        ConsistentRead=consistent,
    )
    return {Key.of(item["sk"]["S"]): int(item["calls"]["N"]) for page in pages for item in page["Items"]}


def counted_ids(client: "DynamoDBClient", table: str, day: date) -> set[str]:
    """Return the ids of the entries of a day that were counted."""
    return {
        item["sk"]["S"]
        for last in "0123456789abcdef"
        for page in client.get_paginator("query").paginate(
            TableName=table,
            KeyConditionExpression="pk = :marks",
            ExpressionAttributeValues={":marks": {"S": _marks(day, last)}},
            ConsistentRead=True,
        )
        for item in page["Items"]
    }


def _marks(day: date, last: str) -> str:
    return f"counted#{day}#{last}"
