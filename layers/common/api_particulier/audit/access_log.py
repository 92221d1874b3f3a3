"""The accesses to a citizen's data, found in the audit by the citizen's pseudonyms.

A citizen has one pseudonym for each month and each KMS key. The present month is in the audit table; an archived month
is one object of the bucket, which holds all the rows of the pseudonym (``archive``). Keys of past months are derived
for the search and not kept. A month that neither holds is an error: a partial result is never returned. A row of the
table counts when its record bears its MAC: the right to write in the table is not enough to forge an access.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from api_particulier.audit import pseudonyms
from api_particulier.audit.archive import find_month, month_key, part_of
from api_particulier.audit.bucket import AT_ONCE, Bucket, NotProven, lines_of
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.mac import OPERATOR, Marks
from api_particulier.audit.record import DATASET, KEPT_IN_TABLE, RETENTION
from api_particulier.audit.seals import id_at
from api_particulier.dynamodb import Item, Table
from api_particulier.paris_time import day_of

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

SHOWN: Final = (DATASET, OPERATOR)
"""The types of records that a citizen is shown: not the citizen's own requests."""
CURSOR: Final = r"\d{4}-\d{2}\.[0-9a-f-]{36}"
"""Where a page begins: the month and the id of the last record of the page before."""
_ROWS: Final = 1000
"""Rows of a page, at most,"""
_RECORDS: Final = 10_000
"""records that are folded in them,"""
_BYTES: Final = 1_000_000
"""and bytes: Lambda limits a response."""

_PROVEN_AT_ONCE: Final = 100
"""Records that DynamoDB returns at once, at most."""

type Found = tuple[str, Item | None]
"""A record, after the month in which it was found; None for one that does not bear its MAC."""


@dataclass(frozen=True)
class Accesses:
    """Where the accesses are: the audit table and the bucket, and the KMS keys of pseudonyms, the current one first."""

    table: Table
    bucket: Bucket
    kms: "KMSClient"
    key_ids: Sequence[str]
    marks: Marks

    def find(self, identifier: str, now: datetime, kinds: Sequence[str] = ()) -> "CitizenAccesses":
        """Find the accesses of the last 36 months about an identifier (``api_particulier.api.parameters``).

        Without ``kinds``, records of every type are found. Raise ``NotProven`` when a month is held by neither the
        table nor the archive, botocore's errors when one cannot be read.
        """
        since = now - RETENTION
        recent, archived = self._plan(pseudonyms.months(since, now)[::-1], now)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            reading = {
                month: [
                    pool.submit(self._rows, identifier, key_id, month, bits, kinds, since) for key_id in self.key_ids
                ]
                for month, bits in archived.items()
            }
            naming = {
                month: [pool.submit(self.pseudonym, identifier, key_id, month) for key_id in self.key_ids]
                for month in recent
            }
            rows = {month: [row for read in reads for row in read.result()] for month, reads in reading.items()}
            names = {month: [name.result() for name in named] for month, named in naming.items()}
        return CitizenAccesses(self.table, self.marks, names, rows, kinds, now)

    def _plan(self, months: Sequence[str], now: datetime) -> tuple[list[str], dict[str, int]]:
        """Return the months to read in the table, and those of the archive with their bits; all latest first."""
        for latest in months[1:3]:
            manifest = find_month(self.bucket, latest)
            if manifest is not None:
                break
        else:
            if self.bucket.holds(month_key("", "")[:-1]):
                msg = f"{month_key(months[1])}: it is missing, as the one before it"
                raise NotProven(msg)
            return list(months[:3]), {}  # nothing was archived yet: the table has everything
        recent = [month for month in months if month > latest]
        first_kept = now - KEPT_IN_TABLE
        for month in recent[1:]:
            if datetime.fromisoformat(f"{month}-01").replace(tzinfo=UTC) < first_kept:
                msg = f"{month_key(month)}: it is missing, and the table no longer has this month whole"
                raise NotProven(msg)
        known = manifest["months"]
        return recent, {month: known[month] for month in months if month in known and month not in recent}

    def pseudonym(self, identifier: str, key_id: str, month: str) -> str:
        """Return the pseudonym of an identifier in a month, under a KMS key."""
        return pseudonyms.compute(pseudonyms.derive_month_key(self.kms, key_id, month), identifier)

    def _rows(  # noqa: PLR0913, PLR0917 - one object of the archive
        self, identifier: str, key_id: str, month: str, bits: int, kinds: Sequence[str], since: datetime
    ) -> list[bytes]:
        """Return the rows of a pseudonym in an archived month."""
        name = self.pseudonym(identifier, key_id, month)
        content = self.bucket.get(month_key(month, f"{part_of(name, bits)}.json.gz"))
        start = b'["%s",' % name.encode()
        earliest = id_at(since).encode()
        wanted = [b'"kind":"%s"' % kind.encode() for kind in kinds]
        return [
            row
            for row in lines_of(content)
            if row.startswith(start) and _id_of(row) >= earliest and (not kinds or any(kind in row for kind in wanted))
        ]


