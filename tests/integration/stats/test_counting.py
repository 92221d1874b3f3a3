"""Counters equal the audit exactly, even if the stream delivers a record twice, late, or beside a broken one."""

import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from api_particulier.audit.record import DATASET, AuditRecord
from api_particulier.dynamodb import Table, serialize
from api_particulier.paris_time import PARIS, day_of
from api_particulier.public import statistics
from api_particulier.public.statistics import Key
from tests.support.cloud import Cloud
from tests.support.counting import (
    NOW,
    TODAY,
    Clock,
    audit_record,
    counters,
    deliver,
    figures,
    stats_table,
    stream_record,
    stream_records,
)
from tests.support.function import call_api, new_environment
from tests.support.statistics_table import StatisticsTable
from tests.support.template import ROOT, resources

pytestmark = [pytest.mark.usefixtures("cloud"), pytest.mark.slow]


@pytest.mark.usefixtures("dgfip")
def test_the_total_is_the_number_of_responses_200_of_datasets(cloud: Cloud, clock: Clock) -> None:
    clock.now = datetime.now(UTC)
    key = cloud.issue_key("dgfip_avis_imposition")
    for _ in range(3):
        assert call_api("declarants/v2", key=key).status == 200
    assert call_api("avis_imposition/v1", key=key).status == 200
    assert call_api("avis_imposition/v1", key=key, numeroFiscal="x").status == 400
    assert call_api("declarants/v2", key="unknown").status == 401
    assert call_api("introspect/introspect", key=key).status == 200
    items = boto3.client("dynamodb").scan(TableName="audit")["Items"]
    assert deliver([stream_record(dict(item)) for item in items]) == []
    today = day_of(clock.now)
    assert counters() == {
        Key(today, "declarants", 200): 3,
        Key(today, "declarants", 401): 1,
        Key(today, "avis_imposition", 200): 1,
        Key(today, "avis_imposition", 400): 1,
    }
    assert call_api("stats/stats").text == "4"
    assert figures()["parJeuDeDonnees"] == {"avis_imposition": 1, "declarants": 3}


def test_the_example_batch_of_the_repository_is_counted_once() -> None:
    batch = json.loads((ROOT / "events" / "stats_stream/batch.json").read_text())["Records"]
    assert deliver(batch) == deliver(batch) == []
    assert counters() == {Key(TODAY, "declarants", 404): 1}


def test_a_record_delivered_again_is_counted_once() -> None:
    records = stream_records(*(audit_record() for _ in range(150)))
    for batch in (records[:100], records[50:], records[::-1], [*records, *records]):
        assert deliver(batch) == []
    assert counters() == {Key(TODAY, "declarants", 200): 150}


def test_a_call_stays_counted_when_its_record_expires() -> None:
    assert deliver(stream_records(audit_record())) == []
    removed = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "1"}, "userIdentity": {"type": "Service"}}
    assert deliver([removed]) == []
    assert figures()["total"] == 1


def test_a_changed_record_is_not_counted_as_another_call() -> None:
    (inserted,) = stream_records(audit_record())
    assert deliver([inserted, inserted | {"eventName": "MODIFY"}]) == []
    other = stream_records(audit_record())[0] | {"eventName": "MODIFY"}
    assert deliver([other]) == []
    assert figures()["total"] == 1


def test_a_mark_lasts_longer_than_any_later_delivery(cloud: Cloud) -> None:
    deliver(stream_records(audit_record()))
    specification = resources("AWS::DynamoDB::Table")["StatsTable"]["TimeToLiveSpecification"]
    assert specification["Enabled"]
    lifetimes = [
        datetime.fromtimestamp(int(str(item[specification["AttributeName"]])), UTC) - NOW
        for item in cloud.stats.scan()["Items"]
        if item["pk"] != statistics.COUNTERS
    ]
    assert lifetimes == [statistics.MARK_LIFETIME]
    queue = resources("AWS::SQS::Queue")["StatisticsFailures"]
    assert timedelta(days=statistics.PERIOD) < statistics.MARK_LIFETIME
    assert timedelta(seconds=queue["MessageRetentionPeriod"], days=1) < statistics.MARK_LIFETIME


def test_a_call_is_marked_under_its_day_in_paris() -> None:
    deliver(stream_records(audit_record(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))))
    assert len(statistics.counted_ids(stats_table(), TODAY)) == 1
    assert statistics.counted_ids(stats_table(), TODAY - timedelta(1)) == set()


def test_the_marks_of_a_day_are_found_for_every_last_digit_of_an_id() -> None:
    ids = {f"01a207b4-8200-7000-8000-00000000000{digit}" for digit in "0123456789abcdef"}
    assert deliver(stream_records(*(audit_record(record_id=record_id) for record_id in ids))) == []
    assert statistics.counted_ids(stats_table(), TODAY) == ids


def test_a_call_whose_mark_may_have_expired_is_not_counted() -> None:
    too_old = audit_record(NOW - statistics.MARK_LIFETIME - timedelta(seconds=1))
    assert deliver(stream_records(too_old, audit_record())) == []
    assert sum(counters().values()) == 1


