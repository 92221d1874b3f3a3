"""Archive: puts the audit's days and months beside the seals, for 36 months (docs/decisions/0039-archive.md)."""

from datetime import UTC, datetime
from typing import Any

from api_particulier.audit import archive
from api_particulier.audit.bucket import Bucket, NotProven
from api_particulier.aws import s3
from api_particulier.observability import LogEvent, count_archive_run, log
from api_particulier.settings import settings


class NotArchived(Exception):
    """A day or a month cannot be archived whole; the log names it."""


def lambda_handler(_event: dict[str, Any], _context: object) -> list[str]:
    """Archive what is due; return the days. Raise ``NotArchived`` when something is not what was sealed."""
    bucket = Bucket(s3(), settings().seals_bucket, settings().seal_lock_mode)
    try:
        days = archive.run(bucket, datetime.now(UTC))
    except NotProven as error:
        log(LogEvent.NOT_ARCHIVED, place=str(error))
        raise NotArchived from None
    log(LogEvent.ARCHIVED, entries=len(days))
    count_archive_run()
    return [f"{day}" for day in days]