@dataclass(frozen=True)
class CitizenAccesses:
    """The accesses that were found: rows of the archive, and pseudonyms to look for in the table."""

    table: Table
    marks: Marks
    recent: Mapping[str, Sequence[str]]
    """The citizen's pseudonyms in each month of the table, the latest first."""
    archived: Mapping[str, Sequence[bytes]]
    """The rows of each month of the archive, the latest first."""
    kinds: Sequence[str]
    until: datetime

    @property
    def total(self) -> int:
        """How many there are, unproven ones included; the table counts its own without sending them."""
        names = [name for named in self.recent.values() for name in named]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return sum(pool.map(self._count, names)) + sum(map(len, self.archived.values()))

    def latest_first(self, cursor: str | None = None) -> Iterator[Found]:
        """Yield the records before a cursor, the latest first; the table is read page by page, as far as needed."""
        before_month, _, before_id = (cursor or "9999-12.g").partition(".")
        for month, names in self.recent.items():
            if month <= before_month:
                last = min(before_id if month == before_month else "g", id_at(self.until))
                found = [self._query(name, last) for name in names]
                listed = merge(*found, key=lambda record: str(record["id"]), reverse=True)
                wanted = (row for row in listed if not self.kinds or row.get("kind") in self.kinds)
                for some in batched(wanted, _PROVEN_AT_ONCE, strict=False):
                    for record in self._proven(some):
                        yield month, record
        for month, rows in self.archived.items():
            if month <= before_month:
                last = before_id if month == before_month else "g"
                for row in sorted(rows, key=_id_of, reverse=True):
                    if _id_of(row) < last.encode():
                        yield month, json.loads(row)[1]

    def _query(self, citizen: str, before: str) -> Iterator[Item]:
        values = {"citizen": citizen, "before": before}
        return self.table.query("#citizen = :citizen AND #id < :before", values, index="by_citizen", latest_first=True)

    def _proven(self, rows: Sequence[Item]) -> Iterator[Item | None]:
        """Yield the record of each row of the index, or None when it does not bear its MAC."""
        keys = [{"token_day": row["token_day"], "id": row["id"]} for row in rows]
        records = {(record["token_day"], record["id"]): record for record in self.table.get_all(keys)}
        for row in rows:
            record = records.get((row["token_day"], row["id"]))
            yield record if record is not None and self.marks.proves(record) else None

    def _count(self, citizen: str) -> int:
        values = {"citizen": citizen, "before": id_at(self.until)}
        kinds = {f"kind{number}": kind for number, kind in enumerate(self.kinds)}
        condition = f"#kind IN ({', '.join(f':{name}' for name in kinds)})" if kinds else ""
        return self.table.count("#citizen = :citizen AND #id < :before", values | kinds, condition, index="by_citizen")


def _id_of(row: bytes) -> bytes:
    """Return the id of a row, whose values cannot hold an unescaped quote."""
    start = row.index(b'"id":"') + 6
    return row[start : start + 36]


def access_log(accesses: Accesses, identifier: str, now: datetime, cursor: str | None = None) -> dict[str, Any]:
    """Return the body of ``/api/citoyen/acces``: a page of the accesses to a citizen's data, latest first.

    Accesses that differ by their hour alone are one row with their number; a row may go on in the next page. Raise
    ``NotProven`` or botocore's errors when the audit cannot be read whole.
    """
    found = accesses.find(identifier, now, SHOWN)
    rows, unproven, following = _page(found.latest_first(cursor))
    return {
        "periode": {"debut": f"{day_of(now - RETENTION)}", "fin": f"{day_of(now)}"},
        "total": found.total - unproven,
        "acces": rows,
        "suivant": following,
    }


def is_cursor(text: str) -> bool:
    return re.fullmatch(CURSOR, text) is not None


def _page(found: Iterable[Found]) -> tuple[list[dict[str, Any]], int, str | None]:
    """Return the rows of a page, how many records were left out as unproven, and the cursor of the next page."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    size = unproven = 0
    last = None
    for number, (month, record) in enumerate(found):
        if record is None:
            unproven += 1
            continue
        row = _access(record)
        alike = (day_of(datetime.fromisoformat(row["date"])), *(str(row[name]) for name in row if name != "date"))
        is_full = len(rows) == _ROWS or size > _BYTES
        if number == _RECORDS or (is_full and alike not in rows):
            return list(rows.values()), unproven, last
        if alike not in rows:
            rows[alike] = row
            size += len(canonical_json(row))
        rows[alike]["nombre"] += 1
        last = f"{month}.{record['id']}"
    return list(rows.values()), unproven, None


def _access(record: Item) -> dict[str, Any]:
    return {
        "date": record["at"],
        "administration": record["organisation"],
        "siret": record.get("siret"),
        "finalite": record.get("purpose"),
        "accord": record.get("consent"),
        "jeuDeDonnees": record["dataset"],
        "champs": record["released"],
        "statut": record["status"],
        "nombre": 0,
    }


def within(found: Iterable[Found], since: datetime, until: datetime) -> list[Item]:
    """Return the proven records of a period (``until`` excluded), oldest first."""
    kept = [record for _, record in found if record and since <= datetime.fromisoformat(record["at"]) < until]
    return sorted(kept, key=lambda record: (record["at"], record["id"]))
