"""Statistics compared with the audit: calls counted again, counters corrected, failed batches counted.

Each audit record of a counted call has a mark in the statistics table. A record without a mark is counted by the code
of the stream's function, exactly once even if both run together. A counter is wrong when it differs from its marked
records.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from api_particulier.dynamodb import Table, deserialize
from api_particulier.paris_time import PARIS, today
from api_particulier.public import statistics
from api_particulier.public.statistics import CountedCall, Figures, Key, UnreadableRecord
from ops.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef
    from mypy_boto3_sqs import SQSClient

LATE = timedelta(minutes=5)
"""A record without a mark is expected to be counted within this time."""

_TRANSACTION = 100
"""Writes of a DynamoDB transaction, at most."""


@dataclass(frozen=True)
class Difference:
    """A counter that differs from the audit."""

    key: Key
    counted: int
    audited: int
    at_rest: bool
    """Whether the counter stayed the same during the recount; a correction of a changing counter would lose calls."""


@dataclass(frozen=True)
class Recount:
    """The audit of a period compared with the counters."""

    first: date
    last: date
    audited: int
    """Number of audit records of datasets."""
    uncounted: Sequence[CountedCall]
    differences: Sequence[Difference]
    unreadable: Sequence[str]
    """Keys of the items of the audit table that are not records, and cannot be counted."""

    def described(self) -> dict[str, Any]:
        """Return the output of ``stats rebuild --json``."""
        return {
            "period": {"first": f"{self.first}", "last": f"{self.last}"},
            "audited": self.audited,
            "uncounted": len(self.uncounted),
            "differences": [
                {"day": f"{wrong.key.day}", "dataset": wrong.key.dataset, "status": wrong.key.status}
                | {"counted": wrong.counted, "audited": wrong.audited}
                for wrong in self.differences
            ],
            "unreadable": list(self.unreadable),
        }


@dataclass(frozen=True)
class Replayed:
    """The result of counting the batches in the dead-letter queue."""

    messages: int
    counted: int
    unreadable: Sequence[str]
    kept: bool
    """Whether the messages are still in the queue."""


@dataclass(frozen=True)
class StatisticsAudit:
    """The statistics of a deployment, checked against its audit."""

    deployment: Deployment

    def figures(self) -> Figures:
        """Return the figures of ``/api/stats/details``."""
        return statistics.read(self._stats, today())

    def recount(self) -> Recount:
        """Count the audit records of the period again, and compare them with the counters.

        Correct while calls go on: a counter only grows, so the number of marked records lies between a reading of the
        counter before the marks and another after them.
        """
        last = today()
        first = last - timedelta(statistics.PERIOD - 1)
        before = self._counters(first, last)
        calls, unreadable = self._audited(first)
        marks = {
            mark
            for number in range(statistics.PERIOD)
            for mark in statistics.counted_ids(self._stats, first + timedelta(number))
        }
        late = datetime.now(UTC) - LATE
        audited = Counter(call.key for call in calls if call.id in marks or call.at < late)
        after = self._counters(first, last)
        return Recount(
            first=first,
            last=last,
            audited=len(calls),
            uncounted=[call for call in calls if call.id not in marks],
            differences=[
                Difference(key, after.get(key, 0), audited[key], at_rest=before.get(key, 0) == after.get(key, 0))
                for key in sorted({*before, *audited, *after})
                if not before.get(key, 0) <= audited[key] <= after.get(key, 0)
            ],
            unreadable=unreadable,
        )

    def rebuild(self) -> Recount:
        """Count the records without a mark, correct the counters, and return the recount made before that.

        A counter that changes during the recount is not corrected. Raise botocore's error, without any correction, when
        a counter changes at the same time as the correction.
        """
        found = self.recount()
        statistics.count(self._stats, found.uncounted)
        wrong = [difference for difference in self.recount().differences if difference.at_rest]
        for start in range(0, len(wrong), _TRANSACTION):
            self._dynamodb.transact_write_items(
                TransactItems=[self._repair(counter) for counter in wrong[start : start + _TRANSACTION]]
            )
        return found

    def replay(self, *, discard: bool) -> Replayed:
        """Count the calls of the batches in the dead-letter queue, and delete the messages.

        The calls are read from the audit: the stream keeps a record for a day, and messages live longer. With an item
        that cannot be counted in the audit, the messages are kept unless ``discard``.
        """
        sqs, queue = self.deployment.sqs, self.deployment.outputs["StatisticsFailures"]
        receipts = list(_receipts(sqs, queue))
        found = self.recount()
        counted = statistics.count(self._stats, found.uncounted) if receipts else 0
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
        """Return the calls of datasets since a day, and the keys of the items that are not records.

        The table has no key by day, so it is scanned.
        """
        calls, unreadable = dict[str, CountedCall](), list[str]()
        since = datetime.combine(first, time(), PARIS).astimezone(UTC)
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self.deployment.outputs["AuditTable"],
            ConsistentRead=True,
            FilterExpression="NOT #at < :since",  # keeps the items without a date, which are reported
            ProjectionExpression="#id, #at, #dataset, #status, #kind, #token_day",
            ExpressionAttributeNames={
                f"#{name}": name for name in ("id", "at", "dataset", "status", "kind", "token_day")
            },
            ExpressionAttributeValues={":since": {"S": since.isoformat(timespec="milliseconds")}},
        )
        for item in (item for page in pages for item in page["Items"]):
            try:
                call = CountedCall.from_item(deserialize(item))
            except UnreadableRecord:
                unreadable.append(" ".join(_text(item.get(name)) for name in ("token_day", "id")))
            else:
                if call is not None:
                    calls[call.id] = call
        return list(calls.values()), sorted(unreadable)

    def _counters(self, first: date, last: date) -> Mapping[Key, int]:
        return statistics.counters(self._stats, first, last, consistent=True)

    @property
    def _stats(self) -> Table:
        return Table(self._dynamodb, self._table)

    @property
    def _table(self) -> str:
        return self.deployment.outputs["StatsTable"]

    @property
    def _dynamodb(self) -> "DynamoDBClient":
        return self.deployment.dynamodb


def _receipts(sqs: "SQSClient", queue: str) -> Iterator[str]:
    """Receive every message of a queue, and yield their receipt handles; the messages are then hidden for a while."""
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        yield from (message["ReceiptHandle"] for message in messages)


def _text(value: Mapping[str, Any] | None) -> str:
    return str(value.get("S", "?")) if value else "?"
