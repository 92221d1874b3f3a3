"""Messages to the contacts of a habilitation when its key is watched: near a bound of the day, or suspended.

Each is sent once a day for a token. A habilitation without a contact, and a deployment without a sender, send none.
"""

from datetime import datetime
from typing import Final, Literal

from api_particulier.habilitations import email
from api_particulier.habilitations.model import UnknownHabilitation
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.token import Token
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

type Sanction = Literal["warn", "suspend"]

_SUBJECTS: Final[dict[Sanction, str]] = {
    "warn": "API Particulier : votre clé interroge beaucoup de personnes",
    "suspend": "API Particulier : votre clé est suspendue",
}
_TEXTS: Final[dict[Sanction, str]] = {
    "warn": """Depuis ce matin, les appels faits avec votre clé {token} portent sur un nombre inhabituel de personnes,
ou sur beaucoup de personnes que le fournisseur ne connaît pas. Au double de ce nombre, ils seront refusés
jusqu'à demain.

Si votre service en a besoin, répondez à ce message : la limite peut être relevée. Sinon, vérifiez le formulaire qui
utilise la clé, et nommez vos usagers par l'en-tête X-End-User, pour que seul celui qui insiste soit ralenti.
""",
    "suspend": """Les appels faits avec votre clé {token} parcourent des numéros de personnes à la suite.
La clé est suspendue : ses appels sont refusés (401). Répondez à ce message pour la faire rétablir.
""",
}


def send(habilitations: HabilitationRepository, token: Token, sanction: Sanction, now: datetime) -> None:
    """Tell the contacts of a token's habilitation about a sanction, once a day; log a message that is not sent."""
    if not token.habilitation or not settings().mail_sender:
        return
    try:
        recipients = habilitations.find(token.habilitation).recipients
    except UnknownHabilitation:
        recipients = ()
    message = f"{token.id}#{sanction}#{now:%Y-%m-%d}"
    if not recipients or not habilitations.acquire_mailing(token.habilitation, message):
        return
    try:
        email.send(recipients, _SUBJECTS[sanction], _TEXTS[sanction].format(token=token.id))
    except email.MailFailed as error:
        # Another suspicion, or an operator that the alarm calls, comes after this one.
        habilitations.release_mailing(token.habilitation, message)
        log(LogEvent.REMINDER_NOT_SENT, token=token.id, outcome=sanction, exception=str(error))
