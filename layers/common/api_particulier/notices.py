"""Notices that a key is about to end: 90, 60, 30, 15 and 7 days before, and on the day.

A notice is one message to everybody concerned, of the nearest threshold that was crossed; that one and those before it
are then behind, so that a job that did not run for a while sends one message and not several. What is behind is
written with the end that it was about: a key that is prolonged is counted anew, by itself.

A notice is reserved, sent, then confirmed. Who dies in between leaves a reservation that ends (``LEASE``), and the next
run sends it. One window is left: SES took the message, and the process died before it could confirm; the message is
then sent twice. SES has no idempotency token that would close it, and the other way about, a town might never know.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from botocore.exceptions import ClientError
from pydantic import ValidationError

from api_particulier import habilitations, keys, mail
from api_particulier.habilitations import Register, UnknownHabilitationError
from api_particulier.keys import Gateway
from api_particulier.observability import Event, log
from api_particulier.tokens import ACTIVE, Token

THRESHOLDS: Final = (90, 60, 30, 15, 7, 0)
"""Days before the end, in Paris."""
LEASE: Final = timedelta(minutes=15)
"""How long a notice is its sender's: longer than any function lives."""
_TOO_LATE: Final = -30
"""Of keys that ended a month ago, nothing is said any more."""
_PARIS: Final = ZoneInfo("Europe/Paris")

type Send = Callable[[Sequence[str], str, str], None]


@dataclass(frozen=True)
class Ending:
    """A live key, or one that has just ended, and who is to know."""

    token: Token
    ends: datetime
    days: int
    """Until the day of its end; 0 on that day, negative after."""
    recipients: tuple[str, ...]
    """Nobody, for a key whose habilitation is missing or cannot be read."""

    @property
    def threshold(self) -> int:
        """The nearest threshold that was crossed."""
        return min(one for one in THRESHOLDS if one >= self.days)


def ending(gateway: Gateway, register: Register, now: datetime) -> Iterator[Ending]:
    """Yield the keys of which a notice is, or was, to be sent."""
    for token in keys.list_all(gateway):
        if token.state != ACTIVE or token.expires is None:
            continue
        days = (token.expires.astimezone(_PARIS).date() - now.astimezone(_PARIS).date()).days
        if _TOO_LATE < days <= max(THRESHOLDS):
            yield Ending(token, token.expires, days, _recipients(register, token))


def send_due(gateway: Gateway, register: Register, now: datetime, send: Send = mail.send) -> int:
    """Send every notice that is due; return how many could not be sent, which the next run tries again."""
    failed = 0
    for one in ending(gateway, register, now):
        if not one.recipients:
            log(Event.NOTICE_NOT_SENT, token=one.token.id, outcome="nobody to tell")
            continue
        until = _reserve(gateway, one, now)
        if until is None:
            continue
        try:
            send(one.recipients, _subject(one), _text(one, now))
        except mail.MailFailed as error:
            failed += 1
            log(Event.NOTICE_NOT_SENT, token=one.token.id, outcome="failed", exception=str(error))
            _update(gateway, one, "REMOVE notifying_until", "notifying_until = :until", {":until": until})
            continue
        _confirm(gateway, one, until)
        log(Event.NOTICE_SENT, token=one.token.id, outcome=f"{one.threshold} days")
    return failed


def _recipients(register: Register, token: Token) -> tuple[str, ...]:
    if token.habilitation is None:
        return ()
    try:
        return habilitations.find(register, token.habilitation).recipients
    except (UnknownHabilitationError, ValidationError):  # one that cannot be read keeps nobody else from being told
        return ()


def _reserve(gateway: Gateway, one: Ending, now: datetime) -> dict[str, str] | None:
    """Take upon oneself to send a notice; None when it is behind, or somebody is sending it."""
    until = {"N": f"{(now + LEASE).timestamp():.0f}"}
    taken = _update(
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
            ":threshold": {"N": str(one.threshold)},
            ":now": {"N": f"{now.timestamp():.0f}"},
        },
    )
    return until if taken else None


def _confirm(gateway: Gateway, one: Ending, until: dict[str, str]) -> None:
    _update(
        gateway,
        one,
        "SET notified = :threshold, notified_end = :ends REMOVE notifying_until",
        "notifying_until = :until",
        {":until": until, ":threshold": {"N": str(one.threshold)}, ":ends": {"S": one.ends.isoformat()}},
    )


def _update(gateway: Gateway, one: Ending, change: str, condition: str, values: dict[str, Any]) -> bool:
    """Change the token's item; False when it is not as the condition says."""
    names: dict[str, Any] = {"ExpressionAttributeNames": {"#state": "state"}} if "#state" in condition else {}
    try:
        gateway.dynamodb.update_item(
            TableName=gateway.tokens_table,
            Key={"key_hash": {"S": one.token.key_hash}},
            UpdateExpression=change,
            ConditionExpression=condition,
            ExpressionAttributeValues=values,
            **names,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _subject(one: Ending) -> str:
    return f"API Particulier : votre clé {_expires(one)}"


def _expires(one: Ending) -> str:
    match one.days:
        case 0:
            return "expire aujourd'hui"
        case 1:
            return "expire demain"
        case days if days > 0:
            return f"expire dans {days} jours"
        case _:
            return "a expiré"


def _text(one: Ending, now: datetime) -> str:
    ends = one.ends.astimezone(_PARIS)
    when = f"le {ends:%d/%m/%Y} à {ends:%H:%M} (heure de Paris)"
    fate = (
        f"a expiré {when} : elle n'est plus acceptée."
        if one.ends <= now
        else f"expire {when}. Passé cet instant, elle ne sera plus acceptée."
    )
    replaced = (
        "Une nouvelle clé a été émise pour la remplacer : assurez-vous que vos logiciels l'utilisent."
        if one.token.successor
        else "Pour continuer à utiliser API Particulier, demandez le renouvellement de votre habilitation sur DataPass."
    )
    return (
        f"Bonjour,\n\nLa clé API Particulier de {one.token.organisation} (habilitation {one.token.habilitation}, "
        f"clé {one.token.id}) {fate}\n\n{replaced}\n\nL'équipe API Particulier\n"
    )
