"""A verification names every change of the audit and of its seals."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from uuid6 import UUID

from api_particulier.audit.bucket import Bucket, Stored
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import root
from api_particulier.audit.record import KEPT_IN_TABLE
from api_particulier.audit.seals import Seal, key_of
from ops import audit
from ops.audit import Period
from tests.support.function import new_environment
from tests.support.sealing import BUCKET, Sealing, stream_record, with_mac

pytestmark = pytest.mark.slow

type Records = list[dict[str, Any]]
EVER = Period()


@pytest.fixture
def records(sealing: Sealing) -> Records:
    """Three seals, of 3, 1 and 4 records."""
    return [record for times in (3, 1, 4) for record in sealing.make_sealed_calls(times)]


def findings(sealing: Sealing, period: Period = EVER) -> list[str]:
    return [f"{finding.place}: {finding.what}" for finding in audit.verify(sealing.deployment, period).findings]


def named(record: dict[str, Any]) -> str:
    return f"entry {record['token_day']}/{record['id']}"


def test_an_unchanged_audit_has_no_finding(sealing: Sealing, records: Records) -> None:
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.seals, verified.entries, verified.pending, verified.findings) == (3, len(records), 0, [])


def test_an_empty_audit_has_no_finding(sealing: Sealing) -> None:
    assert findings(sealing) == []


def test_a_record_of_the_last_minute_is_pending(sealing: Sealing, records: Records) -> None:
    sealing.make_calls(2)
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.entries, verified.pending, verified.findings) == (len(records) + 2, 2, [])


@pytest.mark.parametrize("at", ["before the list", "after it"])
def test_a_seal_made_during_the_verification_is_not_missing(
    sealing: Sealing, records: Records, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    stored = Bucket.stored

    def kept(bucket: Bucket, prefix: str, after: str = "") -> Iterator[Stored]:
        if prefix == "seals/" and at == "before the list":
            sealing.make_sealed_calls(1)
        yield from stored(bucket, prefix, after)
        if prefix == "seals/" and at == "after it":
            sealing.make_sealed_calls(1)

    monkeypatch.setattr(Bucket, "stored", kept)
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.entries, verified.findings) == (len(records) + 1, [])


# ── Records ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "changes",
    [
        {"organisation": "VILLE EXEMPLF"},
        {"status": Decimal(201)},
        {"status": "200"},
        {"withheld": ["x"]},
        {"expires_at": Decimal(1)},
        {"provider": None},
        {"added": "x"},
        {"added": b"x"},
        {"added": Decimal("1.5")},
    ],
)
def test_a_changed_record_is_named(sealing: Sealing, records: Records, changes: dict[str, Any]) -> None:
    sealing.cloud.audit.put_item(Item=records[3] | changes)
    assert findings(sealing) == [f"{named(records[3])}: it was changed since seal 2"]


def test_a_removed_attribute_is_named(sealing: Sealing, records: Records) -> None:
    sealing.cloud.audit.put_item(Item={name: value for name, value in records[5].items() if name != "address"})
    assert findings(sealing) == [f"{named(records[5])}: it was changed since seal 3"]


def test_two_swapped_records_are_named_in_order(sealing: Sealing, records: Records) -> None:
    first_record, second_record = records[1], records[6]
    keys = ("token_day", "id")
    sealing.cloud.audit.put_item(Item=second_record | {name: first_record[name] for name in keys})
    sealing.cloud.audit.put_item(Item=first_record | {name: second_record[name] for name in keys})
    assert findings(sealing) == [
        f"{named(first_record)}: it was changed since seal 1",
        f"{named(second_record)}: it was changed since seal 3",
    ]


def test_a_deleted_record_is_named(sealing: Sealing, records: Records) -> None:
    sealing.cloud.audit.delete_item(Key={name: records[4][name] for name in ("token_day", "id")})
    assert findings(sealing) == [f"{named(records[4])}: it was deleted since seal 3"]


def backdated(record: dict[str, Any], by: timedelta) -> dict[str, Any]:
    """Return a copy of a record with earlier dates."""
    at = datetime.fromisoformat(record["at"]) - by
    made = UUID(int=UUID(record["id"]).int - (int(by.total_seconds() * 1000) << 80))
    token = record["token_day"].split("#")[0]
    return record | {
        "id": str(made),
        "at": at.isoformat(timespec="milliseconds"),
        "token_day": f"{token}#{at:%Y-%m-%d}",
        "expires_at": int((at + KEPT_IN_TABLE).timestamp()),
    }


@pytest.mark.parametrize("delivered", [True, False])
def test_an_inserted_record_is_named(sealing: Sealing, records: Records, *, delivered: bool) -> None:
    added = backdated(records[0], timedelta(seconds=90))
    sealing.cloud.audit.put_item(Item=added)
    if delivered:
        late = stream_record(added)
        late["dynamodb"]["ApproximateCreationDateTime"] = int(datetime.now(UTC).timestamp())
        sealing.deliver([late])
    assert findings(sealing) == [f"{named(added)}: it is forged: it is in no seal, and does not bear our MAC"]


def test_a_record_inserted_just_now_is_named_after_a_minute(
    sealing: Sealing, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    (honest,) = sealing.make_calls(1)
    forged = records[-1] | {"id": records[-1]["id"][:-4] + "ffff"}
    sealing.cloud.audit.put_item(Item=forged)

    def wait(_: float) -> None:
        sealing.deliver(map(stream_record, (honest, forged)))
        monkeypatch.setattr(audit, "MAX_SEAL_DELAY", timedelta(0))  # a minute later

    verified = audit.verify_settled(sealing.deployment, EVER, wait)
    assert [f"{finding.place}: {finding.what}" for finding in verified.findings] == [
        f"{named(forged)}: it is forged: it is in no seal, and does not bear our MAC"
    ]
    assert (verified.entries, verified.pending) == (len(records) + 2, 0)


def test_an_inserted_record_without_a_uuid_is_named(sealing: Sealing, records: Records) -> None:
    added = records[0] | {"id": "ffff"}
    sealing.cloud.audit.put_item(Item=added)
    assert findings(sealing) == [f"{named(added)}: it is forged: it is in no seal, and does not bear our MAC"]


def test_a_record_deleted_before_its_time_is_named_and_one_that_expired_unarchived(sealing: Sealing) -> None:
    (record,) = sealing.make_calls(1)
    expired = with_mac(backdated(record, KEPT_IN_TABLE + timedelta(hours=1)))
    vanished = with_mac(backdated(record, KEPT_IN_TABLE - timedelta(hours=1)))
    day = expired["token_day"][-10:]
    lost = f"archive/{day}/manifest.json: it is missing, and the table let its day go"
    sealing.deliver([stream_record(record), stream_record(expired)])
    assert findings(sealing) == [lost]
    sealing.deliver([stream_record(vanished)])
    assert findings(sealing) == [f"{named(vanished)}: it was deleted since seal 2", lost]


# ── Seals ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def first(sealing: Sealing) -> str:
    return findings(sealing)[0]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_dropped_seal_is_named(sealing: Sealing, records: Records, number: int) -> None:
    assert records
    sealing.replace_seal(number, None)
    assert first(sealing) == f"seal {number}: it is missing"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_hidden_seal_is_named_and_nothing_else(sealing: Sealing, records: Records, number: int) -> None:
    assert records
    sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(number))  # Object Lock allows a delete marker
    assert findings(sealing) == [f"seal {number}: it was deleted (the version that is locked remains)"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_seal_written_over_is_named_and_nothing_else(sealing: Sealing, records: Records, number: int) -> None:
    assert records
    sealing.s3.put_object(Bucket=BUCKET, Key=key_of(number), Body=sealing.seals()[0].to_bytes())
    assert findings(sealing) == [f"seal {number}: it was written again (the version that is locked remains)"]


def header(seal: Seal, **changes: Any) -> Seal:
    return replace(seal, header={**seal.header, **changes})


@pytest.mark.parametrize(
    ("forge", "what"),
    [
        (lambda seal: header(seal, at="2020-01-01T00:00:00.000+00:00"), "the signature is wrong"),
        (lambda seal: header(seal, root="00" * 32), "the signature is wrong"),
        (lambda seal: header(seal, previous="00" * 32), "the signature is wrong"),
        (lambda seal: header(seal, number=3), "another seal is in its place"),
        (lambda seal: header(seal, format="x"), "another seal is in its place"),
        (lambda seal: replace(seal, signature="AAAA"), "the signature is wrong"),
        (lambda seal: replace(seal, signature="é"), "the signature is wrong"),
        (lambda seal: replace(seal, entries=[]), "its list of entries is not the one that was signed"),
        (
            lambda seal: replace(seal, entries=[("x", *seal.entries[0][1:])]),
            "its list of entries is not the one that was signed",
        ),
    ],
)
def test_a_forged_seal_is_named(sealing: Sealing, records: Records, forge: Callable[[Seal], Seal], what: str) -> None:
    assert records
    sealing.replace_seal(2, forge(sealing.seals()[1]).to_bytes())
    assert first(sealing) == f"seal 2: {what}"


@pytest.mark.parametrize("written", [b"", b"[]", b"{}", b'{"header":{}}', b"\xff"])
def test_a_seal_that_cannot_be_read_is_named(sealing: Sealing, records: Records, written: bytes) -> None:
    assert records
    sealing.replace_seal(2, written)
    assert first(sealing) == "seal 2: it cannot be read"


def test_two_seals_that_changed_places_are_named(sealing: Sealing, records: Records) -> None:
    assert records
    _, second, third = sealing.seals()
    sealing.replace_seal(2, third.to_bytes())
    sealing.replace_seal(3, second.to_bytes())
    assert findings(sealing)[:2] == [f"seal {number}: another seal is in its place" for number in (2, 3)]


def signed(sealing: Sealing, seal: Seal, **changes: Any) -> bytes:
    """Return a seal changed and signed again with the real key."""
    from base64 import b64encode

    forged = header(seal, **changes)
    signature = sealing.deployment.kms.sign(
        KeyId=sealing.deployment.outputs["SealKeyId"],
        Message=canonical_json(forged.header),
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    return replace(forged, signature=b64encode(signature).decode()).to_bytes()


def test_a_seal_changed_and_signed_again_breaks_the_chain(sealing: Sealing, records: Records) -> None:
    assert records
    sealing.replace_seal(2, signed(sealing, sealing.seals()[1], at=sealing.seals()[0].header["at"]))
    assert findings(sealing) == ["seal 3: it does not follow the seal before it"]


def test_a_first_seal_that_follows_another_is_named(sealing: Sealing, records: Records) -> None:
    assert records
    sealing.replace_seal(1, signed(sealing, sealing.seals()[0], previous="11" * 32))
    assert first(sealing) == "seal 1: it does not follow the seal before it"


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"root": root(["00" * 32])}, "its root is not the one of its entries"),
        ({"count": 7}, "its list of entries is not the one that was signed"),
        ({"at": "2020-01-01T00:00:00.000+00:00"}, "it is older than the seal before it"),
    ],
)
def test_a_signed_seal_that_contradicts_its_records_is_named(
    sealing: Sealing, records: Records, changes: dict[str, Any], what: str
) -> None:
    assert records
    sealing.replace_seal(3, signed(sealing, sealing.seals()[2], **changes))
    assert first(sealing) == f"seal 3: {what}"


def test_an_object_that_is_no_seal_is_named(sealing: Sealing, records: Records) -> None:
    assert records
    sealing.s3.put_object(Bucket=BUCKET, Key="seals/4.json", Body=b"x")
    assert findings(sealing) == ["bucket: it holds an object that is no seal"]


# ── A period ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_period_is_verified_alone(sealing: Sealing, records: Records) -> None:
    sealing.cloud.audit.put_item(Item=records[3] | {"organisation": "x"})
    now = datetime.now(UTC)
    today = Period(now - timedelta(hours=1), now + timedelta(hours=1))
    assert findings(sealing, today) == [f"{named(records[3])}: it was changed since seal 2"]
    assert findings(sealing, Period(since=now - timedelta(hours=1))) == findings(sealing, today)
    before = audit.verify(sealing.deployment, Period(now - timedelta(days=9), now - timedelta(days=8)))
    assert (before.seals, before.entries, before.findings) == (0, 0, [])
    after = audit.verify(sealing.deployment, Period(since=now + timedelta(hours=1)))
    assert (after.seals, after.entries, after.findings) == (0, 0, [])


def test_a_hidden_seal_still_holds_its_records(sealing: Sealing) -> None:
    (record,) = sealing.make_sealed_calls(1)
    marker = sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(1))
    new_environment()
    changed = with_mac(record | {"organisation": "x"})
    sealing.cloud.audit.put_item(Item=changed)
    sealing.deliver([stream_record(changed)])
    sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(1), VersionId=marker["VersionId"])
    assert [seal.number for seal in sealing.seals()] == [1]
    assert findings(sealing) == [f"{named(record)}: it was changed since seal 1"]


# ── Objects that are no seals, in the way of the chain ───────────────────────────────────────────────────────────────


def test_an_object_that_the_next_seal_names_is_no_finding_and_any_other_is(sealing: Sealing, records: Records) -> None:
    sealing.s3.put_object(Bucket=BUCKET, Key=key_of(4), Body=b"x")
    assert findings(sealing) == ["seal 4: it cannot be read"]
    sealing.make_sealed_calls(1)
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.findings, verified.stepped_over) == ([], [4])
    assert (verified.seals, verified.entries) == (5, len(records) + 1)
    sealing.replace_seal(4, b"y")
    assert findings(sealing) == ["seal 4: it cannot be read"]


def test_a_poisoned_number_of_the_last_seal_is_one_finding(sealing: Sealing, records: Records) -> None:
    assert records
    sealing.cloud.stats.put_item(Item={"pk": "seal", "sk": "counted", "number": 10**15, "hash": "00" * 32})
    assert findings(sealing) == [f"seals 4 to {10**15}: they are missing"]
