"""Key notices: once a day, tell those whose keys are about to end. Nobody calls it but the clock."""

from datetime import UTC, datetime
from typing import Any

from api_particulier import notices
from api_particulier.gateway import Gateway
from api_particulier.register import Register


class NoticesNotSent(Exception):
    """So many could not be: Lambda tries again twice, and then the next day's run does."""


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Send every notice that is due; ``NoticesNotSent`` when some could not be."""
    failed = notices.send_due(Gateway.of_function(), Register.of_function(), datetime.now(UTC))
    if failed:
        raise NoticesNotSent(failed)
