"""Verification: compares, every night, the day before with its seals (docs/decisions/0039-archive.md)."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

from api_particulier.audit import verification
from api_particulier.audit.bucket import Bucket
from api_particulier.audit.seals import Seal
from api_particulier.aws import kms, s3
from api_particulier.observability import LogEvent, count_verified, log, report_tampering
from api_particulier.settings import settings


class NotVerified(Exception):
    """The day before is not as it was sealed, or cannot be read whole; the log names each finding."""


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Verify the day before; raise ``NotVerified``, and count each finding as tampering, when it is not as sealed."""
    night = verification.verify_night(Bucket(s3(), settings().seals_bucket), datetime.now(UTC))
    findings = list(night.findings)
    if night.last is not None and not _is_signed(night.last):
        findings.append(verification.Finding(f"seal {night.last.number}", "the signature is wrong"))
    for finding in findings:
        log(LogEvent.NOT_VERIFIED, place=finding.place, outcome=finding.what)
        report_tampering("verification")
    if findings:
        raise NotVerified
    log(LogEvent.VERIFIED, entries=night.records)
    count_verified(1)


def _is_signed(seal: Seal) -> bool:
    """Check the signature of a seal, which covers those before it: each holds the hash of the one before."""
    try:
        verified = kms().verify(
            KeyId=settings().seal_key_id,
            Message=bytes.fromhex(seal.hash),
            MessageType="DIGEST",
            Signature=b64decode(seal.signature),
            SigningAlgorithm="ECDSA_SHA_256",
        )
    except (kms().exceptions.KMSInvalidSignatureException, ValueError):
        return False
    return bool(verified["SignatureValid"])
