"""Seals: the audit's entries, in signed Merkle trees chained to each other, where nobody can write them again.

The audit table's stream brings the entries; each batch becomes a seal, an object of a bucket under Object Lock. There
is one chain: the object of the next number is written only where there is none, and that is the one step that counts
(docs/decisions/0012-seals.md). What is hashed and signed, byte for byte, is in docs/audit-format.md.

Only what a call wrote while it was served is sealed. An entry that came later than any call lasts, that bears no mark
of a function of ours (``authorship``), or that cannot be read, stays in no seal, which is how a verification names it.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from api_particulier.audit import mac
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from api_particulier.aws import dynamodb, kms, s3
from api_particulier.observability import LogEvent, count_seal, count_tampering, log
from api_particulier.settings import settings

FORMAT: Final = "api-particulier/seal/1"
GENESIS_HASH: Final = "0" * 64
"""What the first seal calls the hash of the one before."""
MAX_SEAL_DELAY: Final = timedelta(seconds=60)
"""The longest that an entry may be in the table and in no seal; more than a call and the clocks' differences last."""

type Item = Mapping[str, Any]
"""An entry as ``TypeDeserializer`` reads it."""
type RecordKey = tuple[str, str]
"""Where an entry is in the table: ``token_day`` and ``id``."""


class SealFailed(Exception):
    """A batch was not sealed; Lambda brings it again."""


@dataclass(frozen=True)
class Seal:
    """One object of the bucket: the header, its signature, and the leaves of the tree that the header is about."""

    header: Mapping[str, Any]
    signature: str
    """ECDSA over SHA-256 of the canonical header, DER in base64."""
    entries: Sequence[tuple[str, str, str]]
    """Of each entry, in order of id: its place and its leaf, 64 hexadecimal digits."""

    @property
    def number(self) -> int:
        return int(self.header["number"])

    @property
    def at(self) -> datetime:
        return datetime.fromisoformat(self.header["at"])

    @property
    def hash(self) -> str:
        return sha256(canonical_json(self.header)).hexdigest()

    def written(self) -> bytes:
        """Return the object's bytes."""
        return canonical_json({"header": self.header, "signature": self.signature, "entries": self.entries})

    @classmethod
    def read(cls, written: bytes) -> "Seal":
        """Read an object; ``ValueError`` for what is none."""
        try:
            read = json.loads(written)
            entries = [(str(token_day), str(entry), str(leaf)) for token_day, entry, leaf in read["entries"]]
            seal = cls(dict(read["header"]), str(read["signature"]), entries)
            _ = seal.number, seal.at, seal.header["previous"], seal.header["root"]
        except (LookupError, TypeError, ValueError):
            msg = "this is no seal"
            raise ValueError(msg) from None
        return seal


def key_of(number: int) -> str:
    """Return the name of a seal's object."""
    return f"seals/{number:012}.json"


# ── Sealing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def seal(records: Iterable[Mapping[str, Any]]) -> None:
    """Seal the entries that a batch of the audit table's stream brings, but for those that are in a seal already.

    ``SealFailed`` when they may not be in one; the same batch, or any part of it, is then brought again.
    """
    try:
        arrived = [one for record in records if (one := _arrival(record)) is not None]
        if arrived:
            _seal(arrived)
    except Exception as error:  # noqa: BLE001 - Lambda would log its text
        log(LogEvent.SEAL_FAILED, exception=type(error).__name__)
        raise SealFailed from None


@dataclass(frozen=True)
class _StreamRecord:
    """An entry that has come to the table."""

    place: RecordKey
    leaf: str
    at: datetime
    """When the call began."""
    came: datetime
    """When the table got it."""


def _arrival(record: Mapping[str, Any]) -> _StreamRecord | None:
    """Read a record; None for one that is not about an entry that a call wrote."""
    match record.get("eventName"):
        case "INSERT":
            return _written(record["dynamodb"])
        case "REMOVE" if record.get("userIdentity", {}).get("principalId") == "dynamodb.amazonaws.com":
            return None  # by its time to live
        case "REMOVE":
            _tampered("removed")
        case _:
            _tampered("changed")
    return None


def _written(change: Mapping[str, Any]) -> _StreamRecord | None:
    try:
        deserialize = TypeDeserializer().deserialize
        item = {name: deserialize(value) for name, value in change["NewImage"].items()}
        arrival = _StreamRecord(
            place=(str(item["token_day"]), str(item["id"])),
            leaf=leaf(item),
            at=datetime.fromisoformat(item["at"]),
            came=datetime.fromtimestamp(float(change["ApproximateCreationDateTime"]), UTC),
        )
        in_time = max(abs(arrival.came - arrival.at), abs(arrival.came - time_of(arrival.place[1]))) <= MAX_SEAL_DELAY
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        _tampered("unreadable")
        return None
    if not in_time or not arrival.place[0].endswith(f"#{arrival.at:%Y-%m-%d}"):
        _tampered("late")
        return None
    if not mac.verify(item, arrival.at):
        _tampered("forged")
        return None
    return arrival


