"""Entries become seals: each once, in one chain, whatever is brought twice, lost or raced."""

import json
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import uuid4

import hypothesis.strategies as st
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given

from api_particulier.audit import seals
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, proof, root
from api_particulier.audit.seals import GENESIS_HASH, SealFailed, key_of
from api_particulier.aws import dynamodb, kms, s3
from ops.verify_file import root_from
from tests.support.function import new_environment
from tests.support.sealing import BUCKET, EXAMPLE_RECORD, Sealing, example_record, stream_record


def head(sealing: Sealing) -> dict[str, Any]:
    return sealing.cloud.stats.get_item(Key={"pk": "seal", "sk": "head"}).get("Item", {})


def test_a_batch_becomes_a_seal_in_order_of_id(sealing: Sealing) -> None:
    entries = sealing.make_calls(5)
    assert sealing.deliver(map(stream_record, reversed(entries))) == {"batchItemFailures": []}
    (seal,) = sealing.seals()
    assert seal.entries == [(entry["token_day"], entry["id"], leaf(entry)) for entry in entries]
    assert seal.header == {
        "format": "api-particulier/seal/1",
        "number": 1,
        "previous": GENESIS_HASH,
        "at": seal.header["at"],
        "count": 5,
        "root": root([leaf(entry) for entry in entries]),
        "entries": sha256(canonical_json(seal.entries)).hexdigest(),
    }
    assert head(sealing) == {"pk": "seal", "sk": "head", "number": 1, "hash": seal.hash}


def test_the_event_of_the_repository_is_sealed(sealing: Sealing) -> None:
    sealing.deliver([example_record()])
    (seal,) = sealing.seals()
    assert [(token_day, entry) for token_day, entry, _ in seal.entries] == [
        ("jeton-1#2026-11-23", "01a207b4-8200-7000-8000-000000000001")
    ]


def test_each_seal_follows_the_one_before(sealing: Sealing) -> None:
    for _ in range(3):
        sealing.make_sealed_calls(2)
        new_environment()  # another environment
    one, two, three = sealing.seals()
    assert [one.number, two.number, three.number] == [1, 2, 3]
    assert (two.header["previous"], three.header["previous"]) == (one.hash, two.hash)
    assert one.at <= two.at <= three.at


def test_the_lock_of_the_bucket_is_on_every_seal(sealing: Sealing) -> None:
    sealing.make_sealed_calls(1)
    locked = sealing.s3.head_object(Bucket=BUCKET, Key=key_of(1))
    kept = locked["ObjectLockRetainUntilDate"] - locked["LastModified"]
    assert kept >= timedelta(days=37 * 30.4375) - timedelta(minutes=1)


@pytest.mark.parametrize("remembering", [True, False])
def test_what_is_brought_twice_is_sealed_once(sealing: Sealing, *, remembering: bool) -> None:
    entries = sealing.make_sealed_calls(4)
    for again in (entries, entries[1:3], [entries[0], entries[0]]):
        if not remembering:
            new_environment()
        sealing.deliver(map(stream_record, again))
    more = sealing.make_calls(2)
    sealing.deliver(map(stream_record, [*entries, *more]))
    assert [len(seal.entries) for seal in sealing.seals()] == [4, 2]


