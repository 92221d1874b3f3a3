"""The command's recount: counters compared with the audit, corrected, and failed batches counted."""

from datetime import date, timedelta
from typing import Any

import boto3
import pytest

from api_particulier.audit.record import AuditRecord, write
from api_particulier.dynamodb import Table
from api_particulier.public import statistics
from api_particulier.public.statistics import Key
from ops.deployment import Deployment
from ops.statistics import StatisticsAudit
from tests.support.cloud import Cloud
from tests.support.counting import NOW, TODAY, Clock, audit_record, deliver, figures, stream_records

pytestmark = pytest.mark.slow


@pytest.fixture
def audit(cloud: Cloud) -> StatisticsAudit:  # noqa: ARG001 - moto
    queue = boto3.client("sqs").create_queue(QueueName="failures")["QueueUrl"]
    deployment = Deployment(boto3.Session(), "api-particulier")
    vars(deployment)["outputs"] = {"AuditTable": "audit", "StatsTable": "stats", "StatisticsFailures": queue}
    return StatisticsAudit(deployment)


def write_all(*records: AuditRecord) -> list[dict[str, Any]]:
    """Write records in the audit table, and return their stream records."""
    for record in records:
        write(record)
    return stream_records(*records)


def test_a_recount_agrees_with_the_counters(audit: StatisticsAudit) -> None:
    old, new = audit_record(NOW - timedelta(days=29, hours=11)), audit_record()
    service = audit_record(dataset="introspect", record_type=None)
    deliver(write_all(old, new, audit_record(status=404), service))
    write(audit_record(NOW - timedelta(days=31)))
    recount = audit.recount()
    assert (recount.audited, [*recount.uncounted], [*recount.differences]) == (3, [], [])
    assert audit.figures().total == 2


def test_a_record_is_a_difference_after_five_minutes_without_a_mark(audit: StatisticsAudit, clock: Clock) -> None:
    write(audit_record())
    assert [*audit.recount().differences] == []
    clock.advance(301)
    (difference,) = audit.recount().differences
    assert (difference.key, difference.counted, difference.audited) == (Key(TODAY, "declarants", 200), 0, 1)


def test_a_rebuild_counts_the_uncounted_and_corrects_the_counters(
    audit: StatisticsAudit, cloud: Cloud, clock: Clock
) -> None:
    deliver(write_all(*(audit_record() for _ in range(5)), audit_record(status=404)))
    late = write_all(*(audit_record(dataset="avis_imposition") for _ in range(120)))
    for name, calls in (("declarants#200", 9), ("declarants#404", None), ("imaginary#200", 4)):
        key = {"pk": statistics.COUNTERS, "sk": f"{TODAY}#{name}"}
        if calls is None:
            cloud.stats.delete_item(Key=key)
        else:
            cloud.stats.put_item(Item=key | {"calls": calls})
    clock.advance(301)
    differences = audit.recount().described()["differences"]
    found = [(difference["dataset"], difference["counted"], difference["audited"]) for difference in differences]
    expected = [("avis_imposition", 0, 120), ("declarants", 9, 5), ("declarants", 0, 1), ("imaginary", 4, 0)]
    assert found == expected
    corrected = [(wrong.key.dataset, wrong.counted, wrong.audited) for wrong in audit.rebuild().differences]
    assert corrected == expected
    assert [*audit.recount().differences] == []
    assert deliver(late) == []  # by the stream, after all
    assert figures()["parJeuDeDonnees"] == {"avis_imposition": 120, "declarants": 5}


def test_a_recount_while_calls_are_counted_finds_no_difference(
    audit: StatisticsAudit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write_all(*(audit_record() for _ in range(4)))
    deliver(records[:1])
    counted_ids = statistics.counted_ids

    def counted_ids_during_deliveries(table: Table, day: date) -> set[str]:
        deliver(records[1:2] if day < TODAY else records[2:3])
        found = counted_ids(table, day)
        deliver(records[3:])
        return found

    clock.advance(301)
    monkeypatch.setattr(statistics, "counted_ids", counted_ids_during_deliveries)
    assert [*audit.recount().differences] == []
    audit.rebuild()
    assert figures()["total"] == 4


def test_a_replay_counts_the_failed_batches_and_empties_the_queue(audit: StatisticsAudit) -> None:
    sqs, queue = boto3.client("sqs"), audit.deployment.outputs["StatisticsFailures"]
    write_all(audit_record(NOW - timedelta(days=13)), audit_record())
    for _ in range(12):
        sqs.send_message(QueueUrl=queue, MessageBody="{}")
    replayed = audit.replay(discard=False)
    assert (replayed.messages, replayed.counted, replayed.kept) == (12, 2, False)
    assert figures()["total"] == 2
    assert audit.replay(discard=False).messages == 0


def test_a_replay_keeps_the_messages_of_unreadable_records_until_discarded(
    audit: StatisticsAudit, cloud: Cloud
) -> None:
    sqs, queue = boto3.client("sqs"), audit.deployment.outputs["StatisticsFailures"]
    write(audit_record())
    cloud.audit.put_item(Item={"token_day": "unknown#2026-11-23", "id": "1"})
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    first, again = audit.replay(discard=False), audit.replay(discard=True)
    assert (first.counted, first.unreadable, first.kept) == (1, ["unknown#2026-11-23 1"], True)
    assert (again.messages, again.counted, again.kept) == (1, 0, False)
    assert audit.replay(discard=False).messages == 0
