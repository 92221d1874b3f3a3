"""Revoke a key that was seen in public, at once: holding the key is enough to report it.

The response is the same for an unknown key, so it does not reveal which keys exist. A key is found in what people paste
around it: spaces, quotes, the name of its header, a command. A text that holds no key is refused, because the response
would reassure wrongly.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from api_particulier.api import rate_limit
from api_particulier.api.handler import handle_public
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, success
from api_particulier.errors import BadRequest, TooManyAttempts
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import REVOKED, hash_key
from api_particulier.observability import LogEvent, alert
from api_particulier.settings import settings

_MALFORMED = 'Le corps de la requête doit être {"key": "…"}, en JSON.'
_NO_KEY = "Ce texte ne contient pas de clé : une clé est faite de 64 chiffres ou lettres de a à f."
_KEY: Final = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{64}(?![0-9A-Za-z])")
_CONTROL: Final = re.compile(rb"[\x00-\x1f]")
_INVISIBLE: Final = re.compile("[\\s\u00ad\u200b-\u200f\u2060\ufeff]")
_SEEN = {"message": "Si cette clé existait, elle ne fonctionne plus. Merci de l'avoir signalée."}


class Signalement(BaseModel):
    """Une clé vue en public."""

    key: str = Field(
        min_length=1,
        max_length=4096,
        repr=False,
        description="La clé, ou un texte qui la contient",
        json_schema_extra={"pattern": r"(^|[^0-9A-Za-z])[0-9A-Fa-f]{64}([^0-9A-Za-z]|$)"},
    )


class Remerciement(BaseModel):
    """La même réponse, que la clé existe ou non."""

    message: str = Field(description="Ce qu'il est advenu de la clé, si elle existait")


ROUTES = (
    Route(
        name="signaler_cle",
        path="/api/keys/compromised",
        method="POST",
        summary="Signaler une clé vue en public",
        description="La clé cesse aussitôt de fonctionner. Qui la détient peut la signaler, sans autre autorisation.",
        body=Signalement,
        body_example={"key": "0" * 64},
        answer=Remerciement,
        example=_SEEN,
        errors=(BadRequest(_MALFORMED), BadRequest(_NO_KEY), TooManyAttempts),
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``POST /api/keys/compromised``."""
    return handle_public(event, context, "key_report", _build_response)


def _build_response(request: Request) -> Response:
    rate_limit.hit_from(request.address, "key_report", settings().key_tries_by_address)
    try:  # JSON has no line break within a text, and people leave some
        text = Signalement.model_validate_json(_CONTROL.sub(b" ", request.body)).key
    except ValidationError:
        raise BadRequest(_MALFORMED) from None
    keys = _keys_in(text)
    if not keys:
        raise BadRequest(_NO_KEY)
    for key in keys:
        _revoke(key, request)
    return success(_SEEN, request.id)


def _keys_in(text: str) -> set[str]:
    """Return the keys of a text, or else the one that its spaces and line breaks cut in pieces."""
    found = _KEY.findall(text) or _KEY.findall(_INVISIBLE.sub("", text))
    return {key.lower() for key in found}


def _revoke(key: str, request: Request) -> None:
    store = KeyStore.from_environment()
    token = store.read(hash_key(key))  # as it is now, and even if it is not as it was signed
    if token is not None and token.state != REVOKED:
        lifecycle.revoke(store, token)
        if token.habilitation:
            habilitations = HabilitationRepository.from_environment()
            habilitations.add_history(token.habilitation, "compromised", "who held the key", datetime.now(UTC))
        alert(LogEvent.KEY_COMPROMISED, token=token.id, habilitation=token.habilitation, request_id=request.id)
