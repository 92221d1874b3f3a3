"""Statistics: counts the calls of the audit records that the table's stream delivers, each once."""

from typing import Any

from api_particulier.public import statistics


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, list[dict[str, str]]]:
    """Count the calls of a batch; return the records that failed, for Lambda to deliver again."""
    return {"batchItemFailures": [{"itemIdentifier": number} for number in statistics.consume(event["Records"])]}
