"""One-time links: a link shows a key once, to the first person who opens it, and the key is drawn then.

The secret of a link is 256 random bits, and the table keeps its SHA-256 only. A link lives 4 hours. Its secret comes
after ``#`` in the address, which a browser does not send: no log of paths contains it. The page shows the key only when
the person asks for it, so the programs that open the links of a mail to inspect them do not use the link up.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import sleep
from typing import TYPE_CHECKING, Final, NoReturn

from api_particulier.dynamodb import TransactionCancelled
from api_particulier.errors import LinkExpired, LinkOpened, UnknownLink
from api_particulier.habilitations.model import Habilitation, OneTimeLink
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token
from api_particulier.observability import LogEvent, alert, log

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LIFETIME: Final = timedelta(hours=4)
ROUTE: Final = "/api/cles/remise"
_ATTEMPTS: Final = 10
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


def redeem(
    habilitations: HabilitationRepository, store: KeyStore, secret: str, opener: str | None, now: datetime
) -> RevealedKey:
    """Draw the key of a link and return it, once; the same opener may ask again for a few minutes.

    ``opener`` is what the opener drew, by which it is recognised if the first answer was lost: it then gets another
    key, and the lost one opens nothing. Raise ``UnknownLink``; ``LinkOpened``, with an alert, for another opener or
    later on; ``LinkExpired`` after 4 hours, or when the key is no longer active or was shown otherwise.
    """
    for _ in range(_ATTEMPTS):
        found = _find(habilitations, secret)
        token = store.find(found.token_id)
        if found.opened:  # first: a second opening alerts after the 4 hours too
            if not _is_same_opener(found, opener, now):
                _refuse_reopening(habilitations, found, now)
            writes = habilitations.adding_history(found.habilitation, "link_opened_again", "the link", now)
        elif found.expires <= now.timestamp() or token is None or not token.is_pending:
            raise LinkExpired
        else:
            writes = habilitations.marking_link_opened(found, _digest(opener) if opener else None, now)
        try:
            return _draw(store, found, token, writes, now)
        except TransactionCancelled:  # another opening came first, or another write is under way
            sleep(secrets.randbelow(50) / 1000)
    raise lifecycle.TokenBusy(_find(habilitations, secret).token_id)


def _find(habilitations: HabilitationRepository, secret: str) -> OneTimeLink:
    found = habilitations.find_link(_digest(secret))
    if found is None:
        raise UnknownLink
    return found


def _is_same_opener(opened: OneTimeLink, opener: str | None, now: datetime) -> bool:
    if opened.opened is None or not opener or not opened.opener:
        return False
    return hmac.compare_digest(opened.opener, _digest(opener)) and now - opened.opened <= lifecycle.AGAIN


def _draw(
    store: KeyStore,
    opened: OneTimeLink,
    token: Token | None,
    writes: "Sequence[TransactWriteItemTypeDef]",
    now: datetime,
) -> RevealedKey:
    """Draw the key of a link in the transaction that uses the link up: a failure costs nothing."""
    if token is None or not token.is_active(now):
        raise LinkExpired
    try:
        key = lifecycle.draw(store, token, now, *writes)
    except (lifecycle.KeyNotActive, lifecycle.KeyShown):
        raise LinkExpired from None
    log(LogEvent.LINK_OPENED, habilitation=opened.habilitation, token=token.id)
    return RevealedKey(key, token.id, token.organisation, token.expires)


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
