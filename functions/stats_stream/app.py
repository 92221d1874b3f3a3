"""Statistics: counts the calls that the audit table's stream tells of, each once."""

from typing import Any

from api_particulier.public import statistics


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, list[dict[str, str]]]:
    """Count a batch, and name the records of it that could not be."""
    return {"batchItemFailures": [{"itemIdentifier": number} for number in statistics.consume(event["Records"])]}
