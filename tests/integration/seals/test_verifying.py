"""Whatever is done to the audit or to its seals, a verification names where."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from uuid6 import UUID

from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import root
from api_particulier.audit.record import RETENTION
from api_particulier.audit.seals import Seal, key_of
from ops import audit
from ops.audit import Period
from tests.support.sealing import BUCKET, Sealing, stream_record, with_mac

pytestmark = pytest.mark.slow

type Entries = list[dict[str, Any]]
EVER = Period()


@pytest.fixture
def entries(sealing: Sealing) -> Entries:
    """Three seals, of 3, 1 and 4 entries."""
    return [entry for times in (3, 1, 4) for entry in sealing.make_sealed_calls(times)]


def findings(sealing: Sealing, period: Period = EVER) -> list[str]:
    return [f"{finding.place}: {finding.what}" for finding in audit.verify(sealing.deployment, period).findings]


def named(entry: dict[str, Any]) -> str:
    return f"entry {entry['token_day']}/{entry['id']}"


def test_untouched_it_passes(sealing: Sealing, entries: Entries) -> None:
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.seals, verified.entries, verified.pending, verified.findings) == (3, len(entries), 0, [])


def test_with_nothing_in_it_it_passes(sealing: Sealing) -> None:
    assert findings(sealing) == []


def test_an_entry_of_the_last_minute_may_be_in_no_seal_yet(sealing: Sealing, entries: Entries) -> None:
    sealing.make_calls(2)
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.entries, verified.pending, verified.findings) == (len(entries) + 2, 2, [])


@pytest.mark.parametrize("at", ["before the list", "after it"])
def test_a_seal_made_meanwhile_is_not_missing(
    sealing: Sealing, entries: Entries, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    listed = audit._stored_seals  # noqa: SLF001 - the moment between two reads, which nothing else tells

    def kept(on: Any) -> Any:
        if at == "before the list":
            sealing.make_sealed_calls(1)
        found = listed(on)
        if at == "after it":
            sealing.make_sealed_calls(1)
        return found

    monkeypatch.setattr(audit, "_stored_seals", kept)
    verified = audit.verify(sealing.deployment, EVER)
    assert (verified.entries, verified.findings) == (len(entries) + 1, [])


# ── Entries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


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
def test_a_changed_entry_is_named(sealing: Sealing, entries: Entries, changes: dict[str, Any]) -> None:
    sealing.cloud.audit.put_item(Item=entries[3] | changes)
    assert findings(sealing) == [f"{named(entries[3])}: it was changed since seal 2"]


def test_a_removed_attribute_is_named(sealing: Sealing, entries: Entries) -> None:
    sealing.cloud.audit.put_item(Item={name: value for name, value in entries[5].items() if name != "address"})
    assert findings(sealing) == [f"{named(entries[5])}: it was changed since seal 3"]


def test_two_swapped_entries_are_named_the_first_first(sealing: Sealing, entries: Entries) -> None:
    one, two = entries[1], entries[6]
    keys = ("token_day", "id")
    sealing.cloud.audit.put_item(Item=two | {name: one[name] for name in keys})
    sealing.cloud.audit.put_item(Item=one | {name: two[name] for name in keys})
    assert findings(sealing) == [
        f"{named(one)}: it was changed since seal 1",
        f"{named(two)}: it was changed since seal 3",
    ]


def test_a_deleted_entry_is_named(sealing: Sealing, entries: Entries) -> None:
    sealing.cloud.audit.delete_item(Key={name: entries[4][name] for name in ("token_day", "id")})
    assert findings(sealing) == [f"{named(entries[4])}: it was deleted since seal 3"]


def backdated(entry: dict[str, Any], by: timedelta) -> dict[str, Any]:
    """Return the like of an entry, as if it had been written before."""
    at = datetime.fromisoformat(entry["at"]) - by
    made = UUID(int=UUID(entry["id"]).int - (int(by.total_seconds() * 1000) << 80))
    token = entry["token_day"].split("#")[0]
    return entry | {
        "id": str(made),
        "at": at.isoformat(timespec="milliseconds"),
        "token_day": f"{token}#{at:%Y-%m-%d}",
        "expires_at": int((at + RETENTION).timestamp()),
    }


@pytest.mark.parametrize("brought_by_the_stream", [True, False])
def test_an_inserted_entry_is_named(sealing: Sealing, entries: Entries, *, brought_by_the_stream: bool) -> None:
    added = backdated(entries[0], timedelta(seconds=90))
    sealing.cloud.audit.put_item(Item=added)
    if brought_by_the_stream:
        late = stream_record(added)
        late["dynamodb"]["ApproximateCreationDateTime"] = int(datetime.now(UTC).timestamp())
        sealing.deliver([late])
    assert findings(sealing) == [f"{named(added)}: it is in no seal: it was added afterwards"]


def test_an_entry_inserted_at_this_moment_is_waited_for_and_named(
    sealing: Sealing, entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    (honest,) = sealing.make_calls(1)
    forged = entries[-1] | {"id": entries[-1]["id"][:-4] + "ffff"}
    sealing.cloud.audit.put_item(Item=forged)

    def meanwhile(_: float) -> None:
        sealing.deliver(map(stream_record, (honest, forged)))
        monkeypatch.setattr(audit, "MAX_SEAL_DELAY", timedelta(0))  # a minute later

    verified = audit.verify_settled(sealing.deployment, EVER, meanwhile)
    assert [f"{one.place}: {one.what}" for one in verified.findings] == [
        f"{named(forged)}: it is in no seal: it was added afterwards"
    ]
    assert (verified.entries, verified.pending) == (len(entries) + 2, 0)


def test_an_inserted_entry_whose_id_is_none_of_ours_is_named(sealing: Sealing, entries: Entries) -> None:
    added = entries[0] | {"id": "ffff"}
    sealing.cloud.audit.put_item(Item=added)
    assert findings(sealing) == [f"{named(added)}: it is in no seal: it was added afterwards"]


def test_an_entry_that_expired_is_not_missed_and_one_that_vanished_before_is(sealing: Sealing) -> None:
    (entry,) = sealing.make_calls(1)
    expired = with_mac(backdated(entry, RETENTION + timedelta(hours=1)))
    vanished = with_mac(backdated(entry, RETENTION - timedelta(hours=1)))
    sealing.deliver([stream_record(expired)])
    assert findings(sealing)[1:] == []  # but for the call that made it
    sealing.deliver([stream_record(entry)])
    assert findings(sealing) == []
    sealing.deliver([stream_record(vanished)])
    assert findings(sealing) == [f"{named(vanished)}: it was deleted since seal 3"]


# ── Seals ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def first(sealing: Sealing) -> str:
    return findings(sealing)[0]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_dropped_seal_is_named(sealing: Sealing, entries: Entries, number: int) -> None:
    assert entries
    sealing.replace_seal(number, None)
    assert first(sealing) == f"seal {number}: it is missing"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_hidden_seal_is_named_and_nothing_else(sealing: Sealing, entries: Entries, number: int) -> None:
    assert entries
    sealing.s3.delete_object(Bucket=BUCKET, Key=key_of(number))  # what Object Lock lets through
    assert findings(sealing) == [f"seal {number}: it was deleted (the version that is locked remains)"]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_seal_written_over_is_named_and_nothing_else(sealing: Sealing, entries: Entries, number: int) -> None:
    assert entries
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
def test_a_forged_seal_is_named(sealing: Sealing, entries: Entries, forge: Callable[[Seal], Seal], what: str) -> None:
    assert entries
    sealing.replace_seal(2, forge(sealing.seals()[1]).to_bytes())
    assert first(sealing) == f"seal 2: {what}"


@pytest.mark.parametrize("written", [b"", b"[]", b"{}", b'{"header":{}}', b"\xff"])
def test_a_seal_that_cannot_be_read_is_named(sealing: Sealing, entries: Entries, written: bytes) -> None:
    assert entries
    sealing.replace_seal(2, written)
    assert first(sealing) == "seal 2: it cannot be read"


def test_two_seals_that_changed_places_are_named(sealing: Sealing, entries: Entries) -> None:
    assert entries
    _, two, three = sealing.seals()
    sealing.replace_seal(2, three.to_bytes())
    sealing.replace_seal(3, two.to_bytes())
    assert findings(sealing)[:2] == [f"seal {number}: another seal is in its place" for number in (2, 3)]


def signed(sealing: Sealing, seal: Seal, **changes: Any) -> bytes:
    """Return a seal as whoever may sign would forge it."""
    from base64 import b64encode

    forged = header(seal, **changes)
    signature = sealing.deployment.kms.sign(
        KeyId=sealing.deployment.outputs["SealKeyId"],
        Message=canonical_json(forged.header),
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    return replace(forged, signature=b64encode(signature).decode()).to_bytes()


def test_a_seal_that_was_signed_again_breaks_the_chain(sealing: Sealing, entries: Entries) -> None:
    assert entries
    sealing.replace_seal(2, signed(sealing, sealing.seals()[1], at=sealing.seals()[0].header["at"]))
    assert findings(sealing) == ["seal 3: it does not follow the seal before it"]


def test_a_first_seal_that_follows_another_is_named(sealing: Sealing, entries: Entries) -> None:
    assert entries
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
def test_a_seal_that_does_not_agree_with_itself_is_named(
    sealing: Sealing, entries: Entries, changes: dict[str, Any], what: str
) -> None:
    assert entries
    sealing.replace_seal(3, signed(sealing, sealing.seals()[2], **changes))
    assert first(sealing) == f"seal 3: {what}"


def test_what_is_no_seal_is_named(sealing: Sealing, entries: Entries) -> None:
    assert entries
    sealing.s3.put_object(Bucket=BUCKET, Key="seals/4.json", Body=b"x")
    assert findings(sealing) == ["bucket: it holds an object that is no seal"]


# ── A period ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_period_is_verified_alone(sealing: Sealing, entries: Entries) -> None:
    sealing.cloud.audit.put_item(Item=entries[3] | {"organisation": "x"})
    now = datetime.now(UTC)
    today = Period(now - timedelta(hours=1), now + timedelta(hours=1))
    assert findings(sealing, today) == [f"{named(entries[3])}: it was changed since seal 2"]
    assert findings(sealing, Period(since=now - timedelta(hours=1))) == findings(sealing, today)
    before = audit.verify(sealing.deployment, Period(now - timedelta(days=9), now - timedelta(days=8)))
    assert (before.seals, before.entries, before.findings) == (0, 0, [])
    after = audit.verify(sealing.deployment, Period(since=now + timedelta(hours=1)))
    assert (after.seals, after.entries, after.findings) == (0, 0, [])


def test_an_entry_sealed_twice_is_what_its_first_seal_says(sealing: Sealing, entries: Entries) -> None:
    first_seal = sealing.seals()[0]
    forged = deepcopy(entries[0]) | {"organisation": "x"}
    sealing.cloud.audit.put_item(Item=forged)
    assert first_seal.entries[0][1] == forged["id"]
    assert findings(sealing) == [f"{named(forged)}: it was changed since seal 1"]
