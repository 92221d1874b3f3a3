"""Measure what grows with the audit: a citizen's first page, a day verified, a habilitation exported, by rows a month.

``python -m bench.archive --rows 10000 1000000`` makes, in a folder that plays the bucket, the object of a citizen in
each of 36 months (a page reads no other), and the whole history of some days: seals with their records, archived by the
archive's own code. ``--days`` says how many for each number of rows; the commands read one day after the other.
Each measure runs in a process of its own, whose peak of memory is its own.
"""

import argparse
import gzip
import json
import os
import random
import resource
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, override

from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from api_particulier.audit import access_log, archive
from api_particulier.audit.access_log import Accesses
from api_particulier.audit.bucket import Bucket, leaf_of, records_key
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.mac import Marks
from api_particulier.audit.merkle import root
from api_particulier.audit.reader import AuditReader
from api_particulier.audit.seals import GENESIS_HASH, Seal, counts_of, id_at, key_of
from api_particulier.dynamodb import Table
from ops import audit
from ops.audit import Period
from ops.export import export

_DAY: Final = date(2026, 10, 14)
"""The last day of the history."""
_NOW: Final = datetime(2026, 11, 27, 9, tzinfo=UTC)
_IN_A_SEAL: Final = 50
_TOKENS: Final = 100
_HABILITATIONS: Final = 10
_CITIZEN: Final = "dgfip:2690000000011"
_KEY: Final = ec.derive_private_key(20261127, ec.SECP256R1())
"""Of the seals and of exports, the same in each process."""


class _NoSuchKey(ClientError):
    pass


