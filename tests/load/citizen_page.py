"""A citizen's first page of 36 months: the objects read, the time and the memory, by the rows of a month.

``python -m tests.load.citizen_page [ROWS …]`` makes the archive of 36 months of that many rows, in memory. Of each
month it makes the manifest whole and the one object that the citizen's pseudonym falls in, since no other is read.
"""

import json
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from resource import RUSAGE_SELF, getrusage
from time import perf_counter
from typing import Any, Final

from botocore.exceptions import ClientError
from uuid6 import UUID

from api_particulier.audit import pseudonyms
from api_particulier.audit.access_log import Accesses, access_log
from api_particulier.audit.archive import month_key, month_manifest, part_of
from api_particulier.audit.bucket import Bucket, compress
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.mac import Marks

NOW: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
CITIZEN: Final = "1902599999001"
OF_THE_CITIZEN: Final = 3
"""Accesses of the citizen in a month."""
ROWS_OF_AN_OBJECT: Final = 1000


class _NoSuchKey(ClientError):
    pass


class Cloud:
    """The bucket, the key and an empty table, in memory."""

    class exceptions:  # noqa: N801 - boto3's name
        NoSuchKey = _NoSuchKey

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.read: list[str] = []

    def get_object(self, *, Key: str, **_: object) -> dict[str, BytesIO]:  # noqa: N803 - boto3's name
        self.read.append(Key)
        if Key not in self.objects:
            raise _NoSuchKey({"Error": {"Code": "NoSuchKey", "Message": ""}}, "GetObject")
        return {"Body": BytesIO(self.objects[Key])}

    def list_objects_v2(self, *, Prefix: str, **_: object) -> dict[str, int]:  # noqa: N803 - boto3's name
        return {"KeyCount": any(key.startswith(Prefix) for key in self.objects)}

    def generate_mac(self, *, Message: bytes, **_: object) -> dict[str, bytes]:  # noqa: N803 - boto3's name
        return {"Mac": sha256(Message).digest()}

    def query(self, *_: object, **__: object) -> Iterator[dict[str, Any]]:
        return iter(())

    def count(self, *_: object, **__: object) -> int:
        return 0


def _row(pseudonym: str, at: datetime) -> bytes:
    record_id = UUID(int=int(at.timestamp() * 1000) << 80 | secrets.randbits(62), version=7)
    shown = {
        "token_day": f"{secrets.token_hex(16)}#{at:%Y-%m-%d}",
        "id": str(record_id),
        "kind": "dataset",
        "at": at.isoformat(timespec="milliseconds"),
        "organisation": "COMMUNE EXEMPLE",
        "siret": "13002526500013",
        "dataset": "quotient_familial",
        "released": ["quotientFamilial", "annee", "mois"],
        "status": 200,
    }
    return canonical_json([pseudonym, shown])


def fill(cloud: Cloud, rows: int) -> None:
    """Make the archive of 36 months before ``NOW``, of this many rows each."""
    bits = max(0, (rows - 1).bit_length() - (ROWS_OF_AN_OBJECT - 1).bit_length())
    months = pseudonyms.months(NOW - timedelta(days=36 * 30.4375), NOW)[:-1]
    earlier: dict[str, int] = {}
    before: bytes | None = None
    for month in months:
        key = pseudonyms.derive_month_key(cloud, "key", month)  # type: ignore[arg-type]  # of the client, one method
        citizen = pseudonyms.compute(key, CITIZEN)
        part = part_of(citizen, bits)
        start = datetime.combine(date.fromisoformat(f"{month}-28"), NOW.timetz())
        others = (
            f"{int(part, 16) << (32 - bits) | secrets.randbits(32 - bits):08x}{secrets.token_hex(28)}"
            for _ in range((rows >> bits) - OF_THE_CITIZEN)
        )
        names = [*others, *[citizen] * OF_THE_CITIZEN]
        lines = sorted(_row(name, start + timedelta(seconds=number)) for number, name in enumerate(names))
        cloud.objects[month_key(month, f"{part}.json.gz")] = compress(lines)
        objects = {
            part_of(f"{number << (32 - bits):08x}", bits): {"sha256": secrets.token_hex(32), "rows": len(lines)}
            for number in range(1 << bits)
        }
        manifest = month_manifest(month, bits, {"citizen": rows}, objects, earlier, before)
        before = cloud.objects[month_key(month)] = canonical_json(manifest)
        earlier = manifest["months"]


def measure(rows: int) -> dict[str, float]:
    cloud = Cloud()
    fill(cloud, rows)
    accesses = Accesses(cloud, Bucket(cloud, "seals"), cloud, ["key"], Marks(cloud, "entry", "operator"))  # type: ignore[arg-type]  # the methods used
    cloud.read.clear()
    start = perf_counter()
    page = access_log(accesses, CITIZEN, NOW)
    return {
        "rows_of_a_month": rows,
        "objects_read": len(cloud.read),
        "accesses": page["total"],
        "ms": round((perf_counter() - start) * 1000),
        "memory_mb": getrusage(RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    for rows in [int(rows) for rows in sys.argv[1:]] or [10_000, 1_000_000]:
        print(json.dumps(measure(rows)))  # noqa: T201 - a command
