"""Notices that a key is about to end: 90, 60, 30, 15 and 7 days before, and on the day.

Each is one message to everybody concerned, sent once, the furthest first: a job that did not run for a while sends
those that it missed. What is behind is written with the end that it was about: a key that is prolonged is counted anew,
by itself. A threshold that was crossed already when a key was issued or prolonged is no news, and is not told.

A key's notices are reserved, and each is sent, then confirmed. Who dies in between leaves a reservation that ends
(``LEASE``), and the next run sends what is left. One window stays open: SES took the message, and the process died
before it could confirm; the message is then sent twice. SES has no idempotency token that would close it, and the other
way about, a town might never know.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError
from pydantic import ValidationError

from api_particulier.habilitations import email
from api_particulier.habilitations.model import UnknownHabilitation
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import ACTIVE, Token
from api_particulier.observability import LogEvent, log

THRESHOLDS: Final = (90, 60, 30, 15, 7, 0)
"""Days before the end, in Paris."""
LEASE: Final = timedelta(minutes=15)
"""How long a notice is its sender's: longer than any function lives."""
_TOO_LATE: Final = -30
"""Of keys that ended a month ago, nothing is said any more."""
_PARIS: Final = ZoneInfo("Europe/Paris")

type Send = Callable[[Sequence[str], str, str], None]


@dataclass(frozen=True)
class ExpiringKey:
    """A live key, or one that has just ended, and who is to know."""

    token: Token
    ends: datetime
    days: int
    """Until the day of its end; 0 on that day, negative after."""
    recipients: tuple[str, ...]
    """Nobody, for a key whose habilitation is missing or cannot be read."""

    @property
    def crossed(self) -> list[int]:
        """The thresholds that were crossed since the key has this end, the furthest first."""
        at_first = _days(self.token.end_set or self.token.created, self.ends)
        return [one for one in THRESHOLDS if self.days <= one < at_first]


def expiring_keys(gateway: KeyStore, register: HabilitationRepository, now: datetime) -> Iterator[ExpiringKey]:
    """Yield the keys of which a notice is, or was, to be sent."""
    for token in lifecycle.list_all(gateway):
        if token.state != ACTIVE or token.expires is None:
            continue
        days = _days(now, token.expires)
        if _TOO_LATE < days <= max(THRESHOLDS):
            yield ExpiringKey(token, token.expires, days, _recipients(register, token))


def send_due(gateway: KeyStore, register: HabilitationRepository, now: datetime, send: Send = email.send) -> int:
    """Send every notice that is due; return how many could not be sent, which the next run tries again."""
    failed = 0
    for one in expiring_keys(gateway, register, now):
        if not one.crossed:
            continue
        if not one.recipients:
            log(LogEvent.REMINDER_NOT_SENT, token=one.token.id, outcome="nobody to tell")
            continue
        try:
            _send_due(gateway, one, now, send)
        except email.MailFailed as error:
            failed += 1
            log(LogEvent.REMINDER_NOT_SENT, token=one.token.id, outcome="failed", exception=str(error))
    return failed


def _send_due(gateway: KeyStore, one: ExpiringKey, now: datetime, send: Send) -> None:
    until = {"N": f"{(now + LEASE).timestamp():.0f}"}
    reserved = _reserve(gateway, one, now, until)
    if reserved is None:
        return
    behind = int(reserved["notified"]["N"]) if reserved.get("notified_end") == {"S": one.ends.isoformat()} else None
    ours = "notifying_until = :until"
    for threshold in one.crossed:
        if behind is not None and threshold >= behind:
            continue
        try:
            send(one.recipients, _subject(one), _text(one, threshold, now))
        except email.MailFailed:
            _update(gateway, one, "REMOVE notifying_until", ours, {":until": until})
            raise
        values = {":until": until, ":threshold": {"N": str(threshold)}, ":ends": {"S": one.ends.isoformat()}}
        _update(gateway, one, "SET notified = :threshold, notified_end = :ends", ours, values)
        log(LogEvent.REMINDER_SENT, token=one.token.id, outcome=f"{threshold} days")
    _update(gateway, one, "REMOVE notifying_until", ours, {":until": until})


def _days(since: datetime, ends: datetime) -> int:
    return (ends.astimezone(_PARIS).date() - since.astimezone(_PARIS).date()).days


def _recipients(register: HabilitationRepository, token: Token) -> tuple[str, ...]:
    if token.habilitation is None:
        return ()
    try:
        return register.find(token.habilitation).recipients
    except (UnknownHabilitation, ValidationError):  # one that cannot be read keeps nobody else from being told
        return ()


def _reserve(gateway: KeyStore, one: ExpiringKey, now: datetime, until: dict[str, str]) -> dict[str, Any] | None:
    """Take upon oneself to send a key's notices, and return its item; None when none is due to us."""
    return _update(
        gateway,
        one,
        "SET notifying_until = :until",
        "#state = :active AND expires = :ends"
        " AND (attribute_not_exists(notified) OR notified_end <> :ends OR notified > :threshold)"
        " AND (attribute_not_exists(notifying_until) OR notifying_until <= :now)",
        {
            ":until": until,
            ":active": {"S": ACTIVE},
            ":ends": {"S": one.ends.isoformat()},
            ":threshold": {"N": str(one.crossed[-1])},
            ":now": {"N": f"{now.timestamp():.0f}"},
        },
    )


def _update(
    gateway: KeyStore, one: ExpiringKey, change: str, condition: str, values: dict[str, Any]
) -> dict[str, Any] | None:
    """Change the token's item and return it; None when it is not as the condition says."""
    names: dict[str, Any] = {"ExpressionAttributeNames": {"#state": "state"}} if "#state" in condition else {}
    try:
        return gateway.dynamodb.update_item(
            TableName=gateway.tokens_table,
            Key={"key_hash": {"S": one.token.key_hash}},
            UpdateExpression=change,
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
            ReturnValues="ALL_NEW",
            **names,
        )["Attributes"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return None


def _subject(one: ExpiringKey) -> str:
    return f"API Particulier : votre clé {_expires(one)}"


def _expires(one: ExpiringKey) -> str:
    match one.days:
        case 0:
            return "expire aujourd'hui"
        case 1:
            return "expire demain"
        case days if days > 0:
            return f"expire dans {days} jours"
        case _:
            return "a expiré"


def _text(one: ExpiringKey, threshold: int, now: datetime) -> str:
    ends = one.ends.astimezone(_PARIS)
    when = f"le {ends:%d/%m/%Y} à {ends:%H:%M} (heure de Paris)"
    fate = (
        f"a expiré {when} : elle n'est plus acceptée."
        if one.ends <= now
        else f"expire {when}. Passé cet instant, elle ne sera plus acceptée."
    )
    late = f"\n\nCe préavis de {threshold} jours vous parvient en retard." if max(one.days, 0) < threshold else ""
    replaced = (
        "Une nouvelle clé a été émise pour la remplacer : assurez-vous que vos logiciels l'utilisent."
        if one.token.successor
        else "Pour continuer à utiliser API Particulier, demandez le renouvellement de votre habilitation sur DataPass."
    )
    return (
        f"Bonjour,\n\nLa clé API Particulier de {one.token.organisation} (habilitation {one.token.habilitation}, "
        f"clé {one.token.id}) {fate}{late}\n\n{replaced}\n\nL'équipe API Particulier\n"
    )
