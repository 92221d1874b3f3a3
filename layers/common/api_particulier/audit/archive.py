"""The archive of the audit: what its table forgets after 45 days, kept for 36 months beside the seals.

A day is archived once the table's stream can bring none of its records any more, a day after its end: the records of
its seals, each proven against its leaf, by token. A month is archived after its last day: the rows that its citizens
are shown, in order of pseudonym. Every object is written once and locked; the manifest of a day or a month is written
last, and names the others. Started again, a run finds what is there and goes on.

The objects are described byte for byte in docs/audit-format.md; why so, in docs/decisions/0039-archive.md.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from itertools import batched, chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from api_particulier.audit.bucket import AT_ONCE, Bucket, NotProven, compress, lines_of
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.record import DATASET, RETENTION
from api_particulier.audit.seals import MAX_SEAL_DELAY, Seal, counts_of

FORMAT: Final = "api-particulier/archive/1"
PSEUDONYMS: Final = ("citizen",)
"""The attributes of a record that name a citizen: each makes a row of the month's accesses."""
SHOWN: Final = (
    *("token_day", "id", "kind", "at", "organisation", "siret", "purpose", "consent", "dataset", "released", "status"),
)
"""The attributes of a row: those that a citizen is shown, and the key and kind of the record."""
STREAM_LIFETIME: Final = timedelta(days=1)
"""How long after its writing the stream can still bring a record to its seal."""
_ROWS_OF_AN_OBJECT: Final = 1000
_BUFFER: Final = 8_000_000
"""Bytes of rows held in memory before they go to their files."""

type Record = dict[str, Any]


# ── A day ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def day_key(day: date, name: str = "manifest.json") -> str:
    """Return the key of an object of a day: of its manifest, or of a prefix's records."""
    return f"archive/{day}/{name}"


def usage_key(day: date) -> str:
    return f"usage/{day}.json"


def prefix_of(token_day: str) -> str:
    """Return the prefix under which a token is archived: two digits of a hash, since ids begin with their date."""
    return sha256(token_day.rpartition("#")[0].encode()).hexdigest()[:2]


@dataclass
class Totals:
    """What the records of a day add up to."""

    records: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    """Records of datasets, as the seals count them."""
    rows: Counter[str] = field(default_factory=Counter)
    """Records that carry each pseudonym."""
    unnamed: Counter[str] = field(default_factory=Counter)
    """Records of datasets that do not carry it."""
    others: Counter[str] = field(default_factory=Counter)
    """Records of no dataset that carry it: a citizen's own requests."""
    usage: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        is_dataset = record.get("kind") == DATASET
        self.records += 1
        self.counts.update(counts_of([record]))
        for name in PSEUDONYMS:
            self.rows[name] += name in record
            self.unnamed[name] += is_dataset and name not in record
            self.others[name] += not is_dataset and name in record
        self._use(record)

    def _use(self, record: Record) -> None:
        token = record["token_day"].rpartition("#")[0]
        used = self.usage.setdefault(token, {"calls": 0, "last": "", "releasing": 0, "released": {}})
        used["calls"] += 1
        used["last"] = max(used["last"], record["at"])
        if released := record.get("released"):
            used["releasing"] += 1
            known = used["released"].get(record["route"], [])
            used["released"][record["route"]] = sorted({*known, *released})


def archive_day(bucket: Bucket, day: date) -> bool:
    """Archive a day that has ended; return False when it was archived already.

    Raise ``NotProven``, and write no manifest, when a record is not what was sealed.
    """
    if bucket.find(day_key(day)) is not None:
        return False
    until = midnight(day) + timedelta(days=1) + RETENTION
    with TemporaryDirectory() as folder:
        seals = _split(bucket, day, Path(folder))
        totals, objects = Totals(), {}
        for path in sorted(Path(folder).iterdir()):
            lines = _first_of_each(path.read_bytes().splitlines())
            for line in lines:
                totals.add(json.loads(line))
            name = write_lines(bucket, day_key(day, f"{path.name}.json.gz"), lines, until)
            objects[path.name] = {"sha256": name, "records": len(lines)}
    usage = canonical_json(totals.usage)
    _write_plain(bucket, usage_key(day), usage, until)
    manifest = day_manifest(day, seals, totals, objects, sha256(usage).hexdigest())
    _write_plain(bucket, day_key(day), canonical_json(manifest), until)
    return True


