"""What proves that a function of ours wrote an entry of the audit: whoever may only write in the table can forge none.

An entry carries, as ``mac``, the HMAC-SHA256 of the canonical JSON of all else that it holds, under a key of its month
that KMS derives and an environment remembers. Only what bears a right one is sealed (docs/decisions/0012-seals.md).
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
_LABEL: Final = "api-particulier/entries/"


def sign(entry: Mapping[str, Any], at: datetime) -> str:
    """Return the mark of an entry written at a moment, 64 hexadecimal digits; botocore's errors without KMS."""
    told = {name: value for name, value in entry.items() if name != MAC}
    key = _key(settings().entry_key_id, f"{at.astimezone(UTC):%Y-%m}")
    return hmac.digest(key, canonical_json(told), "sha256").hex()


def verify(entry: Mapping[str, Any], at: datetime) -> bool:
    """Tell whether an entry bears the mark of a function of ours; botocore's errors without KMS."""
    return hmac.compare_digest(sign(entry, at).encode(), str(entry.get(MAC, "")).encode())


@lru_cache(maxsize=2)
def _key(key_id: str, month: str) -> bytes:
    """Have KMS derive the key of a month, 32 bytes."""
    answer = aws.kms().generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=f"{_LABEL}{month}".encode())
    return answer["Mac"]
