"""Audit records become seals: each once, in one chain, despite repeated deliveries, failures and races."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from hashlib import sha256
from importlib import import_module
from typing import Any, override
from uuid import uuid4

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from api_particulier.audit import chain, seals
from api_particulier.audit import sealing as sealing_module
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from api_particulier.audit.sealing import SealFailed
from api_particulier.audit.seals import GENESIS_HASH, key_of
from api_particulier.aws import dynamodb, kms, s3
from tests.support.function import new_environment
from tests.support.sealing import BUCKET, EXAMPLE_RECORD, Sealing, example_record, stream_record, with_mac

pytestmark = pytest.mark.slow


def head(sealing: Sealing) -> dict[str, Any]:
    return sealing.cloud.stats.get_item(Key={"pk": "seal", "sk": "counted"}).get("Item", {})


def test_a_batch_becomes_a_seal_in_order_of_id(sealing: Sealing) -> None:
    records = sealing.make_calls(5)
    assert sealing.deliver(map(stream_record, reversed(records))) == {"batchItemFailures": []}
    (seal,) = sealing.seals()
    assert seal.entries == [(record["token_day"], record["id"], leaf(record)) for record in records]
    assert seal.header == {
        "format": "api-particulier/seal/2",
        "number": 1,
        "previous": GENESIS_HASH,
        "at": seal.header["at"],
        "count": 5,
        "root": root([leaf(record) for record in records]),
        "entries": sha256(canonical_json(seal.entries)).hexdigest(),
        "records": seal.header["records"],
        "counts": {},
    }
    assert head(sealing) == {"pk": "seal", "sk": "counted", "number": 1, "hash": seal.hash}


def test_the_example_event_of_the_repository_is_sealed(sealing: Sealing) -> None:
    sealing.deliver([example_record()])
    (seal,) = sealing.seals()
    assert [(token_day, record_id) for token_day, record_id, _ in seal.entries] == [
        ("jeton-1#2026-11-23", "01a207b4-8200-7000-8000-000000000001")
    ]


def test_each_seal_follows_the_one_before(sealing: Sealing) -> None:
    for _ in range(3):
        sealing.make_sealed_calls(2)
        new_environment()  # another environment
    first, second, third = sealing.seals()
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert (second.header["previous"], third.header["previous"]) == (first.hash, second.hash)
    assert first.at <= second.at <= third.at


def test_every_seal_is_locked_for_37_months(sealing: Sealing) -> None:
    sealing.make_sealed_calls(1)
    locked = sealing.s3.head_object(Bucket=BUCKET, Key=key_of(1))
    kept = locked["ObjectLockRetainUntilDate"] - locked["LastModified"]
    assert kept >= timedelta(days=37 * 30.4375) - timedelta(minutes=1)


def set_clock(monkeypatch: pytest.MonkeyPatch, now: datetime) -> None:
    class SetTime(datetime):
        @classmethod
        @override
        def now(cls, tz: Any = None) -> Any:
            return now.astimezone(tz)

    monkeypatch.setattr(sealing_module, "datetime", SetTime)


def test_a_seal_is_never_older_than_the_one_before(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    sealing.make_sealed_calls(1)
    dated = sealing.seals()[0].at
    new_environment()
    set_clock(monkeypatch, dated - timedelta(hours=1))  # the clock of another environment is late
    sealing.make_sealed_calls(1)
    set_clock(monkeypatch, dated + timedelta(hours=1))
    sealing.make_sealed_calls(1)
    assert [seal.at for seal in sealing.seals()] == [dated, dated, dated + timedelta(hours=1)]


def test_a_batch_is_compared_with_the_seals_since_its_first_record(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = sealing.make_calls(1)
    set_clock(monkeypatch, datetime.fromisoformat(record["at"]) - timedelta(seconds=30))
    sealing.deliver([stream_record(record)])
    (other,) = sealing.make_calls(1)
    late = stream_record(other)
    late["dynamodb"]["ApproximateCreationDateTime"] += 45
    sealing.deliver([stream_record(record), late])
    assert [[record_id for _, record_id, _ in seal.entries] for seal in sealing.seals()] == [
        [record["id"]],
        [other["id"]],
    ]


@pytest.mark.parametrize("seconds", [50, -50])
def test_a_record_dated_within_a_minute_of_its_arrival_is_sealed(sealing: Sealing, seconds: int) -> None:
    (record,) = sealing.make_calls(1)
    sealing.deliver([dated(record, seconds)])
    assert [len(seal.entries) for seal in sealing.seals()] == [1]


@pytest.mark.parametrize("same_environment", [True, False])
def test_a_record_delivered_twice_is_sealed_once(sealing: Sealing, *, same_environment: bool) -> None:
    records = sealing.make_sealed_calls(4)
    for again in (records, records[1:3], [records[0], records[0]], records[-1:]):
        if not same_environment:
            new_environment()
        sealing.deliver(map(stream_record, again))
    more = sealing.make_calls(2)
    sealing.deliver(map(stream_record, [*records, *more]))
    assert [len(seal.entries) for seal in sealing.seals()] == [4, 2]


def test_after_an_outage_a_batch_reads_few_of_the_recent_seals(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = sealing.make_calls(24)
    client, read = s3(), list[str]()
    get_object = client.get_object

    def counted(**arguments: Any) -> Any:
        read.append(arguments["Key"])
        return get_object(**arguments)

    monkeypatch.setattr(client, "get_object", counted)
    for start in range(0, len(records), 2):
        chain._memory().seals.clear()  # noqa: SLF001 - as with more seals than an environment keeps in memory
        read.clear()
        sealing.deliver(map(stream_record, records[start : start + 2]))
        found = [key for key in read if int(key.removeprefix("seals/").removesuffix(".json")) <= start // 2]
        assert len(found) <= 2
    assert [len(seal.entries) for seal in sealing.seals()] == [2] * 12


def failing_after(client: Any, operation: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have an operation succeed, and its response lost."""
    done = getattr(client, operation)

    def lost(**arguments: Any) -> None:
        done(**arguments)
        raise EndpointConnectionError(endpoint_url="https://somewhere.exemple.fr")

    monkeypatch.setattr(client, operation, lost)
    return lambda: monkeypatch.setattr(client, operation, done)


