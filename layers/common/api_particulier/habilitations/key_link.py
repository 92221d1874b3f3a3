"""One-time links: a link shows a key once, to the first person who opens it.

The secret of a link is 256 random bits, and the table keeps its SHA-256 only. A link lives 4 hours. Its secret comes
after ``#`` in the address, which a browser does not send: no log of paths contains it. The page shows the key only when
the person asks for it, so the programs that open the links of a mail to inspect them do not use the link up.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NoReturn

from api_particulier.errors import LinkExpired, LinkOpened, UnknownLink
from api_particulier.habilitations.model import Habilitation, OneTimeLink
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.observability import LogEvent, alert, log

LIFETIME: Final = timedelta(hours=4)
ROUTE: Final = "/api/cles/remise"
_REMEMBERED: Final = timedelta(days=90)
"""How long a second opening is recognised."""


@dataclass(frozen=True)
class RevealedKey:
    """What a link shows."""

    key: str = field(repr=False)
    token: str
    organisation: str
    expires: datetime | None


def create(
    habilitations: HabilitationRepository, habilitation_id: str, token_id: str, actor: str, now: datetime
) -> str:
    """Make a link to a key and return its secret, which is kept nowhere."""
    secret = secrets.token_urlsafe(32)
    link_to_key = OneTimeLink(_digest(secret), habilitation_id, token_id, int((now + LIFETIME).timestamp()))
    habilitations.add_link(link_to_key, forget_at=now + _REMEMBERED)
    habilitations.add_history(habilitation_id, "link", actor, now)
    return secret


def link(base_url: str, secret: str) -> str:
    """Return the address of a link; ``base_url`` is what comes before a route."""
    return f"{base_url}{ROUTE}#{secret}"


def redeem(habilitations: HabilitationRepository, store: KeyStore, secret: str, now: datetime) -> RevealedKey:
    """Return the key of a link, once.

    Raise ``UnknownLink``; ``LinkOpened``, with an alert, from the second time on; ``LinkExpired`` after 4 hours, or
    when the key is no longer active.
    """
    found = habilitations.find_link(_digest(secret))
    if found is None:
        raise UnknownLink
    if found.is_opened:  # first: a second opening alerts after the 4 hours too
        _refuse_reopening(habilitations, found, now)
    if found.expires <= now.timestamp():
        raise LinkExpired
    revealed = _reveal(store, found, now)  # before the link is used up: a failure of the gateway costs nothing
    if not habilitations.mark_link_opened(found, now):
        _refuse_reopening(habilitations, found, now)
    habilitations.add_history(found.habilitation, "link_opened", "the link", now)
    log(LogEvent.LINK_OPENED, habilitation=found.habilitation, token=found.token_id)
    return revealed


def _reveal(store: KeyStore, opened: OneTimeLink, now: datetime) -> RevealedKey:
    token = store.find(opened.token_id)
    if token is None or not token.is_active(now):
        raise LinkExpired
    try:
        return RevealedKey(lifecycle.reveal(store, token), token.id, token.organisation, token.expires)
    except lifecycle.KeyNotActive:
        raise LinkExpired from None


def _refuse_reopening(habilitations: HabilitationRepository, opened: OneTimeLink, now: datetime) -> NoReturn:
    habilitations.add_history(opened.habilitation, "link_reopened", "the link", now)
    alert(LogEvent.LINK_REOPENED, habilitation=opened.habilitation)
    raise LinkOpened


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def message(habilitation: Habilitation, address: str) -> str:
    """Return the text of the mail that carries a link; it never contains the key."""
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
