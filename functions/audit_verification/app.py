"""Verification: compares, every night, the day before with its seals, and has the head of the audit kept elsewhere."""

from base64 import b64decode, encodebytes
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit import chain, checkpoint, verification
from api_particulier.audit.bucket import Bucket
from api_particulier.audit.seals import Seal
from api_particulier.aws import s3
from api_particulier.habilitations import email
from api_particulier.observability import LogEvent, count_verified, log, report_tampering
from api_particulier.providers import timestamp_authority
from api_particulier.settings import settings


class NotVerified(Exception):
    """The day before is not as it was sealed, or the head was not stamped or mailed; the log names each finding."""


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Verify the day before, and count each finding as tampering.

    Raise ``NotVerified`` when there is one, or when the head was not stamped or mailed: the night then does not count
    as verified, and its alarm rings.
    """
    now = datetime.now(UTC)
    is_kept = keep_head(now)
    night = verification.verify_night(Bucket(s3(), settings().seals_bucket), now)
    findings = list(night.findings)
    if night.last is not None and not _is_signed(night.last):
        findings.append(verification.Finding(f"seal {night.last.number}", "the signature is wrong"))
    for finding in findings:
        log(LogEvent.NOT_VERIFIED, place=finding.place, outcome=finding.what)
        report_tampering("verification")
    if findings or not is_kept:
        raise NotVerified
    log(LogEvent.VERIFIED, entries=night.records)
    count_verified(1)


def keep_head(now: datetime) -> bool:
    """Have the last checkpoint stamped and mailed: a later chain that differs from it is a forged one.

    Return False when either failed; without an authority, an address or a checkpoint there is nothing to do.
    """
    published = checkpoint.last_published(now)
    if published is None:
        return True
    stamp = _stamp(published.note) if settings().timestamp_url else b""
    is_stamped = not settings().timestamp_url or (bool(stamp) and _keep_stamp(published, stamp))
    is_mailed = _mail(published.note, stamp, now) if settings().dpo_mail and settings().mail_sender else True
    return is_stamped and is_mailed


def _stamp(note: str) -> bytes:
    """Return the stamp of a checkpoint; nothing when the authority gave none."""
    try:
        return timestamp_authority.stamp(note.encode())
    except timestamp_authority.NotStamped as error:
        log(LogEvent.HEAD_NOT_STAMPED, outcome=str(error))
        return b""


def _keep_stamp(published: checkpoint.Published, stamp: bytes) -> bool:
    """Keep a stamp beside its checkpoint; return False when S3 refuses, which must not stop the verification."""
    try:
        checkpoint.keep_stamp(published, stamp)
    except (BotoCoreError, ClientError) as error:
        log(LogEvent.HEAD_NOT_STAMPED, outcome="not kept", exception=type(error).__name__)
        return False
    return True


def _mail(note: str, stamp: bytes, now: datetime) -> bool:
    """Mail a checkpoint, and its stamp if it has one, to the data protection officer; return False if it cannot."""
    text = _TEXT.format(note=note) + (_STAMP.format(stamp=encodebytes(stamp).decode()) if stamp else "")
    try:
        email.send([str(settings().dpo_mail)], _SUBJECT.format(day=now), text)
    except email.MailFailed as error:
        log(LogEvent.REMINDER_NOT_SENT, outcome="checkpoint", exception=str(error))
        return False
    return True


_SUBJECT: Final = "API Particulier : tête du journal d'audit au {day:%Y-%m-%d}"
_TEXT: Final = """Conservez ce message. Le texte ci-dessous est signé, et fixe ce que contient le journal d'audit
à ce jour. Enregistré dans un fichier, il prouve qu'un export n'a pas été réécrit depuis :
api-particulier audit verify-file EXPORT --head FICHIER (docs/audit-format.md).

{note}"""
_STAMP: Final = """
Les lignes ci-dessous sont l'horodatage (RFC 3161) de ce texte. Enregistrées dans un autre fichier, elles prouvent
que le texte existait à l'heure qu'elles indiquent : ajoutez --stamp FICHIER --authority CERTIFICAT, où CERTIFICAT
est celui de l'autorité d'horodatage.

{stamp}"""


def _is_signed(seal: Seal) -> bool:
    """Check the signature of a seal, which covers those before it: each holds the hash of the one before."""
    try:
        return chain.is_signed(seal.hash, b64decode(seal.signature))
    except ValueError:
        return False