def failing_before(client: Any, operation: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    done = getattr(client, operation)

    def failing(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "InternalError", "Message": "jeton-1"}}, operation)

    monkeypatch.setattr(client, operation, failing)
    return lambda: monkeypatch.setattr(client, operation, done)


@pytest.mark.parametrize("fail", [failing_before, failing_after])
@pytest.mark.parametrize(
    ("client", "operation"),
    [(s3, "put_object"), (s3, "get_object"), (kms, "sign"), (kms, "verify")],
)
def test_a_batch_delivered_again_after_a_failure_is_sealed_once(
    sealing: Sealing,
    monkeypatch: pytest.MonkeyPatch,
    client: Callable[[], Any],
    operation: str,
    fail: Callable[..., Callable[[], None]],
) -> None:
    sealing.make_sealed_calls(1)
    records = sealing.make_calls(3)
    new_environment()
    repair = fail(client(), operation, monkeypatch)
    with pytest.raises(SealFailed) as failed:
        sealing.deliver(map(stream_record, records))
    assert (str(failed.value), failed.value.__cause__, failed.value.__suppress_context__) == ("", None, True)
    repair()
    sealing.deliver(map(stream_record, records[:1]))  # a batch is cut in two
    sealing.deliver(map(stream_record, records[1:]))
    sealing.make_sealed_calls(1)
    ids = [record_id for seal in sealing.seals() for _, record_id, _ in seal.entries]
    assert sorted(ids) == [record["id"] for record in sealing.cloud.audit_records()]
    found = sealing.seals()
    assert [seal.number for seal in found] == list(range(1, len(found) + 1))
    assert head(sealing)["number"] == len(found)


