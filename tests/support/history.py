"""A past for the audit: records of chosen moments, sealed then, as the sealing function would have done."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from typing import Any

import time_machine
from uuid6 import UUID

from api_particulier.audit import pseudonyms
from api_particulier.audit.bucket import Bucket, compress, records_key
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from api_particulier.audit.record import DATASET, AuditRecord
from api_particulier.audit.seals import GENESIS_HASH, Seal, counts_of, key_of
from tests.support.sealing import Sealing


def noon(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(12), UTC)


def id_at(moment: datetime, number: int = 0) -> str:
    """Return a UUIDv7 of a moment."""
    value = int(moment.timestamp() * 1000) << 80 | 7 << 76 | 2 << 62 | number
    return str(UUID(int=value))


@dataclass
class History:
    """A chain of seals of chosen dates in the bucket, with their records; the table holds them only when asked to."""

    sealing: Sealing
    last: Seal | None = None
    made: int = 0
    lines: list[bytes] = field(default_factory=list)

    @property
    def bucket(self) -> Bucket:
        return Bucket(self.sealing.s3, self.sealing.deployment.outputs["SealsBucket"], "GOVERNANCE")

    def record(self, at: datetime, identifier: str | None = "dgfip:2690000000011", **changes: Any) -> dict[str, Any]:
        """Return the record of an access, as its function wrote it."""
        self.made += 1
        made = AuditRecord(at, f"r{self.made}", "avis_imposition", "/api/v2/avis-imposition", "203.0.113.7", DATASET)
        made.id = id_at(at, self.made)
        made.organisation, made.siret, made.token, made.status = "VILLE EXEMPLE", "21000015400018", "jeton-1", 200
        made.released = ["nombreParts"]
        made.citizen = pseudonyms.pseudonym(identifier, at) if identifier else None
        for name, value in changes.items():
            setattr(made, name, value)
        return made.to_item()

    def seal(self, records: Sequence[dict[str, Any]], at: datetime, header: Mapping[str, Any] | None = None) -> Seal:
        """Seal records at a moment; ``header`` replaces parts of the seal's own."""
        ordered = sorted(records, key=lambda record: str(record["id"]))
        lines = [canonical_json(record) for record in ordered]
        entries = [(record["token_day"], record["id"], leaf(record)) for record in ordered]
        content = compress(lines)
        digest = sha256(content).hexdigest()
        made = {
            "format": "api-particulier/seal/2",
            "number": self.last.number + 1 if self.last else 1,
            "previous": self.last.hash if self.last else GENESIS_HASH,
            "at": at.isoformat(timespec="milliseconds"),
            "count": len(entries),
            "root": root([entry[2] for entry in entries]),
            "entries": sha256(canonical_json(entries)).hexdigest(),
            "records": digest,
            "counts": counts_of(records),
        } | dict(header or {})
        deployment = self.sealing.deployment
        signature = deployment.kms.sign(
            KeyId=deployment.outputs["SealKeyId"], Message=canonical_json(made), SigningAlgorithm="ECDSA_SHA_256"
        )["Signature"]
        seal = Seal(made, b64encode(signature).decode(), entries)
        self.bucket.put_once(records_key(digest), content, datetime.now(UTC) + timedelta(days=46))
        with time_machine.travel(at, tick=False):  # the date of the object is that of the seal
            self.sealing.s3.put_object(Bucket=self.bucket.name, Key=key_of(seal.number), Body=seal.to_bytes())
        self.last = seal
        self.lines += lines
        return seal

    def keep(self, records: Sequence[dict[str, Any]]) -> None:
        """Put records in the table, as if it had kept them."""
        for record in records:
            self.sealing.cloud.audit.put_item(Item=record)

    def object(self, key: str) -> Any:
        return json.loads(self.bucket.get(key))

    def replace(self, key: str, content: bytes | None) -> None:
        """Change an object, or delete it if ``content`` is None, by going round the lock and leaving no version."""
        s3, name = self.sealing.s3, self.bucket.name
        found = s3.list_object_versions(Bucket=name, Prefix=key)
        for version in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=name, Key=key, VersionId=version["VersionId"], BypassGovernanceRetention=True)
        if content is not None:
            s3.put_object(Bucket=name, Key=key, Body=content)
