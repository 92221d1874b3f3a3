"""A key seen in public is killed by whoever holds it, at once and without asking anybody.

The answer is the same for a key that is known and for one that is not, so that nobody learns here which keys exist.
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from api_particulier import keys, tokens
from api_particulier.calls import Request, serve_without_key
from api_particulier.errors import AccessDenied, BadRequest
from api_particulier.gateway import Gateway
from api_particulier.observability import Event, alert
from api_particulier.register import Register
from api_particulier.responses import Response

_SEEN = {"message": "Si cette clé existait, elle ne fonctionne plus. Merci de l'avoir signalée."}


class _Report(BaseModel):
    key: str = Field(min_length=1, max_length=256, repr=False)


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer ``POST /api/keys/compromised``."""
    return serve_without_key(event, "key_compromised", _kill)


def _kill(request: Request) -> dict[str, str]:
    try:
        key = _Report.model_validate_json(request.body).key
    except ValidationError:
        raise BadRequest('Le corps de la requête doit être {"key": "…"}, en JSON.') from None
    gateway = Gateway.of_function()
    try:
        token = keys.find(gateway, tokens.find(key).id)  # as it is, not as it was remembered
    except AccessDenied:
        return _SEEN
    if token.state != tokens.REVOKED:
        keys.revoke(gateway, token)
        if token.habilitation:
            Register.of_function().note(token.habilitation, "compromised", "who held the key", datetime.now(UTC))
        alert(Event.KEY_COMPROMISED, token=token.id, habilitation=token.habilitation, request_id=request.id)
    return _SEEN