@dataclass
class _Folder:
    """S3 played by a folder; it counts the objects that are read."""

    root: Path
    read: list[str] = field(default_factory=list)

    class exceptions:  # noqa: N801 - boto3's name
        NoSuchKey = _NoSuchKey

    def get_object(self, *, Key: str, **_: object) -> dict[str, BytesIO]:  # noqa: N803 - boto3's name
        self.read.append(Key)
        try:
            return {"Body": BytesIO((self.root / Key).read_bytes())}
        except FileNotFoundError:
            raise _NoSuchKey({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject") from None

    def put_object(self, *, Key: str, Body: bytes, **_: object) -> None:  # noqa: N803 - boto3's names
        path = self.root / Key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(Body)

    def list_objects_v2(self, *, Prefix: str, StartAfter: str = "", **_: object) -> dict[str, int]:  # noqa: N803 - boto3's names
        return {"KeyCount": any(key > StartAfter for key in self._keys(Prefix))}

    def get_paginator(self, operation: str) -> "_Folder":
        assert operation == "list_object_versions"  # noqa: S101 - the one that the commands use
        return self

    def paginate(self, *, Prefix: str, KeyMarker: str = "", **_: object) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
        """Yield an object a page; a seal was written at its own date, which the folder keeps as that of the file."""
        for key in self._keys(Prefix):
            if key > KeyMarker:
                written = datetime.fromtimestamp((self.root / key).stat().st_mtime, UTC)
                yield {"Versions": [{"Key": key, "VersionId": "1", "LastModified": written, "Size": 1}]}

    def _keys(self, prefix: str) -> list[str]:
        folder, _, _ = prefix.rpartition("/")
        paths = (self.root / folder).rglob("*")
        keys = (path.relative_to(self.root).as_posix() for path in paths if path.is_file())
        return sorted(key for key in keys if key.startswith(prefix))


class _Kms:
    """Derives the key of a month as KMS does, and signs, without the network."""

    def generate_mac(self, *, Message: bytes, **_: object) -> dict[str, bytes]:  # noqa: N803 - boto3's name
        return {"Mac": sha256(Message).digest()}

    def get_public_key(self, **_: object) -> dict[str, bytes]:
        return {"PublicKey": _KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}

    def sign(self, *, Message: bytes, **_: object) -> dict[str, bytes]:  # noqa: N803 - boto3's name
        return {"Signature": _KEY.sign(Message, ec.ECDSA(SHA256()))}


class _NoTable(Table):
    """A table without a record."""

    @override
    def get(self, *_: Any, **__: Any) -> None:
        return None

    @override
    def query(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        return iter(())

    @override
    def scan(self, *_: Any, **__: Any) -> Iterator[dict[str, Any]]:
        return iter(())

    @override
    def count(self, *_: Any, **__: Any) -> int:
        return 0


class _Played:
    """The deployment as the commands see it, over a folder and an empty table."""

    def __init__(self, folder: str) -> None:
        client: Any = None
        self.s3: Any = _Folder(Path(folder))
        self.kms: Any = _Kms()
        self.outputs = {"SealKeyId": "seal", "ExportKeyId": "export"}
        self.bucket = Bucket(self.s3, "seals")
        self.audit = self.stats = _NoTable(client, "")
        self.reader = AuditReader(self.audit, self.bucket)

    @cached_property
    def accesses(self) -> Accesses:
        return Accesses(self.audit, self.bucket, self.kms, ["key"], Marks(self.kms, "entry", "operator"))


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
        "habilitation": f"habilitation-{number % _HABILITATIONS}",
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


def make_months(folder: str, rows: int) -> None:
    """Make, of each of 36 months, the object of the citizen: its share of the rows, 8 of them the citizen's own."""
    played = _Played(folder)
    bucket, accesses = played.bucket, played.accesses
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
    played = _Played(folder)
    began = time.perf_counter()
    page = access_log.access_log(played.accesses, _CITIZEN, _NOW)
    seconds = time.perf_counter() - began
    return {"accesses": page["total"], "objects": len(played.s3.read), "seconds": round(seconds, 3)} | _memory()


def make_days(folder: str, rows: int, days: int) -> None:
    """Make the days of a history of so many rows a month: their seals with the records."""
    played, number, previous = _Played(folder), 0, GENESIS_HASH
    count = rows // 30
    step = timedelta(seconds=86_000 / count)
    for day in (_DAY - timedelta(days=left) for left in reversed(range(days))):
        moment = archive.midnight(day)
        for start in range(0, count, _IN_A_SEAL):
            indexes = range(start, min(start + _IN_A_SEAL, count))
            records = [_record(moment + index * step, index, sha256(b"%d" % index).hexdigest()) for index in indexes]
            number += 1
            sealed_at = moment + (indexes[-1] + 1) * step
            previous = _seal(played, records, number, previous, sealed_at)


def _seal(played: _Played, records: list[dict[str, Any]], number: int, previous: str, at: datetime) -> str:
    lines = [canonical_json(record) for record in records]
    entries = [(record["token_day"], record["id"], leaf_of(line)) for record, line in zip(records, lines, strict=True)]
    content = gzip.compress(b"".join(line + b"\n" for line in lines), 1, mtime=0)
    header = {
        "format": "api-particulier/seal/2",
        "number": number,
        "previous": previous,
        "at": at.isoformat(timespec="milliseconds"),
        "count": len(entries),
        "root": root([entry[2] for entry in entries]),
        "entries": sha256(canonical_json(entries)).hexdigest(),
        "records": sha256(content).hexdigest(),
        "counts": counts_of(records),
    }
    signature = played.kms.sign(Message=canonical_json(header))["Signature"]
    seal = Seal(header, b64encode(signature).decode(), entries)
    played.bucket.put_once(records_key(sha256(content).hexdigest()), content, _NOW)
    played.bucket.put_once(key_of(number), seal.to_bytes(), _NOW)
    os.utime(played.s3.root / key_of(number), (at.timestamp(), at.timestamp()))
    return seal.hash


def archive_days(folder: str, days: int) -> dict[str, Any]:
    """Archive the days, as the archive's function does."""
    bucket = _Played(folder).bucket
    began = time.perf_counter()
    for left in reversed(range(days)):
        archive.archive_day(bucket, _DAY - timedelta(days=left))
    return {"days": days, "seconds_a_day": round((time.perf_counter() - began) / days, 2)} | _memory()


def verify_day(folder: str) -> dict[str, Any]:
    """Verify the last day but one with the command's own code: its seals, its records and its archive."""
    played: Any = _Played(folder)
    day = archive.midnight(_DAY) - timedelta(days=1)
    began = time.perf_counter()
    found = audit.verify(played, Period(day, day + timedelta(days=1)))
    assert not found.findings, found.findings[:3]  # noqa: S101 - what this module made
    seconds = round(time.perf_counter() - began, 1)
    return {"records": found.entries, "seals": found.seals, "seconds": seconds} | _memory()


def export_habilitation(folder: str, days: int) -> dict[str, Any]:
    """Export the records of a habilitation, which makes one call in ten, over the whole history."""
    played: Any = _Played(folder)
    period = Period(archive.midnight(_DAY) - timedelta(days=days - 1), archive.midnight(_DAY) + timedelta(days=1))
    file = Path(folder) / "export.json"
    began = time.perf_counter()
    done = export(played, period, file, habilitation="habilitation-3")
    seconds = round(time.perf_counter() - began, 1)
    described = {"records": done.entries, "seals": done.seals, "file_mb": file.stat().st_size // 1_000_000}
    return described | {"seconds": seconds} | _memory()


def _memory() -> dict[str, int]:
    return {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def _alone(function: Any, *arguments: Any) -> Any:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the audit's archive.")
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 1_000_000], help="Rows a month.")
    parser.add_argument("--days", type=int, nargs="+", default=[1095, 30], help="Days of history made whole, for each.")
    given = parser.parse_args()
    for rows, days in zip(given.rows, given.days, strict=True):
        with TemporaryDirectory() as folder:
            _alone(make_months, folder, rows)
            measured = {"rows": rows, "first_page": _alone(read_page, folder)}
        with TemporaryDirectory() as folder:
            _alone(make_days, folder, rows, days)
            measured |= {
                "archive_days": _alone(archive_days, folder, days),
                "verify_day": _alone(verify_day, folder),
                "export_habilitation": _alone(export_habilitation, folder, days),
            }
        json.dump(measured, sys.stdout, indent=2)
        sys.stdout.write("\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
