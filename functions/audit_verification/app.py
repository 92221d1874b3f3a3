"""Verification: compares, every night, the day before with its seals, and mails the head of the audit."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, Final

from api_particulier.audit import checkpoint, verification
from api_particulier.audit.bucket import Bucket
from api_particulier.audit.seals import Seal
from api_particulier.aws import kms, s3
from api_particulier.habilitations import email
from api_particulier.observability import LogEvent, count_verified, log, report_tampering
from api_particulier.settings import settings


class NotVerified(Exception):
    """The day before is not as it was sealed, or the head was not mailed; the log names each finding."""


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Verify the day before, and count each finding as tampering.

    Raise ``NotVerified`` when there is one, or when the head was not mailed: the night then does not count as verified,
    and its alarm rings.
    """
    now = datetime.now(UTC)
    is_mailed = mail_head(now)
    night = verification.verify_night(Bucket(s3(), settings().seals_bucket), now)
    findings = list(night.findings)
    if night.last is not None and not _is_signed(night.last):
        findings.append(verification.Finding(f"seal {night.last.number}", "the signature is wrong"))
    for finding in findings:
        log(LogEvent.NOT_VERIFIED, place=finding.place, outcome=finding.what)
        report_tampering("verification")
    if findings or not is_mailed:
        raise NotVerified
    log(LogEvent.VERIFIED, entries=night.records)
    count_verified(1)


def mail_head(now: datetime) -> bool:
    """Mail the last checkpoint to the data protection officer: a later chain that differs from it is a forged one.

    Return False when it could not be sent; without an address or a checkpoint there is nothing to send.
    """
    note = checkpoint.last_note(now) if settings().dpo_mail and settings().mail_sender else None
    if note is None:
        return True
    try:
        email.send([str(settings().dpo_mail)], _SUBJECT.format(day=now), _TEXT.format(note=note))
    except email.MailFailed as error:
        log(LogEvent.REMINDER_NOT_SENT, outcome="checkpoint", exception=str(error))
        return False
    return True


_SUBJECT: Final = "API Particulier : tête du journal d'audit au {day:%Y-%m-%d}"
_TEXT: Final = """Conservez ce message. Le texte ci-dessous est signé, et fixe ce que contient le journal d'audit
à ce jour. Enregistré dans un fichier, il prouve qu'un export n'a pas été réécrit depuis :
api-particulier audit verify-file EXPORT --head FICHIER (docs/audit-format.md).

{note}"""


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
