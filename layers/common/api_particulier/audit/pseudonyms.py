"""Citizens in the audit without their names: the same person is the same 64 digits for a month, and nobody knows whom.

A pseudonym is HMAC-SHA256 of a normalised identifier under the key of its month (UTC). KMS derives that key, as the MAC
of the month's name under a key that never leaves it: an environment asks once, holds the key in memory, and makes
pseudonyms by itself; whoever may use the KMS key derives every past one again, so that nothing is lost when months
pass or the KMS key is rotated (docs/decisions/0033-pseudonyms.md).
"""

import hmac
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier import aws
from api_particulier.errors import AuditUnavailable
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_LABEL: Final = "api-particulier/pseudonyms/"


def pseudonym(identifier: str, at: datetime) -> str:
    """Return what an identifier is called at a moment, 64 hexadecimal digits; ``AuditUnavailable`` without KMS."""
    try:
        key = _current_key(settings().pseudonym_key_id, month_of(at))
    except (BotoCoreError, ClientError) as error:
        log(LogEvent.AUDIT_FAILED, exception=type(error).__name__)
        raise AuditUnavailable from None
    return compute(key, identifier)


def compute(key: bytes, identifier: str) -> str:
    """Return the pseudonym of an identifier under the key of a month."""
    return hmac.digest(key, identifier.encode(), "sha256").hex()


def month_of(moment: datetime) -> str:
    """Return the month, in UTC, that a pseudonym made at this moment is of: ``2026-11``."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def months(since: datetime, until: datetime) -> list[str]:
    """Return the months from one moment to another, both included."""
    first, last = (12 * one.year + one.month - 1 for one in (since.astimezone(UTC), until.astimezone(UTC)))
    return [f"{month // 12}-{month % 12 + 1:02}" for month in range(first, last + 1)]


def derive_month_key(kms: "KMSClient", key_id: str, month: str) -> bytes:
    """Have KMS derive the key of a month, 32 bytes; botocore's errors when it does not."""
    return kms.generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=f"{_LABEL}{month}".encode())["Mac"]


@lru_cache(maxsize=1)
def _current_key(key_id: str, month: str) -> bytes:
    """Return the key of the month, which an environment remembers until the next one."""
    return derive_month_key(aws.kms(), key_id, month)
