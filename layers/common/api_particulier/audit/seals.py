"""Seals: signed Merkle trees of audit records, chained to each other, in a bucket under Object Lock.

The audit table's stream delivers the records, and each batch becomes a seal, an object of the bucket. There is one
chain: a conditional write makes the object of the next number only if there is none (docs/decisions/0012-seals.md).
What is hashed and signed, byte for byte, is in docs/audit-format.md.

Only a record written while its call was served is sealed. A record that came later than a call lasts, that has no valid
MAC or that cannot be read is in no seal, so that a verification finds it.
"""

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Self

from botocore.exceptions import ClientError
from uuid6 import UUID

from api_particulier.audit import mac
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from api_particulier.aws import dynamodb, kms, s3
from api_particulier.dynamodb import Item, Table, deserialize
from api_particulier.observability import LogEvent, count_seal, count_tampering, log
from api_particulier.settings import settings

FORMAT: Final = "api-particulier/seal/1"
GENESIS_HASH: Final = "0" * 64
"""The ``previous`` of the first seal."""
MAX_SEAL_DELAY: Final = timedelta(seconds=60)
"""The longest time from a record's date to its seal: more than a call lasts and clocks differ."""
_HEAD: Final = {"pk": "seal", "sk": "head"}

type RecordKey = tuple[str, str]
"""The key of a record in the audit table: ``token_day`` and ``id``."""


class SealFailed(Exception):
    """A batch may not be sealed; Lambda delivers it again."""


@dataclass(frozen=True)
class Seal:
    """One object of the bucket: a header, its signature, and the leaves of the header's tree."""

    header: Mapping[str, Any]
    signature: str
    """ECDSA over SHA-256 of the canonical header, DER in base64."""
    entries: Sequence[tuple[str, str, str]]
    """The key and the leaf of each record, in order of id; a leaf is 64 hexadecimal digits."""

    @property
    def number(self) -> int:
        return int(self.header["number"])

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.header["at"])

    @property
    def hash(self) -> str:
        return sha256(canonical_json(self.header)).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the content of the object."""
        return canonical_json({"header": self.header, "signature": self.signature, "entries": self.entries})

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Read the content of an object; raise ``ValueError`` when it is no seal."""
        try:
            parsed = json.loads(content)
            entries = [(str(token_day), str(record_id), str(leaf)) for token_day, record_id, leaf in parsed["entries"]]
            seal = cls(dict(parsed["header"]), str(parsed["signature"]), entries)
            _ = seal.number, seal.at, seal.header["previous"], seal.header["root"]
        except (LookupError, TypeError, ValueError):
            msg = "this is no seal"
            raise ValueError(msg) from None
        return seal


def key_of(number: int) -> str:
    """Return the key of a seal's object."""
    return f"seals/{number:012}.json"


def id_at(moment: datetime) -> str:
    """Return the beginning of the ids made at a moment: a UUIDv7 begins with its milliseconds."""
    digits = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def time_of(record_id: str) -> datetime:
    """Return the time of a record's id; raise ``ValueError`` when the id is not a UUIDv7 (RFC 9562 §5.7)."""
    identifier = UUID(record_id)
    if identifier.version != 7:  # noqa: PLR2004 - UUIDv7
        msg = "not a UUIDv7"
        raise ValueError(msg)
    return datetime.fromtimestamp(identifier.time / 1000, UTC)


# ── Stream records ───────────────────────────────────────────────────────────────────────────────────────────────────


def seal(stream_records: Iterable[Mapping[str, Any]]) -> None:
    """Seal the records of a batch of the audit table's stream, except those that a seal holds already.

    Raise ``SealFailed`` when some may be in no seal. The same batch, or any part of it, can then be delivered again.
    """
    try:
        accepted = [_accept(stream_record) for stream_record in stream_records]
        records = [record for record in accepted if record is not None]
        if records:
            _seal(records)
    except Exception as error:  # noqa: BLE001 - Lambda would log its text
        log(LogEvent.SEAL_FAILED, exception=type(error).__name__)
        raise SealFailed from None


@dataclass(frozen=True)
class _StreamRecord:
    """An audit record that the stream delivers."""

    key: RecordKey
    leaf: str
    at: datetime
    """When its call began."""
    received: datetime
    """When the table received it."""

    @classmethod
    def from_item(cls, item: Item, received: datetime) -> Self:
        """Read an item of the audit table; raise ``ValueError`` or ``LookupError`` when it is no record."""
        key = (str(item["token_day"]), str(item["id"]))
        return cls(key, leaf(item), datetime.fromisoformat(item["at"]), received)

    @property
    def is_on_time(self) -> bool:
        """Whether its two dates are those of its arrival, and its key has its day.

        Raise ``ValueError`` when its id has no time.
        """
        delay = max(abs(self.received - self.at), abs(self.received - time_of(self.key[1])))
        return delay <= MAX_SEAL_DELAY and self.key[0].endswith(f"#{self.at:%Y-%m-%d}")


def _accept(stream_record: Mapping[str, Any]) -> _StreamRecord | None:
    """Return the audit record to seal; report any other change of the table, unless it is an expiry."""
    match stream_record.get("eventName"):
        case "INSERT":
            return _accept_insert(stream_record["dynamodb"])
        case "REMOVE" if stream_record.get("userIdentity", {}).get("principalId") == "dynamodb.amazonaws.com":
            return None  # DynamoDB's time to live
        case "REMOVE":
            report_tampering("removed")
        case _:
            report_tampering("changed")
    return None