def day_manifest(
    day: date, seals: Sequence[int], totals: Totals, objects: Mapping[str, Any], usage: str
) -> dict[str, Any]:
    """Return the manifest of a day: of the objects of its records, and of the hash of its use."""
    return {
        "format": FORMAT,
        "day": f"{day}",
        "seals": seals,
        "records": totals.records,
        "counts": totals.counts,
        "rows": {name: totals.rows[name] for name in PSEUDONYMS},
        "unnamed": {name: totals.unnamed[name] for name in PSEUDONYMS},
        "others": {name: totals.others[name] for name in PSEUDONYMS},
        "objects": objects,
        "usage": usage,
    }


def _split(bucket: Bucket, day: date, folder: Path) -> list[int]:
    """Write the records of a day in a file for each prefix, in the order of their seals; return the seals' ends."""
    numbers: list[int] = []
    suffix = f"#{day}"
    concerned = (
        seal
        for seal in seals_of_day(bucket, day)
        if any(token_day.endswith(suffix) for token_day, _, _ in seal.entries)
    )
    for seal, lines in _with_records(bucket, concerned):
        if counts_of(map(json.loads, lines)) != seal.header["counts"]:
            msg = f"seal {seal.number}: its counts are not those of its records"
            raise NotProven(msg)
        numbers.append(seal.number)
        parts: dict[str, list[bytes]] = defaultdict(list)
        for (token_day, _, _), line in zip(seal.entries, lines, strict=True):
            if token_day.endswith(suffix):
                parts[prefix_of(token_day)].append(line + b"\n")
        for prefix, part in parts.items():
            with (folder / prefix).open("ab") as file:
                file.writelines(part)
    return [numbers[0], numbers[-1]] if numbers else []


def seals_of_day(bucket: Bucket, day: date) -> Iterator[Seal]:
    """Yield the seals that may hold records of a day."""
    return bucket.seals(bucket.first_seal_since(midnight(day) - MAX_SEAL_DELAY), last_seal_of(day))


def last_seal_of(day: date) -> datetime:
    """Return the latest moment at which a record of a day is sealed."""
    return midnight(day) + timedelta(days=1) + STREAM_LIFETIME + MAX_SEAL_DELAY


