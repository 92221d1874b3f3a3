"""Seals: puts the records of the audit table under Object Lock, and counts them; publishes their head every hour."""

from datetime import UTC, datetime
from typing import Any

from api_particulier.audit import checkpoint, sealing


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, list[object]]:
    """Seal a batch of the stream, whole or not at all: Lambda delivers it again when it raises.

    An event of no stream is the hour's: the checkpoint is published.
    """
    if "Records" in event:
        sealing.seal(event["Records"])
    else:
        checkpoint.publish(datetime.now(UTC))
    return {"batchItemFailures": []}
