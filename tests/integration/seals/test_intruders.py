"""What an intruder writes in the statistics table or in the bucket neither stops the sealing nor leads it astray."""

import importlib
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
import time_machine

from api_particulier import aws
from api_particulier.audit import chain
from api_particulier.audit import sealing as sealing_module
from api_particulier.audit.seals import GENESIS_HASH, Seal, key_of
from tests.support.audit_cloud import AuditCloud
from tests.support.function import new_environment
from tests.support.sealing import BUCKET, Sealing, example_record, stream_record

pytestmark = pytest.mark.slow


def poison(sealing: Sealing, number: object, last_hash: object = "00" * 32) -> None:
    sealing.cloud.stats.put_item(Item={"pk": "seal", "sk": "counted", "number": number, "hash": last_hash})  # type: ignore[dict-item]  # an intruder writes anything


def intrude(sealing: Sealing, number: int, content: bytes) -> dict[str, Any]:
    """Write an object in the place of a seal, and return how the next seal names it."""
    sealing.s3.put_object(Bucket=BUCKET, Key=key_of(number), Body=content)
    return {"number": number, "sha256": sha256(content).hexdigest()}


def reported(capfd: pytest.CaptureFixture[str]) -> list[str]:
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    return [line["outcome"] for line in lines if line.get("event") == "audit_tampered"]


@pytest.mark.parametrize("cold", [True, False])
@pytest.mark.parametrize("number", [5000, 10**30, 0, -4, 2, "2", True, None])
def test_a_poisoned_number_makes_no_other_seal(sealing: Sealing, number: object, *, cold: bool) -> None:
    for _ in range(2):
        sealing.make_sealed_calls(1)
    poison(sealing, number)
    if cold:
        new_environment()
    sealing.make_sealed_calls(1)
    first, second, third = sealing.seals()
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert third.header["previous"] == second.hash
    assert "skipped" not in third.header


def test_a_number_set_back_makes_no_fork(sealing: Sealing) -> None:
    for _ in range(4):
        sealing.make_sealed_calls(1)
    poison(sealing, 1, sealing.seals()[0].hash)
    new_environment()
    sealing.make_sealed_calls(1)
    found = sealing.seals()
    assert [seal.number for seal in found] == [1, 2, 3, 4, 5]
    assert found[4].header["previous"] == found[3].hash


GARBAGE = {
    "nothing": b"",
    "text": b"x",
    "not UTF-8": b"\xff\xfe",
    "deep": b"[" * 100_000,
    "no header": b'{"header": {}, "signature": "", "entries": []}',
    "endless number": b'{"header": {"number": 1e400}, "signature": "", "entries": []}',
    "a list": b"[]",
}


@pytest.mark.parametrize("cold", [True, False])
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_foreign_object_is_reported_named_and_stepped_over(
    sealing: Sealing, capfd: pytest.CaptureFixture[str], content: bytes, *, cold: bool
) -> None:
    sealing.make_sealed_calls(1)
    step = intrude(sealing, 2, content)
    if cold:
        new_environment()
    capfd.readouterr()
    sealing.make_sealed_calls(1)
    assert reported(capfd) == ["foreign_seal"]
    first, third = (Seal.from_bytes(sealing.s3.get_object(Bucket=BUCKET, Key=key_of(n))["Body"].read()) for n in (1, 3))
    assert (third.header["previous"], third.header["skipped"]) == (first.hash, [step])
    sealing.make_sealed_calls(1)
    assert reported(capfd) == []
    fourth = Seal.from_bytes(sealing.s3.get_object(Bucket=BUCKET, Key=key_of(4))["Body"].read())
    assert (fourth.header["previous"], "skipped" in fourth.header) == (third.hash, False)


def test_the_first_seal_steps_over_too(sealing: Sealing) -> None:
    steps = [intrude(sealing, 1, b"x"), intrude(sealing, 2, b"y")]
    sealing.make_sealed_calls(1)
    seal = Seal.from_bytes(sealing.s3.get_object(Bucket=BUCKET, Key=key_of(3))["Body"].read())
    assert (seal.header["previous"], seal.header["skipped"]) == (GENESIS_HASH, steps)


