"""Seals: signed Merkle trees of audit records, chained to each other, in a bucket under Object Lock.

What is hashed and signed, byte for byte, is in docs/audit-format.md; how a seal is made, in ``sealing``; where it
stands among the others, in ``chain`` (docs/decisions/0038-one-consumer.md).
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Self

from uuid6 import UUID

from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.record import DATASET
from api_particulier.paris_time import day_of

FORMAT: Final = "api-particulier/seal/2"
FORMATS: Final = frozenset({FORMAT, "api-particulier/seal/1"})
"""The first form has neither ``records`` nor ``counts``; both may stand in one chain."""
GENESIS_HASH: Final = "0" * 64
"""The ``previous`` of the first seal."""
MAX_SEAL_DELAY: Final = timedelta(seconds=60)
"""The longest time from a record's date to its seal: more than a call lasts and clocks differ."""
COUNTERS: Final = "counters"
"""The partition of the statistics table where the counts of all seals are added up, by their names."""

type RecordKey = tuple[str, str]
"""The key of a record in the audit table: ``token_day`` and ``id``."""


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

    @property
    def counts(self) -> dict[str, int]:
        """Calls of datasets among the records, by ``<day in Paris>#<dataset>#<status>``."""
        return dict(self.header.get("counts", {}))

    @property
    def skipped(self) -> dict[int, str]:
        """Objects that stand between the seal before and this one and are no seals: SHA-256 by number."""
        return {int(step["number"]): str(step["sha256"]) for step in self.header.get("skipped", [])}

    @property
    def before(self) -> int:
        """The number of the seal that this one follows; 0 for the first."""
        return self.number - 1 - len(self.skipped)

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
            _ = seal.at, seal.header["previous"], seal.header["root"], seal.counts, seal.before, seal.hash
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError):
            msg = "this is no seal"
            raise ValueError(msg) from None
        return seal


def counts_of(records: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return the calls of datasets among records, by ``<day in Paris>#<dataset>#<status>``."""
    calls = (record for record in records if record.get("kind") == DATASET)
    named = (f"{day_of(datetime.fromisoformat(call['at']))}#{call['dataset']}#{call['status']}" for call in calls)
    return dict(Counter(named))


def key_of(number: int) -> str:
    """Return the key of a seal's object."""
    return f"seals/{number:012}.json"


def id_at(moment: datetime) -> str:
    """Return the beginning of the ids made at a moment: a UUIDv7 begins with its milliseconds."""
    digits = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}"


def number_of(key: str) -> int:
    """Return the number of the seal that an object of this key is; 0 for the key of no seal."""
    digits = key.removeprefix("seals/").removesuffix(".json")
    return int(digits) if digits.isdecimal() and digits.isascii() and key == key_of(int(digits)) else 0


def time_of(record_id: str) -> datetime:
    """Return the time of a record's id; raise ``ValueError`` when the id is not a UUIDv7 (RFC 9562 §5.7)."""
    identifier = UUID(record_id)
    if identifier.version != 7:  # noqa: PLR2004 - UUIDv7
        msg = "not a UUIDv7"
        raise ValueError(msg)
    return datetime.fromtimestamp(identifier.time / 1000, UTC)
