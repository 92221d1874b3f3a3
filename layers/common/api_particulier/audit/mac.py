"""The MAC of an audit record: the right to write in the table is not enough to forge a record.

It is the HMAC-SHA256 of the canonical JSON of the record without its MAC, under a key of the month. KMS derives this
key and an environment keeps it in memory. Only a record with a valid MAC is sealed (docs/decisions/0012-seals.md).
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from api_particulier import aws
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.settings import settings

MAC: Final = "mac"
"""The attribute of the audit table."""
_LABEL: Final = "api-particulier/entries/"


def sign(record: Mapping[str, Any], at: datetime) -> str:
    """Return the MAC of a record written at a moment, 64 hexadecimal digits.

    Raise botocore's errors when KMS does not answer, ``ValueError`` for a value that no record holds.
    """
    signed = {name: value for name, value in record.items() if name != MAC}
    key = _month_key(settings().entry_key_id, f"{at.astimezone(UTC):%Y-%m}")
    return hmac.digest(key, canonical_json(signed), "sha256").hex()


def verify(record: Mapping[str, Any], at: datetime) -> bool:
    """Check the MAC of a record written at a moment; raise botocore's errors when KMS does not answer."""
    return hmac.compare_digest(sign(record, at).encode(), str(record.get(MAC, "")).encode())


@lru_cache(maxsize=2)
def _month_key(key_id: str, month: str) -> bytes:
    """Have KMS derive the key of a month, 32 bytes."""
    derived = aws.kms().generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=f"{_LABEL}{month}".encode())
    return derived["Mac"]