@pytest.mark.parametrize(
    "image",
    [
        {},
        {"token_day": {"S": "x#2026-11-23"}, "id": {"S": "x"}},
        {"at": {"S": "hier"}},
        {"at": {"S": "2026-11-23T12:00:00"}},
        {"at": {"N": "1"}},
        {"status": {"S": "200"}},
        {"status": {"N": "200.5"}},
        {"status": {"N": "20000"}},
        {"status": {"N": "NaN"}},
        {"status": {"N": "Infinity"}},
        {"status": {"BOOL": True}},
        {"dataset": {"S": "a#200#b"}},
        {"dataset": {"NULL": True}},
        {"id": {"S": "../x"}},
        {"id": "x"},
    ],
    ids=json.dumps,
)
def test_an_unreadable_record_fails_alone(capfd: pytest.CaptureFixture[str], image: dict[str, Any]) -> None:
    records = stream_records(*(audit_record() for _ in range(3)))
    whole = records[0]["dynamodb"]["NewImage"]
    unreadable = stream_record(whole | image if image and "token_day" not in image else image)
    assert deliver([records[0], unreadable, *records[1:]]) == [unreadable["dynamodb"]["SequenceNumber"]]
    assert figures()["total"] == 3
    assert '"event": "not_counted"' in capfd.readouterr().out


def test_a_batch_that_the_table_refuses_fails_whole(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    records = stream_records(audit_record(), audit_record())
    with monkeypatch.context() as patched:
        patched.setenv("STATS_TABLE", "gone")
        new_environment()
        assert deliver(records) == [record["dynamodb"]["SequenceNumber"] for record in records]
    new_environment()
    assert cloud.stats.scan()["Items"] == []
    assert deliver(records) == []
    assert figures()["total"] == 2


def test_a_transaction_is_tried_five_times_beside_another_of_the_same_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    table = StatisticsTable()
    monkeypatch.setattr(statistics, "dynamodb", lambda: table)
    conflicts = [4]

    def conflict() -> None:
        conflicts[0] -= 1
        if conflicts[0] >= 0:
            raise table.transaction_cancelled("None", "TransactionConflict")

    table.before_transaction = conflict
    assert deliver(stream_records(audit_record())) == []
    conflicts[0] = 5
    (record,) = stream_records(audit_record())
    assert deliver([record]) == [record["dynamodb"]["SequenceNumber"]]
    assert figures()["total"] == 1


# ── Exactness ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Shard:
    """A shard of the stream, delivered as Lambda does: at least once, in order, again from the first failure."""

    def __init__(self, records: list[dict[str, Any]], chance: random.Random) -> None:
        self.records, self.chance = records, chance
        self.position, self.tries = 0, 0
        self.discarded: list[dict[str, Any]] = []
        """Records that Lambda sent to the failure queue after too many tries."""

    def deliver_batch(self) -> bool:
        """Deliver one batch; return False when no record is left."""
        size = self.chance.choice([1, 7, 50, 100])
        if self.tries > 3:
            size = 1  # bisected
        batch = self.records[self.position : self.position + size]
        delivered = [*batch]
        if self.chance.random() < 0.2:
            delivered += self.chance.choices(self.records, k=20)  # of an earlier or a later delivery
        if self.chance.random() < 0.2:
            self.chance.shuffle(delivered)
        failed = {*deliver(delivered)}
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        if self.chance.random() < 0.05:  # the function's response is lost
            failed |= {*numbers}
        first = next((index for index, number in enumerate(numbers) if number in failed), len(batch))
        self.tries = self.tries + 1 if first == 0 else 0
        self.position += first
        if self.tries > 8:
            self.discarded.append(self.records[self.position])
            self.position, self.tries = self.position + 1, 0
        return self.position < len(self.records)


def random_records(chance: random.Random, number: int) -> Iterator[AuditRecord]:
    datasets = ["declarants", "avis_imposition", "quotient_familial", "adresse_fiscale"]
    for _ in range(number):
        at = NOW - timedelta(seconds=chance.randrange(39 * 86_400))
        if chance.random() < 0.2:  # about midnight
            at = at.replace(hour=chance.choice([21, 22, 23]), minute=chance.choice([0, 59]))
        yield audit_record(
            min(at, NOW),
            dataset=chance.choice(datasets),
            status=chance.choices([200, 400, 401, 403, 404, 502, 503], [60, 5, 5, 2, 20, 1, 7])[0],
            record_type=chance.choices([DATASET, None], [9, 1])[0],
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_20000_calls_are_counted_exactly_despite_failures(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's
    table = StatisticsTable()
    monkeypatch.setattr(statistics, "dynamodb", lambda: table)
    audit = [*random_records(chance, 20_000)]
    records = stream_records(*audit)
    unreadable = [stream_record(serialize({"id": "no record"})) for _ in range(5)]
    for record in unreadable:
        records.insert(chance.randrange(len(records)), record)

    def before() -> None:
        drawn = chance.random()
        if drawn < 0.03:
            raise ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "TransactWriteItems")
        if drawn < 0.06:
            raise table.transaction_cancelled("TransactionConflict")

    def after() -> None:
        if chance.random() < 0.03:
            raise ReadTimeoutError(endpoint_url="https://dynamodb")

    table.before_transaction, table.after_transaction = before, after
    shards = [Shard(records[start::4], chance) for start in range(4)]
    running = [*shards]
    while running:
        shard = chance.choice(running)
        if not shard.deliver_batch():
            running.remove(shard)
    discarded = [record for shard in shards for record in shard.discarded]
    assert [record for record in unreadable if record not in discarded] == []
    table.before_transaction = table.after_transaction = lambda: None
    # A readable record that Lambda discarded is in the failure queue; a replay counts it.
    deliver([record for record in discarded if record not in unreadable])

    recount = Counter(
        (record.at.astimezone(PARIS).date(), record.dataset, record.status)
        for record in audit
        if record.record_type == DATASET
    )
    counted = statistics.counters(Table(table, "stats"), date(2000, 1, 1), TODAY)  # type: ignore[arg-type]  # in memory
    assert counted == recount
    since = date(2026, 10, 25)
    assert figures()["total"] == sum(
        calls for (day, _, status), calls in recount.items() if status == 200 and since <= day <= TODAY
    )
