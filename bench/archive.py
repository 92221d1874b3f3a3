"""Measure what grows with the audit: a citizen's first page, and the verification of a day, by rows a month.

``python -m bench.archive --rows 10000 1000000`` makes the archive of 36 months in a folder that plays the bucket. Of a
month's objects only the one of the citizen is made: a page reads no other. Of the days, one is made whole, with its
seals. Each measure runs in a process of its own, whose peak of memory is its own.
"""

import argparse
import json
import random
import resource
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, override

from api_particulier.audit import access_log, archive, verification
from api_particulier.audit.access_log import Accesses
from api_particulier.audit.bucket import Bucket, compress, records_key
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.mac import Marks
from api_particulier.audit.merkle import leaf, root
from api_particulier.audit.seals import GENESIS_HASH, Seal, id_at, key_of
from api_particulier.dynamodb import Table

_DAY: Final = date(2026, 10, 14)
_NOW: Final = datetime(2026, 11, 27, 9, tzinfo=UTC)
_IN_A_SEAL: Final = 500
_TOKENS: Final = 100
_CITIZEN: Final = "dgfip:2690000000011"


@dataclass(frozen=True)
class Folder(Bucket):
    """A folder in the place of the bucket; it counts the objects that are read."""

    read: list[str] = field(default_factory=list)

    @override
    def find(self, key: str) -> bytes | None:
        self.read.append(key)
        path = Path(self.name) / key
        return path.read_bytes() if path.exists() else None

    @override
    def put_once(self, key: str, content: bytes, locked_until: datetime) -> bytes:
        path = Path(self.name) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    @override
    def holds(self, prefix: str, after: str = "") -> bool:
        paths = (Path(self.name) / prefix).glob("*")
        return any(path.relative_to(self.name).as_posix() > after for path in paths)


class _Kms:
    """Derives the key of a month as KMS does, without the network."""

    def generate_mac(self, *, Message: bytes, **_: object) -> dict[str, bytes]:  # noqa: N803 - boto3's name
        return {"Mac": sha256(Message).digest()}


