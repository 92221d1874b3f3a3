"""Seal: what the audit table's stream brings, put where nobody can change it (docs/decisions/0012-seals.md)."""

from typing import Any

from api_particulier.audit import seals


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, list[object]]:
    """Seal one batch of a DynamoDB stream; whole, or not at all: what fails is brought again."""
    seals.seal(event["Records"])
    return {"batchItemFailures": []}
