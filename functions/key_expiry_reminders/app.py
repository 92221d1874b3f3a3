"""Send the reminders of the keys that are about to expire, and forget former contacts, every morning."""

from datetime import UTC, datetime
from typing import Any

from api_particulier.habilitations import expiry_reminders, retention
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore


class RemindersNotSent(Exception):
    """How many keys' reminders failed: Lambda tries again twice, then the next day's run does."""


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Send every reminder that is due; raise ``RemindersNotSent`` when some failed."""
    store, habilitations = KeyStore.from_environment(), HabilitationRepository.from_environment()
    now = datetime.now(UTC)
    failed = expiry_reminders.send_due(store, habilitations, now)
    retention.forget_contacts(habilitations, now)
    if failed:
        raise RemindersNotSent(failed)
