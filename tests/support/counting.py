"""The counting function in process: audit records delivered by their stream, and the figures that it makes."""

import importlib
import json
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

import boto3

from api_particulier.audit.record import DATASET, AuditRecord
from api_particulier.dynamodb import Table, serialize
from api_particulier.public import statistics
from api_particulier.public.statistics import Key
from tests.support.function import call_api, new_environment

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = date(2026, 11, 23)
_SEQUENCE_NUMBERS = count(10**20)


class Clock:
    """The time of the statistics, which a test sets."""

    def __init__(self) -> None:
        self.now, self.seconds = NOW, 0.0

    def advance(self, seconds: float) -> None:
        self.now, self.seconds = self.now + timedelta(seconds=seconds), self.seconds + seconds


def audit_record(
    at: datetime = NOW,
    dataset: str = "declarants",
    status: int = 200,
    record_type: str | None = DATASET,
    record_id: str | None = None,
) -> AuditRecord:
    return AuditRecord(
        at, "r", dataset, "/api", "203.0.113.7", record_type, id=record_id or str(uuid4()), status=status
    )


def stream_record(image: dict[str, Any], event_name: str = "INSERT") -> dict[str, Any]:
    """Return the stream record of an item, as DynamoDB writes it."""
    change = {"SequenceNumber": str(next(_SEQUENCE_NUMBERS)), "NewImage": image}
    return {"eventName": event_name, "dynamodb": change}


def stream_records(*records: AuditRecord) -> list[dict[str, Any]]:
    """Return the stream records of audit records, without a table: thousands of them take a second."""
    return [stream_record(serialize(record.to_item())) for record in records]


def deliver(batch: list[dict[str, Any]]) -> list[str]:
    """Invoke the function with a batch, in JSON as Lambda does; return the sequence numbers that failed."""
    function = importlib.import_module("functions.stats_stream.app")
    response = function.lambda_handler(json.loads(json.dumps({"Records": batch})), None)
    return [failure["itemIdentifier"] for failure in response["batchItemFailures"]]


def figures() -> Any:
    """Return the body of ``/api/stats/details`` from a new environment, after comparing it with ``/api/stats``."""
    new_environment()
    total, details = call_api("stats/stats"), call_api("stats/details")
    assert (total.status, details.status) == (200, 200)
    assert total.body == details.body["total"] == sum(day["total"] for day in details.body["parJour"])
    assert total.body == sum(details.body["parJeuDeDonnees"].values())
    return details.body


def stats_table() -> Table:
    return Table(boto3.client("dynamodb"), "stats")


def counters() -> dict[Key, int]:
    """Return every counter of the statistics table."""
    return statistics.counters(stats_table(), date(2000, 1, 1), date(2100, 1, 1))
