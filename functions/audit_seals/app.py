"""Seals: puts the records of the audit table under Object Lock, and counts them."""

from typing import Any

from api_particulier.audit import sealing


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, list[object]]:
    """Seal a batch of the stream, whole or not at all: Lambda delivers it again when it raises."""
    sealing.seal(event["Records"])
    return {"batchItemFailures": []}