def _with_records(bucket: Bucket, seals: Iterable[Seal]) -> Iterator[tuple[Seal, list[bytes]]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for batch in batched(seals, AT_ONCE, strict=False):
            yield from zip(batch, pool.map(bucket.records_of, batch), strict=True)


def _first_of_each(lines: Sequence[bytes]) -> list[bytes]:
    """Return the lines without a record's second one: the first seal of a record counts."""
    return list({json.loads(line)["id"]: line for line in reversed(lines)}.values())[::-1]


# ── A month ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def month_key(month: str, name: str = "manifest.json") -> str:
    """Return the key of an object of a month's accesses: of its manifest, or of a prefix's rows."""
    return f"access/{month}/{name}"


def part_of(pseudonym: str, bits: int) -> str:
    """Return the name of the object that holds a pseudonym's rows: its first bits, in hexadecimal."""
    return f"{int(pseudonym[:8], 16) >> (32 - bits):0{max(1, -(-bits // 4))}x}"


def rows_of(line: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the pseudonyms of a record with their rows: ``[pseudonym, {what is shown}]``, in canonical JSON."""
    record = json.loads(line)
    shown = {name: record[name] for name in SHOWN if name in record}
    for name in PSEUDONYMS:
        if name in record:
            yield record[name], canonical_json([record[name], shown])


def archive_month(bucket: Bucket, month: str, first_day: date) -> bool:
    """Archive the accesses of a month whose days are archived; return False when it was archived already.

    Raise ``NotProven``, and write no manifest, when a day is missing, or when the rows are not the sum of the counts of
    the month's seals.
    """
    if bucket.find(month_key(month)) is not None:
        return False
    days = [day for day in days_of(month) if day >= first_day]
    manifests = [json.loads(bucket.get(day_key(day))) for day in days]
    expected = {name: sum(_rows_expected(manifest, name) for manifest in manifests) for name in PSEUDONYMS}
    bits = max(0, sum(expected.values()) - 1).bit_length() - (_ROWS_OF_AN_OBJECT - 1).bit_length()
    bits = max(0, bits)
    until = midnight(days[-1]) + timedelta(days=1) + RETENTION
    with TemporaryDirectory() as folder:
        written = _spread(bucket, zip(days, manifests, strict=True), bits, Path(folder))
        if written != sum(expected.values()):
            msg = f"{month_key(month)}: {written} rows, and the seals count {sum(expected.values())}"
            raise NotProven(msg)
        objects = {}
        for number in range(1 << bits):
            name = part_of(f"{number << (32 - bits):08x}", bits)
            path = Path(folder) / name
            lines = sorted(path.read_bytes().splitlines()) if path.exists() else []
            digest = write_lines(bucket, month_key(month, f"{name}.json.gz"), lines, until)
            objects[name] = {"sha256": digest, "rows": len(lines)}
    write_month(bucket, month, bits, expected, objects, until)
    return True


def _rows_expected(manifest: Mapping[str, Any], name: str) -> int:
    """Return how many rows a day has by a pseudonym, from what its seals count."""
    return int(sum(manifest["counts"].values()) - manifest["unnamed"][name] + manifest["others"][name])


def _spread(bucket: Bucket, days: Iterable[tuple[date, Mapping[str, Any]]], bits: int, folder: Path) -> int:
    """Write the rows of the days in a file for each part of the pseudonyms; return their number."""
    waiting: dict[str, list[bytes]] = defaultdict(list)
    number = size = 0
    for day, manifest in days:
        for line in day_lines(bucket, day, manifest, manifest["objects"]):
            for pseudonym, row in rows_of(line):
                waiting[part_of(pseudonym, bits)].append(row + b"\n")
                number, size = number + 1, size + len(row)
            if size > _BUFFER:
                _flush(waiting, folder)
                size = 0
    _flush(waiting, folder)
    return number


def _flush(waiting: dict[str, list[bytes]], folder: Path) -> None:
    for name, rows in waiting.items():
        with (folder / name).open("ab") as file:
            file.writelines(rows)
    waiting.clear()


def write_month(  # noqa: PLR0913, PLR0917 - the parts of a manifest
    bucket: Bucket, month: str, bits: int, rows: Mapping[str, int], objects: Mapping[str, Any], until: datetime
) -> None:
    """Write the manifest of a month."""
    before = bucket.find(month_key(month_before(month)))
    earlier = json.loads(before)["months"] if before else {}
    manifest = month_manifest(month, bits, rows, objects, earlier, before)
    _write_plain(bucket, month_key(month), canonical_json(manifest), until)


def month_manifest(  # noqa: PLR0913, PLR0917 - the parts of a manifest
    month: str,
    bits: int,
    rows: Mapping[str, int],
    objects: Mapping[str, Any],
    earlier: Mapping[str, int],
    before: bytes | None,
) -> dict[str, Any]:
    """Return the manifest of a month, which names the earlier months too: a reader finds them all with one object."""
    return {
        "format": FORMAT,
        "month": month,
        "bits": bits,
        "rows": dict(rows),
        "objects": objects,
        "months": dict(earlier) | ({month: bits} if objects else {}),
        "previous": sha256(before).hexdigest() if before else None,
    }


def month_before(month: str) -> str:
    return f"{date.fromisoformat(f'{month}-01') - timedelta(days=1):%Y-%m}"


def days_of(month: str) -> list[date]:
    """Return the days of a month (UTC)."""
    first = date.fromisoformat(f"{month}-01")
    days = [first + timedelta(days=number) for number in range(31)]
    return [day for day in days if day.month == first.month]


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find_day(bucket: Bucket, day: date) -> dict[str, Any] | None:
    """Return the manifest of an archived day, or None; raise ``NotProven`` when it is none."""
    return _manifest(day_key(day), bucket.find(day_key(day)))


def find_month(bucket: Bucket, month: str) -> dict[str, Any] | None:
    """Return the manifest of an archived month, or None; raise ``NotProven`` when it is none."""
    return _manifest(month_key(month), bucket.find(month_key(month)))


def _manifest(key: str, content: bytes | None) -> dict[str, Any] | None:
    if content is None:
        return None
    try:
        manifest = json.loads(content)
        if manifest["format"] == FORMAT:
            return dict(manifest)
    except (LookupError, TypeError, ValueError):
        pass
    msg = f"{key}: it is no manifest"
    raise NotProven(msg)


def day_lines(bucket: Bucket, day: date, manifest: Mapping[str, Any], prefixes: Iterable[str]) -> Iterator[bytes]:
    """Yield the archived records of a day under these prefixes; raise ``NotProven`` when an object was changed."""

    def read(prefix: str) -> list[bytes]:
        return _lines(bucket, day_key(day, f"{prefix}.json.gz"), manifest["objects"][prefix]["sha256"])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for batch in batched(prefixes, AT_ONCE, strict=False):
            yield from chain.from_iterable(pool.map(read, batch))


def _lines(bucket: Bucket, key: str, digest: str) -> list[bytes]:
    content = bucket.get(key)
    if sha256(content).hexdigest() != digest:
        msg = f"{key}: it is not what the manifest names"
        raise NotProven(msg)
    return lines_of(content)


# ── A run ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(bucket: Bucket, now: datetime) -> list[date]:
    """Archive the days and months that are due and not archived yet; return the days.

    Raise ``NotProven`` at the first one that cannot be archived whole.
    """
    first = first_day(bucket)
    if first is None:
        return []
    last = last_due(now)
    days = []
    day = last
    while day >= first and bucket.find(day_key(day)) is None:
        days.append(day)
        day -= timedelta(days=1)
    for due in reversed(days):
        archive_day(bucket, due)
    begin(bucket, first)
    months = []
    month = f"{last + timedelta(days=1):%Y-%m}"
    while (month := month_before(month)) >= f"{first:%Y-%m}" and bucket.find(month_key(month)) is None:
        months.append(month)
    for due_month in reversed(months):
        archive_month(bucket, due_month, first)
    return days[::-1]


def first_day(bucket: Bucket) -> date | None:
    """Return the day of the oldest record; None before the first seal."""
    seal = bucket.first_seal()
    if seal is None:
        return None
    days = [token_day.rpartition("#")[2] for token_day, _, _ in seal.entries]
    return date.fromisoformat(min(days)) if days else seal.at.astimezone(UTC).date()


def last_due(now: datetime) -> date:
    """Return the last day of which every record is sealed: its end is older than what a stream can bring."""
    return (now.astimezone(UTC) - STREAM_LIFETIME).date() - timedelta(days=1)


def begin(bucket: Bucket, first: date) -> None:
    """Write that nothing was before the first month, so that no reader misses the months before it."""
    before = month_before(f"{first:%Y-%m}")
    if bucket.find(month_key(before)) is None:
        until = midnight(first) + RETENTION
        write_month(bucket, before, 0, dict.fromkeys(PSEUDONYMS, 0), {}, until)


def midnight(day: date) -> datetime:
    """Return the beginning of a day (UTC)."""
    return datetime.combine(day, time(), UTC)


def write_lines(bucket: Bucket, key: str, lines: Sequence[bytes], until: datetime) -> str:
    """Write lines, compressed; return the SHA-256 of the object."""
    stored = bucket.put_once(key, compress(lines), until)
    try:
        is_same = lines_of(stored) == list(lines)
    except ValueError:
        is_same = False
    if not is_same:
        raise _written_already(key)
    return sha256(stored).hexdigest()


def _write_plain(bucket: Bucket, key: str, content: bytes, until: datetime) -> None:
    if bucket.put_once(key, content, until) != content:
        raise _written_already(key)


def _written_already(key: str) -> NotProven:
    return NotProven(f"{key}: it is written already, with another content")
