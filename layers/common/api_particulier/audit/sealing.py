"""The one consumer of the audit table's stream: each batch becomes a seal, and the seals are counted.

In this order: the records themselves, an object of the bucket; their seal, the one step that counts; one transaction
of the statistics table, which adds the counts of the next seals and moves the number of the last seal counted. Each
step can be repeated, so a batch may come twice, in parts, or beside others, and what a crash leaves is finished by the
next batch (docs/decisions/0038-one-consumer.md).

Only a record written while its call was served is sealed. A record that came later than a call lasts, that has no valid
MAC or that cannot be read is in no seal, so that a verification finds it.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import uniform
from time import monotonic, sleep
from typing import Any, Final, Self

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit import chain, mac
from api_particulier.audit.bucket import compress, records_key
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from api_particulier.audit.record import HEARTBEAT
from api_particulier.audit.seals import (
    COUNTERS,
    FORMAT,
    GENESIS_HASH,
    MAX_SEAL_DELAY,
    RecordKey,
    Seal,
    counts_of,
    time_of,
)
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Item, Table, TransactionCancelled, deserialize, write_together
from api_particulier.observability import LogEvent, count_counted, count_seal, log, report_tampering
from api_particulier.settings import settings

COUNTED: Final = {"pk": "seal", "sk": "counted"}
"""The item with the number and the hash of the last seal whose counts are in the counters."""
RECORDS_KEPT: Final = timedelta(days=46)
"""How long the records of a seal are locked: a day more than the table keeps them."""
_MOST_COUNTS: Final = 99
"""Counters of a seal: a transaction holds 100 writes, and one of them moves the number of the last seal counted."""
_TOGETHER: Final = 100
"""Seals counted in one transaction."""
_COUNTING: Final = 8.0
"""Seconds that an invocation spends on seals that others left uncounted; the next one goes on."""
_TRIES: Final = 50
"""Tries of a number, or of a transaction, which another environment takes first."""


class SealFailed(Exception):
    """A batch may not be sealed; Lambda delivers it again."""


@dataclass(frozen=True)
class _Record:
    """An audit record that the stream delivers."""

    key: RecordKey
    item: Item
    at: datetime
    """When its call began."""
    received: datetime
    """When the table received it."""

    @classmethod
    def from_item(cls, item: Item, received: datetime) -> Self:
        """Read an item of the audit table; raise ``ValueError`` or ``LookupError`` when it is no record."""
        return cls((str(item["token_day"]), str(item["id"])), item, datetime.fromisoformat(item["at"]), received)

    @property
    def is_on_time(self) -> bool:
        """Whether its two dates are those of its arrival, and its key has its day.

        Raise ``ValueError`` when its id has no time.
        """
        delay = max(abs(self.received - self.at), abs(self.received - time_of(self.key[1])))
        return delay <= MAX_SEAL_DELAY and self.key[0].endswith(f"#{self.at:%Y-%m-%d}")


def seal(stream_records: Iterable[Mapping[str, Any]]) -> None:
    """Seal and count the records of a batch of the audit table's stream, except those that a seal holds already.

    Raise ``SealFailed`` when some may be in no seal. The same batch, or any part of it, can then be delivered again.
    """
    try:
        accepted = [_accept(stream_record) for stream_record in stream_records]
        records = {record.key: record for record in accepted if record is not None}
        last = _seal(sorted(records.values(), key=lambda record: record.key[::-1])) if records else None
    except Exception as error:  # noqa: BLE001 - Lambda would log its text
        log(LogEvent.SEAL_FAILED, exception=type(error).__name__)
        raise SealFailed from None
    if last is not None:
        _count(last)


def _accept(stream_record: Mapping[str, Any]) -> _Record | None:
    """Return the audit record that its call wrote; report any other change of the table, unless it is an expiry."""
    change, event = stream_record.get("dynamodb", {}), stream_record.get("eventName")
    if event != "INSERT":
        by = stream_record.get("userIdentity") or {}
        if event != "REMOVE" or by.get("principalId") != "dynamodb.amazonaws.com":  # the table's time to live
            report_tampering("removed" if event == "REMOVE" else "changed")
        return None
    try:
        item = deserialize(change["NewImage"])
        record = _Record.from_item(item, datetime.fromtimestamp(float(change["ApproximateCreationDateTime"]), UTC))
        if record.is_on_time and mac.verify(item, record.at):
            return record
        report_tampering("forged" if record.is_on_time else "late")
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        report_tampering("unreadable")
    return None


# ── Sealing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _seal(records: Sequence[_Record]) -> Seal | None:
    """Seal the records that no seal holds, and return the last seal of the chain.

    Start again when another environment takes the number.
    """
    since = min(record.received for record in records) - MAX_SEAL_DELAY
    ids = {record.key[1] for record in records}
    place = chain.next_place(_hint())
    stored: tuple[Sequence[_Record], str] = ((), "")
    for _ in range(_TRIES):
        sealed = chain.sealed_among(ids, place.last, since)
        batch = _countable([record for record in records if record.key not in sealed])
        if not batch:
            return place.last
        if batch != stored[0]:
            stored = batch, _store(batch)
        made = _make(place, batch, stored[1])
        if chain.write(made):
            _measure(made, batch)
            place = chain.Place(made)
        else:  # the number is taken: by another environment, by our own write if its response was lost, by an intruder
            place = chain.search(place.last)
    raise SealFailed


def _countable(records: Sequence[_Record]) -> Sequence[_Record]:
    """Return the first records, as many as one transaction can count."""
    counters = set[str]()
    for number, record in enumerate(records):
        counters |= set(counts_of([record.item]))
        if len(counters) > _MOST_COUNTS:
            return records[:number]
    return records


def _store(records: Sequence[_Record]) -> str:
    """Write the object of these records, one a line; return the hash that names it."""
    content = compress([canonical_json(record.item) for record in records])
    digest = sha256(content).hexdigest()
    chain.bucket().put(
        records_key(digest),
        content,
        ContentType="application/gzip",
        ObjectLockMode=settings().seal_lock_mode,
        ObjectLockRetainUntilDate=datetime.now(UTC) + RECORDS_KEPT,
    )
    return digest


def _make(place: chain.Place, records: Sequence[_Record], stored: str) -> Seal:
    """Return the signed seal of these records."""
    entries = [(*record.key, leaf(record.item)) for record in records]
    now = datetime.now(UTC)
    header = {
        "format": FORMAT,
        "number": place.number,
        "previous": place.last.hash if place.last else GENESIS_HASH,
        # Or the date of the seal before, if it is later: the clocks of two environments differ.
        "at": (max(now, place.last.at) if place.last else now).isoformat(timespec="milliseconds"),
        "count": len(entries),
        "root": root([leaf for _, _, leaf in entries]),
        "entries": sha256(canonical_json(entries)).hexdigest(),
        "records": stored,
        "counts": counts_of(record.item for record in records),
    }
    if place.skipped:
        header["skipped"] = list(place.skipped)
    signature = chain.sign(sha256(canonical_json(header)).hexdigest())
    return Seal(header, b64encode(signature).decode(), entries)


def _measure(made: Seal, records: Sequence[_Record]) -> None:
    oldest = min(record.at for record in records)
    heartbeats = sum(record.item.get("kind") == HEARTBEAT for record in records)
    count_seal(round((made.at - oldest).total_seconds(), 3), heartbeats)
    log(LogEvent.SEALED, seal=made.number, entries=len(records))


# ── Counting: the counters are the sum of the counts of the seals, in the order of the chain ────────────────────


def _hint() -> tuple[int, str] | None:
    """Return the number and the hash of the last seal counted; None when nothing, or nothing sound, is stored.

    Sealing goes on without the statistics table.
    """
    try:
        found = _table().get(COUNTED, consistent=True) or {}
    except (BotoCoreError, ClientError):
        return None
    number, last_hash = found.get("number"), found.get("hash")
    return (number, last_hash) if isinstance(number, int) and number > 0 and isinstance(last_hash, str) else None


def _count(last: Seal) -> None:
    """Add the counts of every seal up to this one that the counters lack; log when they cannot be added now."""
    until = monotonic() + _COUNTING
    for _ in range(_TRIES):
        try:
            while _count_next(last) and monotonic() < until:
                pass
        except TransactionCancelled:  # another environment counts
            sleep(uniform(0, 0.2))  # noqa: S311 - a delay is no secret
        except (BotoCoreError, ClientError, ValueError) as error:
            log(LogEvent.NOT_COUNTED, exception=type(error).__name__)
            return
        else:
            return
    log(LogEvent.NOT_COUNTED, exception=TransactionCancelled.__name__)


def _count_next(last: Seal) -> bool:
    """Count the next seals, as many as one transaction can; return whether others are left.

    Raise ``ValueError`` when what is stored of the last seal counted is not what this function stored.
    """
    stored = _table().get(COUNTED, consistent=True) or {"number": 0, "hash": ""}
    number = stored.get("number")
    if not isinstance(number, int) or number >= last.number:
        return False
    counted = chain.find(number) if number else None
    if (counted.hash if counted else "") != stored.get("hash"):
        report_tampering("counted")
        raise ValueError
    counts, end, seals = Counter[str](), last, 0
    for following in range(number + 1, last.number + 1):
        if (seal := chain.find(following)) is None:  # stepped over, or deleted: a verification names it
            continue
        if seals == _TOGETHER or len(counts | Counter(seal.counts)) > _MOST_COUNTS:
            break
        counts, end, seals = counts + Counter(seal.counts), seal, seals + 1
    _add(counts, number, end)
    count_counted(seals)
    return end.number < last.number


def _add(counts: Mapping[str, int], number: int, end: Seal) -> None:
    """Add to the counters and move the number of the last seal counted, together or not at all."""
    table = _table()
    moved = table.updating(
        COUNTED,
        "SET #number = :number, #hash = :hash",
        condition="#number = :before" if number else "attribute_not_exists(#number)",
        values={"number": end.number, "hash": end.hash} | ({"before": number} if number else {}),
    )
    added = [
        table.updating({"pk": COUNTERS, "sk": counter}, "ADD calls :more", values={"more": more})
        for counter, more in counts.items()
    ]
    write_together(table.client, [moved, *added])


def _table() -> Table:
    return Table(dynamodb(), settings().stats_table)
