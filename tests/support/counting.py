"""Calls counted in process: their audit records delivered by the stream, sealed, and the figures that this makes."""

import secrets
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
from uuid6 import UUID

from api_particulier.audit.record import DATASET, AuditRecord
from api_particulier.dynamodb import Table
from api_particulier.public import statistics
from tests.support.function import call_api, new_environment
from tests.support.sealing import Sealing, stream_record

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = date(2026, 11, 23)


class Clock:
    """The time of the statistics, which a test sets."""

    def __init__(self) -> None:
        self.now, self.seconds = NOW, 0.0

    def advance(self, seconds: float) -> None:
        self.now, self.seconds = self.now + timedelta(seconds=seconds), self.seconds + seconds


def id_at(moment: datetime) -> str:
    """Return a UUIDv7 of a moment."""
    return str(UUID(int=int(moment.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | secrets.randbits(62)))


def audit_record(
    at: datetime = NOW, dataset: str = "declarants", status: int = 200, record_type: str | None = DATASET
) -> AuditRecord:
    return AuditRecord(at, "r", dataset, "/api", "203.0.113.7", record_type, id=id_at(at), status=status)


def stream_records(*records: AuditRecord) -> list[dict[str, Any]]:
    """Return the stream records of audit records."""
    return [stream_record(record.to_item()) for record in records]


def count(sealing: Sealing, *records: AuditRecord) -> None:
    """Deliver the stream records of audit records to the function."""
    assert sealing.deliver(stream_records(*records)) == {"batchItemFailures": []}


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


def counters() -> dict[str, int]:
    """Return every counter of the statistics table."""
    return statistics.counters(stats_table(), date(2000, 1, 1), date(2100, 1, 1))