@pytest.mark.parametrize(("function", "done"), [("audit_archive", "archived"), ("audit_verification", "verified")])
def test_an_object_in_the_place_of_the_first_seal_stops_no_night(
    sealing: Sealing, capfd: pytest.CaptureFixture[str], function: str, done: str
) -> None:
    intrude(sealing, 1, b"x")
    sealing.make_sealed_calls(1)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1), tick=True):
        importlib.import_module(f"functions.{function}.app").lambda_handler({}, None)
    events = [json.loads(line).get("event") for line in capfd.readouterr().out.splitlines()]
    assert events.count(done) == 1


@pytest.mark.parametrize(
    "key", ["seals/999999999999.json", "seals/x.json", "seals/000000000009", "other/000000000002.json"]
)
def test_an_object_elsewhere_is_in_nothings_way(sealing: Sealing, key: str) -> None:
    sealing.make_sealed_calls(1)
    sealing.s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    new_environment()
    sealing.make_sealed_calls(1)
    second = Seal.from_bytes(sealing.s3.get_object(Bucket=BUCKET, Key=key_of(2))["Body"].read())
    assert "skipped" not in second.header


def test_a_forged_seal_holds_nothing(sealing: Sealing) -> None:
    sealing.make_sealed_calls(1)
    (first,) = sealing.seals()
    records = sealing.make_calls(2)
    entries = [(record["token_day"], record["id"], "00" * 32) for record in records]
    forged = replace(first, header={**first.header, "number": 2, "previous": first.hash}, entries=entries)
    steps = [intrude(sealing, 2, forged.to_bytes()), intrude(sealing, 3, first.to_bytes())]
    new_environment()
    sealing.deliver(map(stream_record, records))
    fourth = Seal.from_bytes(sealing.s3.get_object(Bucket=BUCKET, Key=key_of(4))["Body"].read())
    assert [record_id for _, record_id, _ in fourth.entries] == [record["id"] for record in records]
    assert fourth.header["skipped"] == steps
    assert sealing.cloud.stats.get_item(Key={"pk": "seal", "sk": "counted"})["Item"]["number"] == 4


@pytest.mark.parametrize("hide", [True, False])
def test_a_last_seal_that_is_hidden_or_written_over_stays_the_last(
    sealing: Sealing, capfd: pytest.CaptureFixture[str], *, hide: bool
) -> None:
    for _ in range(2):
        sealing.make_sealed_calls(1)
    last = sealing.seals()[1]
    if hide:
        sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(2))
    else:
        intrude(sealing, 2, b"x")
    new_environment()
    capfd.readouterr()
    sealing.make_sealed_calls(1)
    assert set(reported(capfd)) == {"hidden_seal"}
    third = Seal.from_bytes(sealing.s3.get_object(Bucket=BUCKET, Key=key_of(3))["Body"].read())
    assert (third.header["previous"], "skipped" in third.header) == (last.hash, False)


@pytest.mark.parametrize("seed", range(20))
def test_the_end_of_any_chain_is_found(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Seals and foreign objects in any order, in pages of three objects, and an environment that knows nothing."""
    chance, cloud = random.Random(seed), AuditCloud(page=3)  # noqa: S311 - a test's
    for module, names in ((chain, ("s3", "kms")), (sealing_module, ("dynamodb",)), (aws, ("kms",))):
        for name in names:
            monkeypatch.setattr(module, name, lambda: cloud)
    last, number, waiting = None, 1, 0
    for _ in range(chance.randrange(1, 60)):
        if chance.random() < 0.3:
            cloud.objects[key_of(number)] = b"x"
            waiting += 1
        else:
            new_environment()
            record = example_record()
            record["dynamodb"]["NewImage"]["id"]["S"] = f"01a207b4-8200-7000-8000-{number:012x}"
            sealing_module.seal([signed(record)])
            last, waiting = number, 0
        number += 1
    cloud.objects[key_of(number + chance.randrange(1, 10**11))] = b"far"
    new_environment()
    place = chain.search(None)
    assert (place.last.number if place.last else None, len(place.skipped), place.number) == (last, waiting, number)


def signed(record: dict[str, Any]) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeDeserializer

    from tests.support.sealing import with_mac

    image = record["dynamodb"]["NewImage"]
    return stream_record(with_mac({name: TypeDeserializer().deserialize(value) for name, value in image.items()}))