def _accept_insert(change: Mapping[str, Any]) -> _StreamRecord | None:
    """Return a record that its call wrote; report any other."""
    try:
        item = deserialize(change["NewImage"])
        received = datetime.fromtimestamp(float(change["ApproximateCreationDateTime"]), UTC)
        record = _StreamRecord.from_item(item, received)
        on_time = record.is_on_time
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        report_tampering("unreadable")
        return None
    if not on_time:
        report_tampering("late")
        return None
    if not mac.verify(item, record.at):
        report_tampering("forged")
        return None
    return record


def report_tampering(kind: str) -> None:
    """Log a change of the audit table that no function makes, and count it for the alarm."""
    log(LogEvent.AUDIT_TAMPERED, outcome=kind)
    count_tampering()


# ── Sealing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _seal(records: Sequence[_StreamRecord]) -> None:
    """Write one seal of the records that no seal holds; start again when another environment takes its number."""
    since = min(record.received for record in records) - MAX_SEAL_DELAY
    ids = {record.key[1] for record in records}
    while True:
        number, previous = _find_last()
        sealed = _find_sealed(since, number, ids)
        new = {record.key: record for record in records if record.key not in sealed}
        if not new:
            return
        made = _make(number + 1, previous, sorted(new.values(), key=lambda record: record.key[::-1]))
        if _put(made):
            _move_head(made)
            oldest = min(record.at for record in new.values())
            count_seal(len(new), max(0, round((made.at - oldest).total_seconds(), 3)))
            log(LogEvent.SEALED, seal=made.number, entries=len(new))
            return
        # The number is taken: by another environment, or by our own write if its response was lost.


def _find_last() -> tuple[int, str]:
    """Return the number and the hash of the last seal, searched from the stored head on."""
    head = _stats_table().get(_HEAD, consistent=True) or {"number": 0, "hash": GENESIS_HASH}
    number, last_hash = head["number"], head["hash"]
    while (following := _find(number + 1)) is not None:
        number, last_hash = following.number, following.hash
    return number, last_hash


def _find_sealed(since: datetime, number: int, ids: set[str]) -> set[RecordKey]:
    """Return the records of the seals up to ``number`` that were made since then and may hold one of these ids.

    After an outage, a backlog of hours is sealed batch by batch: among the seals just made, a batch reads again only
    those with ids of its own time.
    """
    first, last = min(ids), max(ids)
    sealed: set[RecordKey] = set()
    for candidate in range(number, 0, -1):
        span = _find_span(candidate)
        if span is None:  # deleted, as a verification finds; the others are still read
            continue
        if span.at < since:
            break
        if span.first <= last and first <= span.last:
            sealed |= {(token_day, record_id) for token_day, record_id, _ in _fetch(candidate).entries}
    return sealed


def _make(number: int, previous: str, records: Sequence[_StreamRecord]) -> Seal:
    """Return the signed seal of these records."""
    entries = [(*record.key, record.leaf) for record in records]
    header = {
        "format": FORMAT,
        "number": number,
        "previous": previous,
        "at": _date_after(number - 1).isoformat(timespec="milliseconds"),
        "count": len(entries),
        "root": root([record.leaf for record in records]),
        "entries": sha256(canonical_json(entries)).hexdigest(),
    }
    signature = kms().sign(
        KeyId=settings().seal_key_id,
        Message=canonical_json(header),
        MessageType="RAW",
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    return Seal(header, b64encode(signature).decode(), entries)


def _date_after(number: int) -> datetime:
    """Return the present, or a seal's date if it is later: the clocks of two environments differ."""
    now, before = datetime.now(UTC), _find(number)
    return now if before is None else max(now, before.at)


def _put(made: Seal) -> bool:
    """Write a seal; return False when its number is taken."""
    try:
        s3().put_object(
            Bucket=settings().seals_bucket,
            Key=key_of(made.number),
            Body=made.to_bytes(),
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",  # Object Lock requires a checksum
            IfNoneMatch="*",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
            raise
        return False
    return True


def _move_head(made: Seal) -> None:
    """Store the last seal, where the next search begins; a later one is not replaced."""
    _stats_table().update(
        _HEAD,
        "SET #number = :number, #hash = :hash",
        condition="attribute_not_exists(#number) OR #number < :number",
        values={"number": made.number, "hash": made.hash},
    )


def _stats_table() -> Table:
    return Table(dynamodb(), settings().stats_table)


# ── Seals of the bucket, kept in memory since they never change ──────────────────────────────────────────────────────


@lru_cache(maxsize=256)
def _fetch(number: int) -> Seal:
    """Read a seal; raise S3's ``NoSuchKey`` when there is none."""
    stored = s3().get_object(Bucket=settings().seals_bucket, Key=key_of(number))
    return Seal.from_bytes(stored["Body"].read())


@dataclass(frozen=True)
class _Span:
    """The date of a seal, and the first and the last id of its records."""

    at: datetime
    first: str
    last: str


@lru_cache(maxsize=65_536)
def _fetch_span(number: int) -> _Span:
    """Read the span of a seal; raise S3's ``NoSuchKey`` when there is none."""
    fetched = _fetch(number)
    ids = [record_id for _, record_id, _ in fetched.entries]
    return _Span(fetched.at, min(ids), max(ids))


def _find(number: int) -> Seal | None:
    try:
        return _fetch(number)
    except s3().exceptions.NoSuchKey:
        return None


def _find_span(number: int) -> _Span | None:
    try:
        return _fetch_span(number)
    except s3().exceptions.NoSuchKey:
        return None
