"""Statistics: shown, recounted from the audit, repaired; and what the stream could not count, counted.

The audit says what there was, a mark what was counted of it. So what is not marked is counted by the very means of the
stream's function, exactly, whoever counts at the same time; and a counter is wrong when it is not its marked entries.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from api_particulier.public import statistics
from api_particulier.public.statistics import CountedCall, Figures, Key, NotAnEntry
from ops.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LATE = timedelta(minutes=5)
"""An entry younger than that and not counted is on its way."""

_PARIS = ZoneInfo("Europe/Paris")
_TOGETHER = 100
"""Writes that DynamoDB takes together."""


@dataclass(frozen=True)
class Difference:
    """A counter that does not say what the audit says."""

    key: Key
    counted: int
    audited: int
    at_rest: bool
    """Whether nothing was counted there meanwhile; if something was, a repair would lose it."""


@dataclass(frozen=True)
class Recount:
    """What the audit says of the period, against what the counters do."""

    first: date
    last: date
    audited: int
    """Entries of datasets."""
    uncounted: Sequence[CountedCall]
    differences: Sequence[Difference]
    unreadable: Sequence[str]
    """Items of the audit table that are not entries, by their key: nobody can count them."""

    def described(self) -> dict[str, Any]:
        return {
            "period": {"first": f"{self.first}", "last": f"{self.last}"},
            "audited": self.audited,
            "uncounted": len(self.uncounted),
            "differences": [
                {"day": f"{one.key.day}", "dataset": one.key.dataset, "status": one.key.status}
                | {"counted": one.counted, "audited": one.audited}
                for one in self.differences
            ],
            "unreadable": list(self.unreadable),
        }


@dataclass(frozen=True)
class Replayed:
    """What became of the messages about batches that could not be counted."""

    messages: int
    counted: int
    unreadable: Sequence[str]
    kept: bool
    """Whether the messages are still in the queue."""


@dataclass(frozen=True)
class Books:
    """The audit and the counters of a deployment."""

    deployment: Deployment

    def figures(self) -> Figures:
        """Return what ``/api/stats/details`` says."""
        return statistics.read(self._dynamodb, self._table, statistics.today())

    def recount(self) -> Recount:
        """Count the audit's entries of the period again, and compare; right while calls go on.

        A counter only grows, and the marks are read between two readings of it: what is marked lies between them.
        """
        last = statistics.today()
        first = last - timedelta(statistics.PERIOD - 1)
        before = self._counters(first, last)
        entries, unreadable = self._audited(first)
        marks = {
            mark
            for number in range(statistics.PERIOD)
            for mark in statistics.counted_ids(self._dynamodb, self._table, first + timedelta(number))
        }
        late = datetime.now(UTC) - LATE
        audited = Counter(entry.key for entry in entries if entry.id in marks or entry.at < late)
        after = self._counters(first, last)
        return Recount(
            first=first,
            last=last,
            audited=len(entries),
            uncounted=[entry for entry in entries if entry.id not in marks],
            differences=[
                Difference(key, after.get(key, 0), audited[key], at_rest=before.get(key, 0) == after.get(key, 0))
                for key in sorted({*before, *audited, *after})
                if not before.get(key, 0) <= audited[key] <= after.get(key, 0)
            ],
            unreadable=unreadable,
        )

    def rebuild(self) -> Recount:
        """Count what is not counted, set right the counters that are wrong, and return what was found.

        A counter that moves meanwhile is left to another time. Botocore's error, and nothing of it done, when one moves
        at the very moment.
        """
        found = self.recount()
        statistics.count(self._dynamodb, self._table, found.uncounted)
        wrong = [one for one in self.recount().differences if one.at_rest]
        for start in range(0, len(wrong), _TOGETHER):
            self._dynamodb.transact_write_items(
                TransactItems=[self._repair(one) for one in wrong[start : start + _TOGETHER]]
            )
        return found

    def replay(self, *, discard: bool) -> Replayed:
        """Count what the messages in the queue are about, and remove these.

        The audit is read rather than the stream, which keeps a day and which the messages outlive. While it holds
        something that nobody can count, the messages are kept unless ``discard`` says that somebody has looked at it.
        """
        sqs, queue = self._client("sqs"), self.deployment.outputs["StatisticsFailures"]
        receipts = list(_receipts(sqs, queue))
        found = self.recount()
        counted = statistics.count(self._dynamodb, self._table, found.uncounted) if receipts else 0
        kept = bool(receipts and found.unreadable and not discard)
        for receipt in receipts:
            if kept:
                sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=receipt, VisibilityTimeout=0)
            else:
                sqs.delete_message(QueueUrl=queue, ReceiptHandle=receipt)
        return Replayed(len(receipts), counted, found.unreadable, kept)

    def _repair(self, wrong: Difference) -> "TransactWriteItemTypeDef":
        return {
            "Update": {
                "TableName": self._table,
                "Key": {"pk": {"S": statistics.COUNTERS}, "sk": {"S": wrong.key.sort_key}},
                "UpdateExpression": "SET calls = :audited",
                "ConditionExpression": "calls = :counted"
                if wrong.counted
                else "attribute_not_exists(pk) OR calls = :counted",
                "ExpressionAttributeValues": {
                    ":audited": {"N": f"{wrong.audited}"},
                    ":counted": {"N": f"{wrong.counted}"},
                },
            }
        }

    def _audited(self, first: date) -> tuple[list[CountedCall], list[str]]:
        """Return the datasets' entries since a day, and the keys of what is not an entry.

        The table's keys are tokens and citizens, of which nobody has the list: it is read from end to end.
        """
        entries, unreadable = dict[str, CountedCall](), list[str]()
        since = datetime.combine(first, time(), _PARIS).astimezone(UTC)
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self.deployment.outputs["AuditTable"],
            ConsistentRead=True,
            FilterExpression="NOT #at < :since",  # what has no date of ours is kept, to be told of
            ProjectionExpression="#id, #at, #dataset, #status, #kind, #token_day",
            ExpressionAttributeNames={
                f"#{name}": name for name in ("id", "at", "dataset", "status", "kind", "token_day")
            },
            ExpressionAttributeValues={":since": {"S": since.isoformat(timespec="milliseconds")}},
        )
        for item in (item for page in pages for item in page["Items"]):
            try:
                entry = CountedCall.of(item)
            except NotAnEntry:
                unreadable.append(" ".join(_text(item.get(name)) for name in ("token_day", "id")))
            else:
                if entry is not None:
                    entries[entry.id] = entry
        return list(entries.values()), sorted(unreadable)

    def _counters(self, first: date, last: date) -> Mapping[Key, int]:
        return statistics.counters(self._dynamodb, self._table, first, last, consistent=True)

    @property
    def _table(self) -> str:
        return self.deployment.outputs["StatsTable"]

    @cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

    def _client(self, service: Any) -> Any:
        return self.deployment.session.client(service, endpoint_url=self.deployment.endpoint_url)


def _receipts(sqs: Any, queue: str) -> Iterator[str]:
    """Take every message of the queue, which nobody else is then given for a while."""
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        yield from (str(message["ReceiptHandle"]) for message in messages)


def _text(value: Mapping[str, Any] | None) -> str:
    return str(value.get("S", "?")) if value else "?"
