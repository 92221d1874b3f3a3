"""What is kept of the audit, compared with the chain of its seals, a day at a time.

The memory is that of a few days, whatever the period. Every finding names an object of the bucket or a record.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from api_particulier.audit import archive
from api_particulier.audit.bucket import Bucket, NotProven, leaf_of, lines_of
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.seals import MAX_SEAL_DELAY, RecordKey, Seal

type Sealed = dict[RecordKey, tuple[str, int]]
"""The leaf and the seal of each record of a day."""

_HASHES: Final = 1 << 256
"""A sum of hashes modulo this does not depend on their order."""


@dataclass(frozen=True)
class Finding:
    """A seal, a record or an object that is not as it was sealed."""

    place: str
    """``seal 12``, ``entry <token_day>/<id>``, or the key of an object."""
    what: str


def named(key: RecordKey) -> str:
    """Return the name of a record in a finding."""
    return f"entry {key[0]}/{key[1]}"


def by_day(seals: Iterable[Seal]) -> Iterator[tuple[date, Sealed]]:
    """Yield the records of each day, once no later seal can hold one of them; the first seal of a record counts."""
    waiting: dict[str, Sealed] = defaultdict(dict)
    for seal in seals:
        for token_day, record_id, leaf in seal.entries:
            waiting[token_day.rpartition("#")[2]].setdefault((token_day, record_id), (leaf, seal.number))
        for day in sorted(waiting):
            if archive.last_seal_of(date.fromisoformat(day)) < seal.at:
                yield date.fromisoformat(day), waiting.pop(day)
    for day in sorted(waiting):
        yield date.fromisoformat(day), waiting[day]


def check_records(bucket: Bucket, seal: Seal) -> Iterator[Finding]:
    """Check the object that holds the records of a seal."""
    try:
        bucket.records_of(seal)
    except NotProven as error:
        yield _finding(error)


def check_versions(bucket: Bucket, prefix: str, lifetime: timedelta) -> Iterator[Finding]:
    """Check that the objects under a prefix were written once, and deleted by their lifetime alone."""
    for found in bucket.stored(prefix):
        if found.versions > 1:
            yield Finding(found.key, "it was written again (the version that is locked remains)")
        if found.deleted is not None and found.deleted - found.written < lifetime:
            yield Finding(found.key, "it was deleted (the version that is locked remains)")


# ── A day ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def check_day(bucket: Bucket, day: date, sealed: Sealed, month: "MonthCheck | None" = None) -> Iterator[Finding]:
    """Compare an archived day with the records that its seals hold; ``month`` adds up its rows."""
    try:
        manifest = archive.find_day(bucket, day)
    except NotProven as error:
        yield _finding(error)
        return
    if manifest is None:
        yield Finding(archive.day_key(day), "it is missing")
        return
    missing, totals, objects = dict(sealed), archive.Totals(), {}
    for prefix in sorted({archive.prefix_of(token_day) for token_day, _ in sealed} | set(manifest["objects"])):
        key = archive.day_key(day, f"{prefix}.json.gz")
        content = bucket.find(key)
        try:
            lines = lines_of(content) if content is not None else None
        except ValueError:
            lines = None
        if content is None or lines is None:
            yield Finding(key, "it is missing" if content is None else "it was changed")
            continue
        objects[prefix] = {"sha256": sha256(content).hexdigest(), "records": len(lines)}
        for line in lines:
            what = _take(line, prefix, missing)
            if what is not None:
                yield what
                continue
            record = json.loads(line)
            totals.add(record)
            if month is not None:
                month.add(line)
    for record_key, (_, number) in missing.items():
        yield Finding(named(record_key), f"it is not in the archive, and seal {number} holds it")
    yield from _check_summaries(bucket, day, manifest, totals, objects)


def _take(line: bytes, prefix: str, missing: Sealed) -> Finding | None:
    """Take an archived record from those that are missing; return what is wrong with it."""
    try:
        record = json.loads(line)
        key = str(record["token_day"]), str(record["id"])
    except (LookupError, TypeError, ValueError):
        return Finding(prefix, "it holds a line that is no record")
    leaf, number = missing.pop(key, (None, 0))
    if leaf is None:
        return Finding(named(key), "it is in the archive, and in no seal or twice")
    if leaf != leaf_of(line):
        return Finding(named(key), f"it was changed in the archive since seal {number}")
    if archive.prefix_of(key[0]) != prefix:
        return Finding(named(key), "it is archived under another prefix")
    return None


def _check_summaries(
    bucket: Bucket, day: date, manifest: Mapping[str, Any], totals: archive.Totals, objects: Mapping[str, Any]
) -> Iterator[Finding]:
    """Check that a day's use and manifest are those of its records."""
    usage = canonical_json(totals.usage)
    if bucket.find(archive.usage_key(day)) != usage:
        yield Finding(archive.usage_key(day), "it is not the use that the records show")
    for prefix, described in manifest["objects"].items():
        if prefix in objects and objects[prefix] != described:
            yield Finding(archive.day_key(day, f"{prefix}.json.gz"), "it is not what the manifest names")
    expected = archive.day_manifest(day, manifest["seals"], totals, objects, sha256(usage).hexdigest())
    if canonical_json(expected) != bucket.find(archive.day_key(day)):
        yield Finding(archive.day_key(day), "it does not describe the records of the day")


