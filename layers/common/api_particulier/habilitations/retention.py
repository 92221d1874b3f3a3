"""Contacts are forgotten a year after the end of their habilitation; its other texts and its history stay."""

from datetime import UTC, datetime, timedelta
from typing import Final

from api_particulier.habilitations.model import FINAL_STATES
from api_particulier.habilitations.repository import HabilitationRepository

KEPT: Final = timedelta(days=365)
"""How long the contacts of a revoked or archived habilitation are kept: its last reports and questions come by then."""


def forget_contacts(habilitations: HabilitationRepository, now: datetime) -> None:
    """Remove the contacts of habilitations that ended more than a year ago; idempotent."""
    for habilitation in habilitations.list_readable():
        has_contacts = habilitation.request is not None and habilitation.request.contacts
        ended = datetime.fromtimestamp(habilitation.applied, UTC)
        if habilitation.state in FINAL_STATES and has_contacts and ended + KEPT < now:
            habilitations.forget_contacts(habilitation)
