"""Key notices: once a day, tell those whose keys are about to end. Nobody calls it but the clock."""

from datetime import UTC, datetime
from typing import Any

from api_particulier.habilitations import expiry_reminders
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore


class NoticesNotSent(Exception):
    """So many could not be: Lambda tries again twice, and then the next day's run does."""


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Send every notice that is due; ``NoticesNotSent`` when some could not be."""
    failed = expiry_reminders.send_due(KeyStore.of_function(), HabilitationRepository.of_function(), datetime.now(UTC))
    if failed:
        raise NoticesNotSent(failed)
