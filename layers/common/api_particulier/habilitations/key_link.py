"""Handing a key over: a link that shows it once, to whoever opens it first.

The link's secret is 256 random bits; only its SHA-256 is kept, so that who reads the table opens nothing. It lives 4
hours. In the address it comes after ``#``: a browser sends it to nobody, so no log of a path holds it, and the page
behind shows the key only when a person asks, so that what opens the links of a mail to look at them does not use it up.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from botocore.exceptions import ClientError

from api_particulier.errors import LinkExpired, LinkOpened, UnknownLink
from api_particulier.habilitations.model import Habilitation
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.observability import LogEvent, alert, log

LIFETIME: Final = timedelta(hours=4)
ROUTE: Final = "/api/cles/remise"
_REMEMBERED: Final = timedelta(days=90)
"""How long a second opening is known for one."""


@dataclass(frozen=True)
class RevealedKey:
    """What the link shows."""

    key: str = field(repr=False)
    token: str
    organisation: str
    expires: datetime | None


def create(register: HabilitationRepository, habilitation_id: str, token_id: str, who: str, now: datetime) -> str:
    """Make a link for a key, and return its secret, which is known here and never again."""
    secret = secrets.token_urlsafe(32)
    register.dynamodb.put_item(
        TableName=register.table,
        Item=_key(secret)
        | {
            "of": {"S": habilitation_id},
            "token": {"S": token_id},
            "until": {"N": str(int((now + LIFETIME).timestamp()))},
            "forget_at": {"N": str(int((now + _REMEMBERED).timestamp()))},
        },
    )
    register.note(habilitation_id, "link", who, now)
    return secret


def link(base_url: str, secret: str) -> str:
    """Return the address to hand over; ``base_url`` is what comes before a route."""
    return f"{base_url}{ROUTE}#{secret}"


def redeem(register: HabilitationRepository, gateway: KeyStore, secret: str, now: datetime) -> RevealedKey:
    """Return the key, once.

    ``UnknownLink``; ``LinkOpened``, with an alert, the second time; ``LinkExpired`` after 4 hours, or when the key no
    longer lives.
    """
    found = register.dynamodb.get_item(TableName=register.table, Key=_key(secret), ConsistentRead=True).get("Item")
    if found is None:
        raise UnknownLink
    habilitation_id = found["of"]["S"]
    if "opened" in found:
        _again(register, habilitation_id, now)
    if float(found["until"]["N"]) <= now.timestamp():
        raise LinkExpired
    try:
        token = lifecycle.find(gateway, found["token"]["S"])
        if not token.is_active(now):
            raise LinkExpired
        key = lifecycle.reveal(gateway, token)  # before the link is used up: a gateway that fails costs nothing
    except (lifecycle.UnknownToken, lifecycle.KeyNotActive):
        raise LinkExpired from None
    if not _use_up(register, secret, now):
        _again(register, habilitation_id, now)
    register.note(habilitation_id, "link_opened", "the link", now)
    log(LogEvent.LINK_OPENED, habilitation=habilitation_id, token=token.id)
    return RevealedKey(key, token.id, token.organisation, token.expires)


def _use_up(register: HabilitationRepository, secret: str, now: datetime) -> bool:
    """Mark a link as opened; False when somebody has, a moment before."""
    try:
        register.dynamodb.update_item(
            TableName=register.table,
            Key=_key(secret),
            UpdateExpression="SET opened = :now",
            ConditionExpression="attribute_exists(habilitation) AND attribute_not_exists(opened)",
            ExpressionAttributeValues={":now": {"S": now.astimezone(UTC).isoformat()}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def _again(register: HabilitationRepository, habilitation_id: str, now: datetime) -> None:
    register.note(habilitation_id, "link_reopened", "the link", now)
    alert(LogEvent.LINK_REOPENED, habilitation=habilitation_id)
    raise LinkOpened


def _key(secret: str) -> dict[str, Any]:
    digest = hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
    return {"habilitation": {"S": f"link#{digest}"}, "item": {"S": "link"}}


def message(habilitation: Habilitation, address: str) -> str:
    """Return what the mail with the link says; never the key."""
    request = habilitation.request
    return (
        "Bonjour,\n\n"
        f"La demande d'accès à API Particulier « {request.purpose if request else ''} » a été validée pour"
        f" {request.organisation if request else ''}.\n\n"
        "Ce lien montre la clé d'accès. Il ne sert qu'une fois, et pendant 4 heures :\n\n"
        f"{address}\n\n"
        "Ne transférez pas ce message. Si le lien dit qu'il a déjà été ouvert et que ce n'était pas par vous,"
        " prévenez-nous sans attendre : contact@particulier.api.gouv.fr\n"
    )
