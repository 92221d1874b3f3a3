"""Pseudonyms of citizens: the audit recognises a person for a month and holds no identifier.

A pseudonym is the HMAC-SHA256 of a normalised identifier under the key of the month (UTC). KMS derives this key as the
MAC of the month's name, under a key that never leaves KMS. An environment asks once and keeps it in memory. The keys
of past months can be derived again as long as the KMS key exists (docs/decisions/0033-pseudonyms.md).
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
    """Return the pseudonym of an identifier at a moment, 64 hexadecimal digits.

    Raise ``AuditUnavailable`` when KMS does not answer.
    """
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
    """Return the month of a moment in UTC: ``2026-11``."""
    return f"{moment.astimezone(UTC):%Y-%m}"


def months(since: datetime, until: datetime) -> list[str]:
    """Return the months in UTC from one moment to another, both included."""
    first, last = (12 * end.year + end.month - 1 for end in (since.astimezone(UTC), until.astimezone(UTC)))
    return [f"{month // 12}-{month % 12 + 1:02}" for month in range(first, last + 1)]


def derive_month_key(kms: "KMSClient", key_id: str, month: str) -> bytes:
    """Have KMS derive the key of a month, 32 bytes; raise botocore's errors when it does not answer."""
    return kms.generate_mac(KeyId=key_id, MacAlgorithm="HMAC_SHA_256", Message=f"{_LABEL}{month}".encode())["Mac"]


@lru_cache(maxsize=1)
def _current_key(key_id: str, month: str) -> bytes:
    """Return the key of the current month, kept until the next one."""
    return derive_month_key(aws.kms(), key_id, month)
