"""Seals: puts the records of the audit table's stream under Object Lock (docs/decisions/0012-seals.md)."""

from typing import Any

from api_particulier.audit import seals


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, list[object]]:
    """Seal a batch of the stream, whole or not at all: Lambda delivers it again when it raises."""
    seals.seal(event["Records"])
    return {"batchItemFailures": []}