def test_after_an_outage_a_batch_reads_few_of_the_seals_that_were_just_made(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = sealing.make_calls(24)
    client, read = s3(), list[str]()
    get_object = client.get_object

    def counted(**arguments: Any) -> Any:
        read.append(arguments["Key"])
        return get_object(**arguments)

    monkeypatch.setattr(client, "get_object", counted)
    for start in range(0, len(entries), 2):
        seals._fetch.cache_clear()  # noqa: SLF001 - as when there are more seals than an environment remembers
        read.clear()
        sealing.deliver(map(stream_record, entries[start : start + 2]))
        found = [one for one in read if int(one.removeprefix("seals/").removesuffix(".json")) <= start // 2]
        assert len(found) <= 2
    assert [len(seal.entries) for seal in sealing.seals()] == [2] * 12


def failing_after(client: Any, operation: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Have an operation done, and its answer lost."""
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


@pytest.mark.slow
@pytest.mark.parametrize("fail", [failing_before, failing_after])
@pytest.mark.parametrize(
    ("client", "operation"),
    [(s3, "put_object"), (s3, "get_object"), (kms, "sign"), (dynamodb, "update_item"), (dynamodb, "get_item")],
)
def test_wherever_it_fails_the_batch_brought_again_is_sealed_once(
    sealing: Sealing,
    monkeypatch: pytest.MonkeyPatch,
    client: Callable[[], Any],
    operation: str,
    fail: Callable[..., Callable[[], None]],
) -> None:
    sealing.make_sealed_calls(1)
    entries = sealing.make_calls(3)
    new_environment()
    repair = fail(client(), operation, monkeypatch)
    with pytest.raises(SealFailed) as failed:
        sealing.deliver(map(stream_record, entries))
    assert (str(failed.value), failed.value.__cause__, failed.value.__suppress_context__) == ("", None, True)
    repair()
    sealing.deliver(map(stream_record, entries[:1]))  # a batch is cut in two
    sealing.deliver(map(stream_record, entries[1:]))
    sealing.make_sealed_calls(1)
    places = [entry for seal in sealing.seals() for _, entry, _ in seal.entries]
    assert sorted(places) == [entry["id"] for entry in sealing.cloud.audit_records()]
    found = sealing.seals()
    assert [seal.number for seal in found] == list(range(1, len(found) + 1))
    assert head(sealing)["number"] == len(found)


@pytest.mark.slow
def test_after_an_hour_of_failures_everything_is_sealed_once_and_nothing_is_held_against_it(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    repair = failing_before(s3(), "put_object", monkeypatch)
    for _ in range(60):
        with pytest.raises(SealFailed):
            sealing.deliver(
                [example_record()]
            )  # of the year before: however long it waited, it was written while it was served
    repair()
    sealing.deliver([example_record()])
    assert [len(seal.entries) for seal in sealing.seals()] == [1]
    assert "audit_tampered" not in capfd.readouterr().out


def test_two_environments_that_seal_at_once_make_one_chain(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = sealing.make_calls(2), sealing.make_calls(3)
    sign = kms().sign
    races = iter([theirs])

    def overtaken(**arguments: Any) -> Any:
        for batch in races:
            sealing.deliver(map(stream_record, batch))
        return sign(**arguments)

    monkeypatch.setattr(kms(), "sign", overtaken)
    sealing.deliver(map(stream_record, mine))
    one, two = sealing.seals()
    assert (len(one.entries), len(two.entries)) == (3, 2)
    assert two.header["previous"] == one.hash


def test_two_environments_given_the_same_batch_seal_it_once(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = sealing.make_calls(2)
    sign = kms().sign
    races = iter([entries])

    def overtaken(**arguments: Any) -> Any:
        for batch in races:
            sealing.deliver(map(stream_record, batch))
        return sign(**arguments)

    monkeypatch.setattr(kms(), "sign", overtaken)
    sealing.deliver(map(stream_record, entries))
    assert [len(seal.entries) for seal in sealing.seals()] == [2]


def test_the_chain_goes_on_when_its_head_is_forgotten_or_late(sealing: Sealing) -> None:
    for _ in range(3):
        sealing.make_sealed_calls(1)
    late = head(sealing) | {"number": 1, "hash": sealing.seals()[0].hash}
    sealing.cloud.stats.put_item(Item=late)
    sealing.make_sealed_calls(1)
    sealing.cloud.stats.delete_item(Key={"pk": "seal", "sk": "head"})
    sealing.make_sealed_calls(1)
    assert [seal.number for seal in sealing.seals()] == [1, 2, 3, 4, 5]
    assert head(sealing)["number"] == 5


def test_a_seal_that_somebody_hides_does_not_stop_the_others(sealing: Sealing) -> None:
    sealing.make_sealed_calls(1)
    hash_of_the_first = sealing.seals()[0].hash
    sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(1))
    new_environment()
    sealing.make_sealed_calls(1)
    (two,) = sealing.seals()
    assert (two.number, two.header["previous"]) == (2, hash_of_the_first)


def changed(entry: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return stream_record(entry | changes)


@pytest.mark.parametrize(
    ("how", "make"),
    [
        (
            "late",
            lambda entry: (
                stream_record(entry)
                | {"dynamodb": stream_record(entry)["dynamodb"] | {"ApproximateCreationDateTime": 9**10}}
            ),
        ),
        ("late", lambda entry: changed(entry, token_day="jeton-1#2020-01-01")),
        ("late", lambda entry: changed(entry, id="01000000-0000-7000-8000-000000000001")),
        ("forged", lambda entry: changed(entry, status=201)),
        ("forged", lambda entry: changed(entry, id=entry["id"][:-4] + "ffff")),
        ("forged", lambda entry: stream_record({name: value for name, value in entry.items() if name != "mac"})),
        ("unreadable", lambda entry: changed(entry, id=str(uuid4()))),
        ("unreadable", lambda entry: changed(entry, notes={b"1"})),
        ("unreadable", lambda _: EXAMPLE_RECORD | {"dynamodb": {}}),
        ("changed", lambda entry: stream_record(entry, eventName="MODIFY")),
        ("removed", lambda entry: stream_record(entry, eventName="REMOVE")),
    ],
)
def test_what_no_call_writes_is_not_sealed_and_is_told_of(
    sealing: Sealing,
    capfd: pytest.CaptureFixture[str],
    how: str,
    make: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    odd, *entries = sealing.make_calls(3)
    capfd.readouterr()
    sealing.deliver([make(odd), *map(stream_record, entries)])
    assert [[entry for _, entry, _ in seal.entries] for seal in sealing.seals()] == [[one["id"] for one in entries]]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["outcome"] for line in lines if line.get("event") == "audit_tampered"] == [how]
    assert [line["AuditTampering"] for line in lines if "AuditTampering" in line] == [[1.0]]


def test_an_entry_that_expires_is_no_news(sealing: Sealing, capfd: pytest.CaptureFixture[str]) -> None:
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    sealing.deliver([stream_record(sealing.make_calls(1)[0], eventName="REMOVE", userIdentity=service)])
    assert sealing.seals() == []
    assert "tamper" not in capfd.readouterr().out.lower()


def test_how_long_the_oldest_entry_waited_is_measured(sealing: Sealing, capfd: pytest.CaptureFixture[str]) -> None:
    sealing.deliver([example_record()])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    (measured,) = [line for line in lines if "SealLag" in line]
    (seal,) = sealing.seals()
    began = seals.time_of(seal.entries[0][1])
    assert measured["SealLag"] == [pytest.approx(max(0.0, (seal.at - began).total_seconds()), abs=0.002)]
    assert measured["SealedEntries"] == [1.0]
    (dimensions,) = measured["_aws"]["CloudWatchMetrics"][0]["Dimensions"]
    assert sorted(dimensions) == ["environment", "service"]  # those of the alarm


# ── The tree ─────────────────────────────────────────────────────────────────────────────────────────────────────────

# The vectors that implementations of RFC 6962 share (certificate-transparency, merkle_tree_test).
DATA = [
    *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("count", range(1, 9))
def test_the_tree_is_that_of_rfc_6962(count: int) -> None:
    assert root([sha256(b"\0" + bytes.fromhex(one)).hexdigest() for one in DATA[:count]]) == ROOTS[count - 1]


@given(count=st.integers(1, 70), data=st.data())
def test_a_proof_leads_from_its_leaf_alone_to_the_root(count: int, data: st.DataObject) -> None:
    leaves = [sha256(bytes([number])).hexdigest() for number in range(count)]
    index, other = data.draw(st.integers(0, count - 1)), data.draw(st.integers(0, count - 1))
    path = proof(leaves, index)
    whole = root(leaves)
    assert root_from(bytes.fromhex(leaves[index]), index, count, path) == whole
    assert (root_from(bytes.fromhex(leaves[other]), index, count, path) == whole) is (other == index)
    assert root_from(bytes.fromhex(leaves[index]), index, count, [*path, leaves[0]]) != whole
    if path:
        assert root_from(bytes.fromhex(leaves[index]), index, count, path[:-1]) != whole


@pytest.mark.parametrize("value", [Decimal("1.5"), {"a"}, b"1", [float("nan")]])
def test_what_has_no_canonical_text_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"^this has no canonical text$"):
        canonical_json({"x": value})