# ── A month ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class MonthCheck:
    """The rows of a month, added up from its days in any order."""

    month: str
    bits: int
    days: set[date] = field(default_factory=set)
    """The days that were added."""
    sums: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    rows: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, line: bytes) -> None:
        for pseudonym, row in archive.rows_of(line):
            part = archive.part_of(pseudonym, self.bits)
            self.sums[part] = (self.sums[part] + int.from_bytes(sha256(row).digest())) % _HASHES
            self.rows[part] += 1


def begin_month(bucket: Bucket, month: str) -> MonthCheck | None:
    """Return the sums of an archived month, to be filled with its days; None when it is not archived or unreadable."""
    try:
        manifest = archive.find_month(bucket, month)
    except NotProven:
        return MonthCheck(month, 0)
    return None if manifest is None else MonthCheck(month, int(manifest["bits"]))


def check_month(bucket: Bucket, check: MonthCheck) -> Iterator[Finding]:
    """Compare the rows of an archived month with those of its days."""
    key = archive.month_key(check.month)
    try:
        manifest = archive.find_month(bucket, check.month) or {}
    except NotProven as error:
        yield _finding(error)
        return
    objects = {}
    for number in range(1 << check.bits):
        name = archive.part_of(f"{number << (32 - check.bits):08x}", check.bits)
        part = archive.month_key(check.month, f"{name}.json.gz")
        content = bucket.find(part)
        try:
            rows = lines_of(content or b"")
        except ValueError:
            rows = []
        if content is None:
            yield Finding(part, "it is missing")
            continue
        objects[name] = {"sha256": sha256(content).hexdigest(), "rows": len(rows)}
        found = sum(int.from_bytes(sha256(row).digest()) for row in rows) % _HASHES
        if (found, len(rows), rows) != (check.sums[name], check.rows[name], sorted(rows)):
            yield Finding(part, "its rows are not those of the archived days")
        elif manifest["objects"].get(name) != objects[name]:
            yield Finding(part, "it is not what the manifest names")
    before = bucket.find(archive.month_key(archive.month_before(check.month)))
    earlier = json.loads(before)["months"] if before else {}
    expected = archive.month_manifest(check.month, check.bits, manifest["rows"], objects, earlier, before)
    if canonical_json(expected) != bucket.find(key) or sum(manifest["rows"].values()) != sum(check.rows.values()):
        yield Finding(key, "it does not describe the rows of the month")


def _finding(error: NotProven) -> Finding:
    place, _, what = str(error).partition(": ")
    return Finding(place, what)


# ── A night ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Night:
    """The result of a nightly verification."""

    findings: list[Finding]
    records: int
    """Records of the day before, each compared with its leaf."""
    last: Seal | None
    """The last seal read, whose signature covers those before it."""


def verify_night(bucket: Bucket, now: datetime) -> Night:
    """Verify the chain since the day that was last archived, the records of the day before, and that archive."""
    first = archive.first_day(bucket)
    if first is None:  # nothing was sealed yet, or it is gone
        return Night([Finding("seal 1", "it is missing")] if bucket.holds("seals/") else [], 0, None)
    yesterday, archived = now.astimezone(UTC).date() - timedelta(days=1), archive.last_due(now)
    findings: list[Finding] = []
    sealed: Sealed = {}
    records, last = 0, None
    try:
        for seal in bucket.seals(bucket.first_seal_since(archive.midnight(archived) - MAX_SEAL_DELAY), now):
            last = seal
            days = [token_day.rpartition("#")[2] for token_day, _, _ in seal.entries]
            if f"{yesterday}" in days:
                findings += check_records(bucket, seal)
                records += days.count(f"{yesterday}")
            for day, (token_day, record_id, leaf) in zip(days, seal.entries, strict=True):
                if day == f"{archived}":
                    sealed.setdefault((token_day, record_id), (leaf, seal.number))
    except NotProven as error:
        return Night([*findings, _finding(error)], records, None)
    if archived >= first and any(bucket.stored(archive.day_key(archived))):  # what is late rings an alarm of its own
        findings += check_day(bucket, archived, sealed)
    return Night(findings, records, last)
