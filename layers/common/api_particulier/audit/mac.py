"""The MAC of an audit record: the right to write in the table is not enough to forge a record.

It is the HMAC-SHA256 of the canonical JSON of the record without its MAC, under a key of the month. KMS derives this
key and an environment keeps it in memory. Only a record with a valid MAC is sealed (docs/decisions/0012-seals.md).

The records of operators have a KMS key of their own: an operator can sign those, and cannot forge the record of a call.
"""

import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from api_particulier import aws
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

OPERATOR: Final = "operator"
"""The type of the record of an operator's command (docs/decisions/0047-operators.md)."""
MAC: Final = "mac"
"""The attribute of the audit table."""
_LABEL: Final = "api-particulier/entries/"


def sign(record: Mapping[str, Any], at: datetime) -> str:
    """Return the MAC of a record written at a moment, 43 characters.

    Raise botocore's errors when KMS does not answer, ``ValueError`` for a value that no record holds.
    """
    key_id = settings().operator_key_id if record.get("kind") == OPERATOR else settings().entry_key_id
    return compute(_month_key(key_id, f"{at.astimezone(UTC):%Y-%m}"), record)


def compute(key: bytes, record: Mapping[str, Any]) -> str:
    """Return the MAC of a record under the key of its month, in base64 for URLs without padding.

    Raise ``ValueError`` for a value that no record holds.
    """
    signed = {name: value for name, value in record.items() if name != MAC}
    return urlsafe_b64encode(hmac.digest(key, canonical_json(signed), "sha256")).rstrip(b"=").decode()


def verify(record: Mapping[str, Any], at: datetime) -> bool:
    """Check the MAC of a record written at a moment; raise botocore's errors when KMS does not answer."""
    return hmac.compare_digest(sign(record, at).encode(), str(record.get(MAC, "")).encode())


@dataclass(frozen=True)
class Marks:
    """The KMS keys of the MACs, for a reader of records; the key of a month is derived once."""

    kms: "KMSClient"
    entry_key_id: str
    operator_key_id: str
    _months: dict[tuple[str, str], bytes] = field(default_factory=dict)

    def proves(self, record: Mapping[str, Any]) -> bool:
        """Check the MAC of a record; raise botocore's errors when KMS does not answer."""
        key_id = self.operator_key_id if record.get("kind") == OPERATOR else self.entry_key_id
        month = str(record.get("at"))[:7]
        if re.fullmatch(r"\d{4}-\d{2}", month) is None:
            return False
        if (key_id, month) not in self._months:
            self._months[key_id, month] = derive_month_key(self.kms, key_id, month)
        try:
            expected = compute(self._months[key_id, month], record)
        except (TypeError, ValueError):  # a value that no record holds
            return False
        return hmac.compare_digest(expected.encode(), str(record.get(MAC, "")).encode())


def derive_month_key(kms: "KMSClient", key_id: str, month: str) -> bytes:
    """Have KMS derive the key of a month, 32 bytes; raise botocore's errors when it does not answer."""
    return kms.generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=f"{_LABEL}{month}".encode())["Mac"]


@lru_cache(maxsize=4)
def _month_key(key_id: str, month: str) -> bytes:
    return derive_month_key(aws.kms(), key_id, month)
