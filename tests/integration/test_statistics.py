"""Statistics: counters that are the audit's, exactly, whatever the stream does, and the figures that all may read."""

import importlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4
from xml.etree import ElementTree as ET
from zoneinfo import ZoneInfo

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from api_particulier.audit import record as audit_record
from api_particulier.public import statistics
from api_particulier.public.statistics import CountedCall, Key
from ops.deployment import Deployment
from ops.statistics import StatisticsAudit
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment
from tests.support.statistics_table import StatisticsTable
from tests.support.tax_service import TaxService
from tests.support.template import ROOT, resources

pytestmark = pytest.mark.usefixtures("cloud")

PARIS = ZoneInfo("Europe/Paris")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY = date(2026, 11, 23)


class Clock:
    """The time, as the statistics read it, which passes when told to."""

    def __init__(self) -> None:
        self.now, self.seconds = NOW, 0.0

    def pass_by(self, seconds: float) -> None:
        self.now, self.seconds = self.now + timedelta(seconds=seconds), self.seconds + seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    told = Clock()

    class Told(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return told.now.astimezone(tz)

    monkeypatch.setattr(statistics, "datetime", Told)
    monkeypatch.setattr("ops.statistics.datetime", Told)
    monkeypatch.setattr(statistics, "monotonic", lambda: told.seconds)
    monkeypatch.setattr(statistics, "sleep", lambda _: None)
    return told


def entry(
    at: datetime = NOW, dataset: str = "declarants", status: int = 200, **changes: Any
) -> audit_record.AuditRecord:
    made = {
        "request_id": "r",
        "route": "/api",
        "address": "203.0.113.7",
        "kind": audit_record.DATASET,
        "id": str(uuid4()),
    }
    return audit_record.AuditRecord(at=at, dataset=dataset, status=status, **(made | changes))


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write entries as calls do, and return the records that the stream makes of them."""

    def written(*entries: audit_record.AuditRecord) -> list[dict[str, Any]]:
        images: list[dict[str, Any]] = []

        class Table:
            def put_item(self, *, Item: dict[str, Any], **_: object) -> None:  # noqa: N803 - boto3's name
                images.append(Item)

        with monkeypatch.context() as patched:
            patched.setattr(audit_record, "dynamodb", Table)
            for one in entries:
                audit_record.write(one)
        return [record(image) for image in images]

    return written


_NUMBERS = iter(range(10**20, 10**21))


def record(image: dict[str, Any], event_name: str = "INSERT") -> dict[str, Any]:
    number = str(next(_NUMBERS))
    return {"eventName": event_name, "dynamodb": {"SequenceNumber": number, "NewImage": image}}


def deliver(records: list[dict[str, Any]]) -> list[str]:
    """Hand a batch to the function, as Lambda does, and return the sequence numbers that it says have failed."""
    # What Lambda hands over is JSON.
    answer = importlib.import_module("functions.stats_stream.app").lambda_handler(
        json.loads(json.dumps({"Records": records})), None
    )
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def figures() -> Any:
    """Ask for the number and its details, from an environment that has never been asked."""
    new_environment()
    number, details = call_api("stats/stats"), call_api("stats/details")
    assert (number.status, details.status) == (200, 200)
    assert number.body == details.body["total"] == sum(day["total"] for day in details.body["parJour"])
    assert number.body == sum(details.body["parJeuDeDonnees"].values())
    return details.body


def counters() -> dict[Key, int]:
    return statistics.counters(boto3.client("dynamodb"), "stats", date(2000, 1, 1), date(2100, 1, 1))


def stream() -> list[dict[str, Any]]:
    """Return what the stream says of the audit table."""
    return [record(item) for item in boto3.client("dynamodb").scan(TableName="audit")["Items"]]


# ── What is counted ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_number_is_that_of_the_answers_200_of_datasets(cloud: Cloud, dgfip: TaxService, clock: Clock) -> None:
    clock.now = datetime.now(UTC)
    key = cloud.issue_key("dgfip_avis_imposition")
    assert dgfip.url
    for _ in range(3):
        assert call_api("declarants/v2", key=key).status == 200
    assert call_api("avis_imposition/v1", key=key).status == 200
    assert call_api("avis_imposition/v1", key=key, numeroFiscal="x").status == 400
    assert call_api("declarants/v2", key="unknown").status == 401
    assert call_api("introspect/introspect", key=key).status == 200
    assert deliver(stream()) == []
    today = statistics.day_of(clock.now)
    assert counters() == {
        Key(today, "declarants", 200): 3,
        Key(today, "declarants", 401): 1,
        Key(today, "avis_imposition", 200): 1,
        Key(today, "avis_imposition", 400): 1,
    }
    assert call_api("stats/stats").text == "4"
    assert figures()["parJeuDeDonnees"] == {"avis_imposition": 1, "declarants": 3}


def test_a_batch_of_the_stream_is_as_lambda_brings_it() -> None:
    batch = json.loads((ROOT / "events" / "stats_stream/batch.json").read_text())["Records"]
    assert deliver(batch) == deliver(batch) == []
    assert counters() == {Key(TODAY, "declarants", 404): 1}


def test_what_is_delivered_again_is_counted_once(write: Any) -> None:
    records = write(*(entry() for _ in range(150)))
    for batch in (records[:100], records[50:], records[::-1], [*records, *records]):
        assert deliver(batch) == []
    assert counters() == {Key(TODAY, "declarants", 200): 150}


def test_what_expires_from_the_audit_stays_counted(write: Any) -> None:
    records = write(entry())
    assert deliver(records) == []
    removed = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": "1"}, "userIdentity": {"type": "Service"}}
    assert deliver([removed]) == []
    assert figures()["total"] == 1


def test_a_mark_outlives_every_later_delivery_and_then_goes(cloud: Cloud, write: Any) -> None:
    deliver(write(entry()))
    spec = resources("AWS::DynamoDB::Table")["StatsTable"]["TimeToLiveSpecification"]
    assert spec["Enabled"]
    lives = [
        datetime.fromtimestamp(int(str(item[spec["AttributeName"]])), UTC) - NOW
        for item in cloud.stats.scan()["Items"]
        if item["pk"] != statistics.COUNTERS
    ]
    assert lives == [statistics.MARKED]
    queue = resources("AWS::SQS::Queue")["StatisticsFailures"]
    assert timedelta(days=statistics.PERIOD) < statistics.MARKED
    assert timedelta(seconds=queue["MessageRetentionPeriod"], days=1) < statistics.MARKED


def test_what_may_have_lost_its_mark_is_not_counted_again(write: Any) -> None:
    assert deliver(write(entry(NOW - statistics.MARKED - timedelta(seconds=1)), entry())) == []
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
        {"status": {"N": "20000"}},
        {"status": {"N": "NaN"}},
        {"dataset": {"S": "a#200#b"}},
        {"dataset": {"NULL": True}},
        {"id": {"S": "../x"}},
        {"id": "x"},
    ],
    ids=json.dumps,
)
def test_a_record_that_is_not_an_entry_is_named_and_the_others_are_counted(
    write: Any, capfd: pytest.CaptureFixture[str], image: dict[str, Any]
) -> None:
    records = write(*(entry() for _ in range(3)))
    whole = records[0]["dynamodb"]["NewImage"]
    poison = record(whole | image if image and "token_day" not in image else image)
    assert deliver([records[0], poison, *records[1:]]) == [poison["dynamodb"]["SequenceNumber"]]
    assert figures()["total"] == 3
    assert '"event": "not_counted"' in capfd.readouterr().out


def test_a_batch_that_the_table_refuses_is_brought_again(
    cloud: Cloud, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = write(entry(), entry())
    with monkeypatch.context() as patched:
        patched.setenv("STATS_TABLE", "gone")
        new_environment()
        assert deliver(records) == [one["dynamodb"]["SequenceNumber"] for one in records]
    new_environment()
    assert cloud.stats.scan()["Items"] == []
    assert deliver(records) == []
    assert figures()["total"] == 2


def test_who_meets_another_at_a_counter_tries_again(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    table = StatisticsTable()
    monkeypatch.setattr(statistics, "dynamodb", lambda: table)
    conflicts = [4]

    def conflict() -> None:
        conflicts[0] -= 1
        if conflicts[0] >= 0:
            raise table.transaction_cancelled("None", "TransactionConflict")

    table.before_transaction = conflict
    records = write(entry())
    assert deliver(records) == []
    conflicts[0] = 5
    assert deliver(write(entry())) != []
    assert figures()["total"] == 1


# ── Days ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-01-15T22:59:59.999", "2026-01-15"),
        ("2026-01-15T23:00", "2026-01-16"),
        ("2026-07-15T21:59:59.999", "2026-07-15"),
        ("2026-07-15T22:00", "2026-07-16"),
        # Summer time comes on 29 March at 01:00 UTC: a day of 23 hours.
        ("2026-03-28T22:59:59.999", "2026-03-28"),
        ("2026-03-28T23:00", "2026-03-29"),
        ("2026-03-29T21:59:59.999", "2026-03-29"),
        ("2026-03-29T22:00", "2026-03-30"),
        # It goes on 25 October at 01:00 UTC: a day of 25 hours.
        ("2026-10-24T21:59:59.999", "2026-10-24"),
        ("2026-10-24T22:00", "2026-10-25"),
        ("2026-10-25T22:59:59.999", "2026-10-25"),
        ("2026-10-25T23:00", "2026-10-26"),
    ],
)
def test_a_day_turns_at_midnight_in_paris(write: Any, clock: Clock, moment: str, day: str) -> None:
    clock.now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert deliver(write(entry(clock.now))) == []
    shown = figures()
    assert shown["periode"]["fin"] == day
    assert shown["parJour"][-1] == {"date": day, "total": 1}


def test_a_call_counts_for_30_days_the_day_of_the_call_included(write: Any, clock: Clock) -> None:
    clock.now = datetime(2026, 9, 26, 21, 59, tzinfo=UTC)  # one minute before midnight, summer time
    assert deliver(write(entry(clock.now))) == []
    totals = []
    for _ in range(32):
        totals.append(figures()["total"])
        clock.pass_by(86_400)  # 22:59 in Paris once summer time is over
    assert totals == [1] * 30 + [0, 0]


def test_the_details_have_every_day_of_the_period(write: Any) -> None:
    deliver(write(entry(NOW - timedelta(days=3)), entry(NOW - timedelta(days=30)), entry(status=404)))
    shown = figures()
    days = [one["date"] for one in shown["parJour"]]
    assert list(shown) == ["periode", "total", "parJour", "parJeuDeDonnees"]
    assert shown["periode"] == {"debut": "2026-10-25", "fin": "2026-11-23"}
    assert days == [str(date(2026, 10, 25) + timedelta(number)) for number in range(30)]
    assert [one["total"] for one in shown["parJour"]] == [0] * 26 + [1, 0, 0, 0]
    assert shown["parJeuDeDonnees"] == {"declarants": 1}


# ── What all may read ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("door", ["stats/stats", "stats/details"])
def test_any_page_may_show_the_figures_for_a_minute(door: str) -> None:
    answer = call_api(door)
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "max-age=60"
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"


def test_the_figures_are_given_in_xml_to_who_asks_for_it(write: Any) -> None:
    deliver(write(entry()))
    new_environment()
    assert call_api("stats/stats", format="xml").text.endswith("<result>\n\t<data>1</data>\n</result>")
    details = ET.fromstring(call_api("stats/details", headers={"Accept": "application/xml"}).text)  # noqa: S314 - written by us
    assert (details.findtext("total"), len(details.findall("parJour"))) == ("1", 30)
    refused = call_api("stats/stats", headers={"Accept": "text/html"})
    assert (refused.status, refused.body["error"]) == (406, "not_acceptable")
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    assert refused.headers["Cache-Control"] == "no-store"


def test_figures_that_cannot_be_read_are_an_error_that_nobody_keeps(cloud: Cloud) -> None:
    cloud.stats.delete()
    answer = call_api("stats/stats")
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_environment_reads_the_counters_once_a_minute_and_at_the_days_turn(write: Any, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 23, 22, 58, 30, tzinfo=UTC)
    assert call_api("stats/stats").text == "0"
    deliver(write(entry(clock.now), entry(NOW - timedelta(days=29))))
    clock.pass_by(59)
    assert call_api("stats/stats").text == "0"
    clock.pass_by(1)
    assert call_api("stats/stats").body == call_api("stats/details").body["parJeuDeDonnees"]["declarants"] == 2
    clock.pass_by(30)  # midnight
    assert call_api("stats/stats").text == "1"


# ── Exactness ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Stream:
    """A shard of the stream, and Lambda's way of reading it: at least once, in order, again from what failed."""

    def __init__(self, records: list[dict[str, Any]], chance: random.Random) -> None:
        self.records, self.chance = records, chance
        self.position, self.tries = 0, 0
        self.given_up: list[dict[str, Any]] = []

    def go_on(self) -> bool:
        """Deliver one batch; False when there is none left."""
        size = self.chance.choice([1, 7, 50, 100])
        if self.tries > 3:
            size = 1  # bisected
        batch = self.records[self.position : self.position + size]
        delivered = [*batch]
        if self.chance.random() < 0.2:
            delivered += self.chance.choices(self.records, k=20)  # of an earlier, or of a later, delivery
        if self.chance.random() < 0.2:
            self.chance.shuffle(delivered)
        failed = {*deliver(delivered)}
        numbers = [one["dynamodb"]["SequenceNumber"] for one in batch]
        if self.chance.random() < 0.05:  # the function's answer is lost
            failed |= {*numbers}
        first = next((index for index, number in enumerate(numbers) if number in failed), len(batch))
        self.tries = self.tries + 1 if first == 0 else 0
        self.position += first
        if self.tries > 8:
            self.given_up.append(self.records[self.position])
            self.position, self.tries = self.position + 1, 0
        return self.position < len(self.records)


def random_entries(chance: random.Random, number: int) -> Iterator[audit_record.AuditRecord]:
    datasets = ["declarants", "avis_imposition", "quotient_familial", "adresse_fiscale"]
    for _ in range(number):
        at = NOW - timedelta(seconds=chance.randrange(39 * 86_400))
        if chance.random() < 0.2:  # about midnight
            at = at.replace(hour=chance.choice([21, 22, 23]), minute=chance.choice([0, 59]))
        yield entry(
            min(at, NOW),
            dataset=chance.choice(datasets),
            status=chance.choices([200, 400, 401, 403, 404, 502, 503], [60, 5, 5, 2, 20, 1, 7])[0],
            kind=chance.choices([audit_record.DATASET, None], [9, 1])[0],
        )


@pytest.mark.parametrize("seed", [1, 2])
def test_20000_calls_are_counted_exactly_whatever_fails(write: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a test's
    table = StatisticsTable()
    monkeypatch.setattr(statistics, "dynamodb", lambda: table)
    entries = [*random_entries(chance, 20_000)]
    records = write(*entries)
    poison = [record({"id": {"S": "nothing of ours"}}) for _ in range(5)]
    for one in poison:
        records.insert(chance.randrange(len(records)), one)

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
    shards = [Stream(records[start::4], chance) for start in range(4)]
    running = [*shards]
    while running:
        shard = chance.choice(running)
        if not shard.go_on():
            running.remove(shard)
    given_up = [one for shard in shards for one in shard.given_up]
    assert [one for one in poison if one not in given_up] == []
    table.before_transaction = table.after_transaction = lambda: None
    # What Lambda gave up though it is an entry is in the queue; a replay counts it.
    deliver([one for one in given_up if one not in poison])

    recount = Counter(
        (one.at.astimezone(PARIS).date(), one.dataset, one.status) for one in entries if one.record_type == "dataset"
    )
    counted = statistics.counters(table, "stats", date(2000, 1, 1), TODAY)  # type: ignore[arg-type]  # played by hand
    assert counted == recount
    since = date(2026, 10, 25)
    assert figures()["total"] == sum(
        calls for (day, _, status), calls in recount.items() if status == 200 and since <= day <= TODAY
    )


# ── Recounted, repaired, replayed ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def books(cloud: Cloud) -> StatisticsAudit:  # noqa: ARG001 - moto
    queue = boto3.client("sqs").create_queue(QueueName="failures")["QueueUrl"]
    deployment = Deployment(boto3.Session(), "api-particulier")
    vars(deployment)["outputs"] = {"AuditTable": "audit", "StatsTable": "stats", "StatisticsFailures": queue}
    return StatisticsAudit(deployment)


def keep(*entries: audit_record.AuditRecord) -> list[dict[str, Any]]:
    """Write entries in the audit table, and return their records."""
    for one in entries:
        audit_record.write(one)
    ids = {one.id for one in entries}
    items = boto3.client("dynamodb").scan(TableName="audit")["Items"]
    return [record(item) for item in items if item["id"]["S"] in ids]


def test_a_recount_agrees_with_what_was_counted(books: StatisticsAudit) -> None:
    old, fresh = entry(NOW - timedelta(days=29, hours=11)), entry()
    deliver(keep(old, fresh, entry(status=404), entry(dataset="introspect", kind=None)))
    keep(entry(NOW - timedelta(days=31)))
    found = books.recount()
    assert (found.audited, [*found.uncounted], [*found.differences]) == (3, [], [])
    assert books.figures().total == 2


def test_an_entry_on_its_way_is_no_difference_and_a_late_one_is(books: StatisticsAudit, clock: Clock) -> None:
    keep(entry())
    assert [*books.recount().differences] == []
    clock.pass_by(301)
    (found,) = books.recount().differences
    assert (found.key, found.counted, found.audited) == (Key(TODAY, "declarants", 200), 0, 1)


def test_a_rebuild_counts_what_was_not_and_sets_right_what_is_wrong(
    books: StatisticsAudit, cloud: Cloud, clock: Clock
) -> None:
    deliver(keep(*(entry() for _ in range(5)), entry(status=404)))
    late = keep(*(entry(dataset="avis_imposition") for _ in range(120)))
    for name, calls in (("declarants#200", 9), ("declarants#404", None), ("imaginary#200", 4)):
        where = {"pk": statistics.COUNTERS, "sk": f"{TODAY}#{name}"}
        if calls is None:
            cloud.stats.delete_item(Key=where)
        else:
            cloud.stats.put_item(Item=where | {"calls": calls})
    clock.pass_by(301)
    differ = [(one["dataset"], one["counted"], one["audited"]) for one in books.recount().described()["differences"]]
    expected = [("avis_imposition", 0, 120), ("declarants", 9, 5), ("declarants", 0, 1), ("imaginary", 4, 0)]
    assert differ == expected
    assert [(one.key.dataset, one.counted, one.audited) for one in books.rebuild().differences] == expected
    assert [*books.recount().differences] == []
    assert deliver(late) == []  # by the stream, after all
    assert figures()["parJeuDeDonnees"] == {"avis_imposition": 120, "declarants": 5}


def test_a_recount_while_calls_are_counted_finds_nothing_wrong(
    books: StatisticsAudit, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = keep(*(entry() for _ in range(4)))
    deliver(records[:1])
    marked = statistics.counted_ids

    def meanwhile(client: Any, table: str, day: date) -> set[str]:
        deliver(records[1:2] if day < TODAY else records[2:3])
        found = marked(client, table, day)
        deliver(records[3:])
        return found

    clock.pass_by(301)
    monkeypatch.setattr(statistics, "counted_ids", meanwhile)
    found = books.recount()
    assert [*found.differences] == []
    books.rebuild()
    assert figures()["total"] == 4


def test_a_replay_counts_what_the_queue_is_about_and_empties_it(books: StatisticsAudit) -> None:
    sqs, queue = boto3.client("sqs"), books.deployment.outputs["StatisticsFailures"]
    keep(entry(NOW - timedelta(days=13)), entry())
    for _ in range(12):
        sqs.send_message(QueueUrl=queue, MessageBody="{}")
    replayed = books.replay(discard=False)
    assert (replayed.messages, replayed.counted, replayed.kept) == (12, 2, False)
    assert figures()["total"] == 2
    assert books.replay(discard=False).messages == 0


def test_a_replay_keeps_the_messages_until_somebody_has_looked_at_what_is_not_an_entry(
    books: StatisticsAudit, cloud: Cloud
) -> None:
    sqs, queue = boto3.client("sqs"), books.deployment.outputs["StatisticsFailures"]
    keep(entry())
    cloud.audit.put_item(Item={"token_day": "nobody#2026-11-23", "id": "1"})
    sqs.send_message(QueueUrl=queue, MessageBody="{}")
    first, again = books.replay(discard=False), books.replay(discard=True)
    assert (first.counted, first.unreadable, first.kept) == (1, ["nobody#2026-11-23 1"], True)
    assert (again.messages, again.counted, again.kept) == (1, 0, False)
    assert books.replay(discard=False).messages == 0


@pytest.mark.usefixtures("books")
def test_an_entry_is_marked_with_its_day() -> None:
    deliver(keep(entry(datetime(2026, 11, 22, 23, 30, tzinfo=UTC))))
    client = boto3.client("dynamodb")
    assert len(statistics.counted_ids(client, "stats", TODAY)) == 1
    assert statistics.counted_ids(client, "stats", TODAY - timedelta(1)) == set()
    assert CountedCall.of({**(keep(entry())[0]["dynamodb"]["NewImage"])}) is not None