class _NoTable(Table):
    """A table without a record of the citizen."""

    @override
    def query(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        return iter(())

    @override
    def count(self, *_: Any, **__: Any) -> int:
        return 0


def _record(at: datetime, number: int, citizen: str) -> dict[str, Any]:
    token = f"01a207b4-8201-7000-8000-{number % _TOKENS:012x}"
    return {
        "at": at.isoformat(timespec="milliseconds"),
        "id": f"{id_at(at)}-7{number >> 16 & 0xFFF:03x}-8000-{number:012x}",
        "request_id": f"5c2f1e0a-0000-4000-8000-{number:012x}",
        "dataset": "revenu_fiscal_reference",
        "route": "/api/v2/revenu-fiscal-reference",
        "kind": "dataset",
        "address": "203.0.113.7",
        "token": token,
        "organisation": "Ville de Fictive",
        "siret": "21000015400018",
        "habilitation": f"habilitation-{number % _TOKENS}",
        "purpose": "Tarification de la restauration scolaire",
        "citizen": citizen,
        "provider": "dgfip",
        "provider_ms": 412,
        "released": ["revenuFiscalReference", "nombreParts", "anneeImpots", "anneeRevenus"],
        "withheld": [],
        "notes": [],
        "status": 200,
        "expires_at": int(at.timestamp()) + 3_888_000,
        "token_day": f"{token}#{at:%Y-%m-%d}",
        "mac": sha256(b"%d" % number).hexdigest(),
    }


def _accesses(folder: str) -> Accesses:
    client: Any = None
    kms: Any = _Kms()
    return Accesses(_NoTable(client, ""), Folder(None, folder), kms, ["key"], Marks(kms, "entry", "operator"))


def make_months(folder: str, rows: int) -> None:
    """Make, of each of 36 months, the object of the citizen: its share of the rows, 8 of them the citizen's own."""
    bucket = Folder(None, folder)
    accesses = _accesses(folder)
    bits = max(0, max(0, rows - 1).bit_length() - 10)
    rng = random.Random(rows)  # noqa: S311 - numbers to measure with
    for number in range(36):
        month = f"{2023 + (10 + number) // 12}-{(10 + number) % 12 + 1:02}"
        at = datetime.fromisoformat(f"{month}-14T09:00:00+00:00")
        own = accesses.pseudonym(_CITIZEN, "key", month)
        part = archive.part_of(own, bits)
        others = [f"{own[:8]}{rng.getrandbits(224):056x}" for _ in range((rows >> bits) - 8)]
        records = [_record(at, index, citizen) for index, citizen in enumerate([*others, *[own] * 8])]
        lines = sorted(row for record in records for _, row in archive.rows_of(canonical_json(record)))
        archive.write_lines(bucket, archive.month_key(month, f"{part}.json.gz"), lines, _NOW)
        archive.write_month(bucket, month, bits, {"citizen": rows}, {part: {}}, _NOW)


def read_page(folder: str) -> dict[str, Any]:
    """Read the citizen's first page."""
    accesses = _accesses(folder)
    bucket = accesses.bucket
    assert isinstance(bucket, Folder)  # noqa: S101 - what this module made
    began = time.perf_counter()
    page = access_log.access_log(accesses, _CITIZEN, _NOW)
    seconds = time.perf_counter() - began
    return {"accesses": page["total"], "objects": len(bucket.read), "seconds": round(seconds, 3)} | _memory()


def make_day(folder: str, rows: int) -> None:
    """Make a day of a month of so many rows: its seals with their records, and its archive."""
    bucket = Folder(None, folder)
    moment = datetime.combine(_DAY, datetime.min.time(), UTC)
    count = rows // 30
    step = timedelta(seconds=86_000 / max(1, count))
    previous = GENESIS_HASH
    for number, start in enumerate(range(0, count, _IN_A_SEAL), 1):
        indexes = range(start, min(start + _IN_A_SEAL, count))
        records = [_record(moment + index * step, index, sha256(b"%d" % index).hexdigest()) for index in indexes]
        lines = [canonical_json(record) for record in records]
        entries = [(record["token_day"], record["id"], leaf(record)) for record in records]
        content = compress(lines)
        header = {
            "format": "api-particulier/seal/2",
            "number": number,
            "previous": previous,
            "at": (moment + (indexes[-1] + 1) * step).isoformat(timespec="milliseconds"),
            "count": len(entries),
            "root": root([entry[2] for entry in entries]),
            "entries": sha256(canonical_json(entries)).hexdigest(),
            "records": sha256(content).hexdigest(),
            "counts": archive.count(lines),
        }
        seal = Seal(header, "", entries)
        previous = seal.hash
        bucket.put_once(records_key(sha256(content).hexdigest()), content, _NOW)
        bucket.put_once(key_of(number), seal.to_bytes(), _NOW)


def archive_day(folder: str) -> dict[str, Any]:
    began = time.perf_counter()
    archive.archive_day(Folder(None, folder), _DAY)
    return {"seconds": round(time.perf_counter() - began, 1)} | _memory()


def verify_day(folder: str) -> dict[str, Any]:
    """Verify a day: the records of its seals, and its archive."""
    bucket = Folder(None, folder)
    began = time.perf_counter()
    findings: list[verification.Finding] = []
    entries = 0

    def checked() -> Iterator[Seal]:
        for seal in archive.seals_of_day(bucket, _DAY):
            findings.extend(verification.check_records(bucket, seal))
            yield seal

    for day, sealed in verification.by_day(checked()):
        entries += len(sealed)
        findings += verification.check_day(bucket, day, sealed)
    assert not findings, findings[:3]  # noqa: S101 - what this module made
    return {"records": entries, "seconds": round(time.perf_counter() - began, 1)} | _memory()


def _memory() -> dict[str, int]:
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def _alone(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the audit's archive.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000], help="Rows a month.")
    measured = {}
    for rows in parser.parse_args().rows:
        with TemporaryDirectory() as folder:
            _alone(make_months, folder, rows)
            _alone(make_day, folder, rows)
            measured[rows] = {
                "first_page": _alone(read_page, folder),
                "archive_day": _alone(archive_day, folder),
                "verify_day": _alone(verify_day, folder),
            }
    json.dump(measured, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
