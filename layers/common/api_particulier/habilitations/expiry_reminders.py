"""Reminders that a key is about to expire: 90, 60, 30, 15 and 7 days before its end, and on the day.

Each threshold is one message to all the recipients, sent once, the furthest threshold first: a job that did not run for
a while sends the reminders that it missed. What was sent is stored with the end that it was about, so an extended key
starts again. A threshold that was already passed when the key received its end is not sent.

A token's reminders are reserved, then each is sent and recorded. A killed process leaves a reservation that ends by
itself (``LEASE``), and the next run sends the rest. A message is sent twice when the process is killed after SES
accepted it and before it was recorded: SES has no idempotency token, and the opposite order could send none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from api_particulier.habilitations import email
from api_particulier.habilitations.model import UnknownHabilitation
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import ACTIVE, Token
from api_particulier.observability import LogEvent, log

THRESHOLDS: Final = (90, 60, 30, 15, 7, 0)
"""Days before the end, by the calendar of Paris."""
LEASE: Final = timedelta(minutes=15)
"""Longer than any function lives."""
_TOO_LATE: Final = -30
"""No reminder is sent a month after the end."""
_PARIS: Final = ZoneInfo("Europe/Paris")


@dataclass(frozen=True)
class ExpiringKey:
    """An active key that is about to expire, or has just expired, and the recipients of its reminders."""

    token: Token
    ends: datetime
    days: int
    """Days until the end; 0 on that day, negative after it."""
    recipients: tuple[str, ...]
    """Empty when the habilitation is missing or unreadable."""

    @property
    def due_thresholds(self) -> list[int]:
        """The thresholds passed since the key received its end, the furthest first."""
        at_first = _days_between(self.token.end_set or self.token.created, self.ends)
        return [threshold for threshold in THRESHOLDS if self.days <= threshold < at_first]


def expiring_keys(store: KeyStore, habilitations: HabilitationRepository, now: datetime) -> Iterator[ExpiringKey]:
    """Yield the keys that expire within 90 days, or expired within a month."""
    for token in store.list_all():
        if token.state != ACTIVE or token.expires is None:
            continue
        days = _days_between(now, token.expires)
        if _TOO_LATE < days <= max(THRESHOLDS):
            yield ExpiringKey(token, token.expires, days, _recipients(habilitations, token))


def send_due(store: KeyStore, habilitations: HabilitationRepository, now: datetime) -> int:
    """Send every reminder that is due; return how many keys failed, which the next run tries again."""
    failed = 0
    for key in expiring_keys(store, habilitations, now):
        if not key.due_thresholds:
            continue
        if not key.recipients:
            log(LogEvent.REMINDER_NOT_SENT, token=key.token.id, outcome="no recipient")
            continue
        try:
            _send_reminders(store, key, now)
        except email.MailFailed as error:
            failed += 1
            log(LogEvent.REMINDER_NOT_SENT, token=key.token.id, outcome="failed", exception=str(error))
    return failed


def _send_reminders(store: KeyStore, key: ExpiringKey, now: datetime) -> None:
    """Send the due reminders of a key that were not sent, unless another process is sending them."""
    until = now + LEASE
    item = store.acquire_reminders(key.token, key.due_thresholds[-1], until=until, now=now)
    if item is None:
        return
    last_sent = item["notified"] if item.get("notified_end") == key.ends.isoformat() else None
    for threshold in key.due_thresholds:
        if last_sent is not None and threshold >= last_sent:
            continue
        try:
            email.send(key.recipients, _subject(key), _text(key, threshold, now))
        except email.MailFailed:
            store.release_reminders(key.token, until=until)
            raise
        store.mark_reminded(key.token, threshold, until=until)
        log(LogEvent.REMINDER_SENT, token=key.token.id, outcome=f"{threshold} days")
    store.release_reminders(key.token, until=until)


def _days_between(start: datetime, end: datetime) -> int:
    """Return the number of days between two dates of the calendar of Paris."""
    return (end.astimezone(_PARIS).date() - start.astimezone(_PARIS).date()).days


def _recipients(habilitations: HabilitationRepository, token: Token) -> tuple[str, ...]:
    if token.habilitation is None:
        return ()
    try:
        return habilitations.find(token.habilitation).recipients
    except (UnknownHabilitation, ValidationError):  # an unreadable habilitation must not stop the others' reminders
        return ()


def _subject(key: ExpiringKey) -> str:
    return f"API Particulier : votre clé {_expires(key)}"


def _expires(key: ExpiringKey) -> str:
    match key.days:
        case 0:
            return "expire aujourd'hui"
        case 1:
            return "expire demain"
        case days if days > 0:
            return f"expire dans {days} jours"
        case _:
            return "a expiré"


def _text(key: ExpiringKey, threshold: int, now: datetime) -> str:
    ends = key.ends.astimezone(_PARIS)
    when = f"le {ends:%d/%m/%Y} à {ends:%H:%M} (heure de Paris)"
    fate = (
        f"a expiré {when} : elle n'est plus acceptée."
        if key.ends <= now
        else f"expire {when}. Passé cet instant, elle ne sera plus acceptée."
    )
    late = f"\n\nCe préavis de {threshold} jours vous parvient en retard." if max(key.days, 0) < threshold else ""
    replaced = (
        "Une nouvelle clé a été émise pour la remplacer : assurez-vous que vos logiciels l'utilisent."
        if key.token.successor
        else "Pour continuer à utiliser API Particulier, demandez le renouvellement de votre habilitation sur DataPass."
    )
    return (
        f"Bonjour,\n\nLa clé API Particulier de {key.token.organisation} (habilitation {key.token.habilitation}, "
        f"clé {key.token.id}) {fate}{late}\n\n{replaced}\n\nL'équipe API Particulier\n"
    )