@pytest.mark.parametrize("fail", [failing_before, failing_after])
@pytest.mark.parametrize("operation", ["transact_write_items", "get_item"])
def test_without_the_statistics_sealing_goes_on_and_the_next_batch_counts(
    sealing: Sealing,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    operation: str,
    fail: Callable[..., Callable[[], None]],
) -> None:
    sealing.make_sealed_calls(1)
    records = sealing.make_calls(3)
    new_environment()
    repair = fail(dynamodb(), operation, monkeypatch)
    sealing.deliver(map(stream_record, records))
    repair()
    assert '"event":"not_counted"' in capfd.readouterr().out
    assert [seal.number for seal in sealing.seals()] == [1, 2]
    sealing.make_sealed_calls(1)
    assert head(sealing)["number"] == 3


def test_records_that_waited_an_hour_of_failures_are_sealed_without_an_alarm(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    repair = failing_before(s3(), "put_object", monkeypatch)
    for _ in range(60):
        with pytest.raises(SealFailed):
            sealing.deliver([example_record()])  # received within seconds of its date, however long it then waited
    repair()
    sealing.deliver([example_record()])
    assert [len(seal.entries) for seal in sealing.seals()] == [1]
    assert "audit_tampered" not in capfd.readouterr().out


def test_two_environments_at_the_same_time_make_one_chain(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = sealing.make_calls(2), sealing.make_calls(3)
    sign = kms().sign
    races = iter([theirs])

    def overtaken(**arguments: Any) -> Any:
        for batch in races:
            sealing.deliver(map(stream_record, batch))
        return sign(**arguments)

    monkeypatch.setattr(kms(), "sign", overtaken)
    sealing.deliver(map(stream_record, mine))
    first, second = sealing.seals()
    assert (len(first.entries), len(second.entries)) == (3, 2)
    assert second.header["previous"] == first.hash


def test_two_environments_with_the_same_batch_seal_it_once(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    records = sealing.make_calls(2)
    sign = kms().sign
    races = iter([records])

    def overtaken(**arguments: Any) -> Any:
        for batch in races:
            sealing.deliver(map(stream_record, batch))
        return sign(**arguments)

    monkeypatch.setattr(kms(), "sign", overtaken)
    sealing.deliver(map(stream_record, records))
    assert [len(seal.entries) for seal in sealing.seals()] == [2]


def test_the_chain_goes_on_after_its_head_is_lost_or_late(sealing: Sealing) -> None:
    for _ in range(3):
        sealing.make_sealed_calls(1)
    late = head(sealing) | {"number": 1, "hash": sealing.seals()[0].hash}
    sealing.cloud.stats.put_item(Item=late)
    sealing.make_sealed_calls(1)
    sealing.cloud.stats.delete_item(Key={"pk": "seal", "sk": "counted"})
    sealing.make_sealed_calls(1)
    assert [seal.number for seal in sealing.seals()] == [1, 2, 3, 4, 5]
    assert head(sealing)["number"] == 5


def test_a_deleted_seal_does_not_stop_the_others(sealing: Sealing) -> None:
    sealing.make_sealed_calls(1)
    hash_of_the_first = sealing.seals()[0].hash
    sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(1))
    new_environment()
    sealing.make_sealed_calls(1)
    (second,) = sealing.seals()
    assert (second.number, second.header["previous"]) == (2, hash_of_the_first)


def changed(record: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return stream_record(record | changes)


def dated(record: dict[str, Any], seconds: int) -> dict[str, Any]:
    """Return the stream record of a valid record dated some seconds after its arrival."""
    late = stream_record(record)
    at = datetime.fromisoformat(record["at"]) + timedelta(seconds=seconds)
    item = with_mac(record | {"at": at.isoformat(timespec="milliseconds"), "token_day": f"jeton-1#{at:%Y-%m-%d}"})
    return stream_record(item) | {
        "dynamodb": stream_record(item)["dynamodb"]
        | {"ApproximateCreationDateTime": late["dynamodb"]["ApproximateCreationDateTime"]}
    }


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (
            "late",
            lambda record: (
                stream_record(record)
                | {"dynamodb": stream_record(record)["dynamodb"] | {"ApproximateCreationDateTime": 9**10}}
            ),
        ),
        ("late", lambda record: changed(record, token_day="jeton-1#2020-01-01")),
        ("late", lambda record: changed(record, id="01000000-0000-7000-8000-000000000001")),
        ("late", lambda record: changed(record, id="0fffffff-0000-7000-8000-000000000001")),
        ("late", lambda record: dated(record, 70)),
        ("late", lambda record: dated(record, -70)),
        ("forged", lambda record: changed(record, status=201)),
        ("forged", lambda record: changed(record, id=record["id"][:-4] + "ffff")),
        ("forged", lambda record: stream_record({name: value for name, value in record.items() if name != "mac"})),
        ("unreadable", lambda record: changed(record, id=str(uuid4()))),
        ("unreadable", lambda record: changed(record, notes={b"1"})),
        ("unreadable", lambda _: EXAMPLE_RECORD | {"dynamodb": {}}),
        ("changed", lambda record: stream_record(record, eventName="MODIFY")),
        ("removed", lambda record: stream_record(record, eventName="REMOVE")),
    ],
)
def test_a_change_that_no_call_makes_is_reported_and_not_sealed(
    sealing: Sealing,
    capfd: pytest.CaptureFixture[str],
    kind: str,
    make: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    odd, *records = sealing.make_calls(3)
    capfd.readouterr()
    sealing.deliver([make(odd), *map(stream_record, records)])
    sealed = [[record_id for _, record_id, _ in seal.entries] for seal in sealing.seals()]
    assert sealed == [[record["id"] for record in records]]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["outcome"] for line in lines if line.get("event") == "audit_tampered"] == [kind]
    assert [line["AuditTampering"] for line in lines if "AuditTampering" in line] == [[1.0]]


def test_an_expired_record_is_not_reported(sealing: Sealing, capfd: pytest.CaptureFixture[str]) -> None:
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    sealing.deliver([stream_record(sealing.make_calls(1)[0], eventName="REMOVE", userIdentity=service)])
    assert sealing.seals() == []
    assert "tamper" not in capfd.readouterr().out.lower()


def test_the_wait_of_the_oldest_record_is_measured(sealing: Sealing, capfd: pytest.CaptureFixture[str]) -> None:
    sealing.deliver([*map(stream_record, sealing.make_calls(1)), example_record()])  # the example is older
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (measured,) = [line for line in lines if "SealLag" in line]
    (seal,) = sealing.seals()
    began = seals.time_of(seal.entries[0][1])
    assert measured["SealLag"] == [pytest.approx((seal.at - began).total_seconds(), abs=0.002)]
    (dimensions,) = measured["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert sorted(dimensions) == ["environment", "service"]  # those of the alarm


def test_the_heartbeat_of_a_minute_is_sealed_measured_and_no_call(
    sealing: Sealing, capfd: pytest.CaptureFixture[str]
) -> None:
    import_module("functions.audit_heartbeat.app").lambda_handler({}, None)
    (record,) = sealing.cloud.audit_records()
    assert record["kind"] == record["dataset"] == "heartbeat"
    assert not record.keys() & {"token", "citizen", "address", "status"}
    sealing.deliver([stream_record(record)])
    (seal,) = sealing.seals()
    assert seal.header["counts"] == {}
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    for metric in ("HeartbeatsSealed", "SealsCounted"):  # what the alarms miss when they ring
        assert [line[metric] for line in lines if metric in line] == [[1]]
    assert not [line for line in lines if line.get("event") == "audit_tampered"]