def time_of(entry: str) -> datetime:
    """Return the time that is in an entry's id; ``ValueError`` when it is no UUIDv7."""
    read = UUID(entry)
    if read.version != 7:  # noqa: PLR2004 - RFC 9562 §5.7
        msg = "not a UUIDv7"
        raise ValueError(msg)
    return datetime.fromtimestamp((read.int >> 80) / 1000, UTC)


def _tampered(how: str) -> None:
    log(LogEvent.AUDIT_TAMPERED, outcome=how)
    count_tampering()


def _seal(arrived: Sequence[_StreamRecord]) -> None:
    since = min(one.came for one in arrived) - MAX_SEAL_DELAY
    while True:
        number, previous = _last()
        sealed = _sealed_since(since, number, {one.place[1] for one in arrived})
        fresh = {one.place: one for one in arrived if one.place not in sealed}
        if not fresh:
            return
        made = _make(number + 1, previous, sorted(fresh.values(), key=lambda one: one.place[::-1]))
        if _put(made):
            _move_head(made)
            oldest = min(one.at for one in fresh.values())
            count_seal(len(fresh), max(0, round((made.at - oldest).total_seconds(), 3)))
            log(LogEvent.SEALED, seal=made.number, entries=len(fresh))
            return
        # Another environment took the number, or our own write did whose answer was lost: look again.


def _last() -> tuple[int, str]:
    """Return the number and the hash of the last seal: from where the head was left, as far as there are seals."""
    head = dynamodb().get_item(TableName=settings().stats_table, Key=_HEAD, ConsistentRead=True).get("Item")
    number, last = (int(head["number"]["N"]), head["hash"]["S"]) if head else (0, GENESIS_HASH)
    while (following := _find(number + 1)) is not None:
        number, last = following.number, following.hash
    return number, last


def _sealed_since(since: datetime, number: int, ids: set[str]) -> set[RecordKey]:
    """Return what is in the seals up to ``number`` that were made since then and may hold one of these ids.

    After an outage, what waited for hours is sealed batch by batch: of the seals just made, a batch reads again only
    those whose ids are of its own time.
    """
    first, last = min(ids), max(ids)
    sealed: set[RecordKey] = set()
    while number > 0:
        span = _find_span(number)
        if span is not None:  # one that somebody hid does not stop the others; a verification names it
            if span.at < since:
                break
            if span.first <= last and first <= span.last:
                sealed |= {(token_day, entry) for token_day, entry, _ in _read(number).entries}
        number -= 1
    return sealed


def _make(number: int, previous: str, arrived: Sequence[_StreamRecord]) -> Seal:
    entries = [(*one.place, one.leaf) for one in arrived]
    now = datetime.now(UTC)
    before = _find(number - 1)
    if before is not None:  # time goes one way along the chain, whatever the clocks of two environments
        now = max(now, before.at)
    header = {
        "format": FORMAT,
        "number": number,
        "previous": previous,
        "at": now.isoformat(timespec="milliseconds"),
        "count": len(entries),
        "root": root([one.leaf for one in arrived]),
        "entries": sha256(canonical_json(entries)).hexdigest(),
    }
    signature = kms().sign(
        KeyId=settings().seal_key_id,
        Message=canonical_json(header),
        MessageType="RAW",
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    return Seal(header, b64encode(signature).decode(), entries)


def _put(made: Seal) -> bool:
    """Write a seal where there is none; False when there is one."""
    try:
        s3().put_object(
            Bucket=settings().seals_bucket,
            Key=key_of(made.number),
            Body=made.written(),
            ContentType="application/json",
            ChecksumAlgorithm="SHA256",  # which Object Lock asks for
            IfNoneMatch="*",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
            raise
        return False
    return True


@lru_cache(maxsize=256)
def _read(number: int) -> Seal:
    return Seal.read(s3().get_object(Bucket=settings().seals_bucket, Key=key_of(number))["Body"].read())


@dataclass(frozen=True)
class _Span:
    """When a seal was made, and of which time its entries are."""

    at: datetime
    first: str
    last: str


@lru_cache(maxsize=65_536)
def _span(number: int) -> _Span:
    one = _read(number)
    ids = [entry for _, entry, _ in one.entries]
    return _Span(one.at, min(ids), max(ids))


def _find(number: int) -> Seal | None:
    """Return a seal, which an environment remembers since it never changes; None while there is none."""
    return _unless_missing(_read, number)


def _find_span(number: int) -> _Span | None:
    return _unless_missing(_span, number)


def _unless_missing[T](read: Callable[[int], T], number: int) -> T | None:
    try:
        return read(number)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None


_HEAD: Final = {"pk": {"S": "seal"}, "sk": {"S": "head"}}


def _move_head(made: Seal) -> None:
    """Leave word of how far the chain goes; a hint, that who is late does not take back."""
    try:
        dynamodb().update_item(
            TableName=settings().stats_table,
            Key=_HEAD,
            UpdateExpression="SET #number = :number, #hash = :hash",
            ConditionExpression="attribute_not_exists(#number) OR #number < :number",
            ExpressionAttributeNames={"#number": "number", "#hash": "hash"},
            ExpressionAttributeValues={":number": {"N": str(made.number)}, ":hash": {"S": made.hash}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
