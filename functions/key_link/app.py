"""The page of a one-time link, and the key that it shows once.

The secret of the link is after ``#`` in its address, so only the script of the page reads it, and sends it when the
person asks for the key.
"""

from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel, Field, ValidationError

from api_particulier.api import rate_limit
from api_particulier.api.handler import handle_public, handle_read
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import HEADERS, Response, success, with_headers
from api_particulier.errors import BadRequest, LinkExpired, LinkOpened, TooManyAttempts, UnknownLink
from api_particulier.habilitations import key_link
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore
from api_particulier.public import site
from api_particulier.settings import settings

_MALFORMED: Final = 'Le corps de la requête doit être {"lien": "…"}, en JSON.'


class Ouverture(BaseModel):
    """Le lien reçu."""

    lien: str = Field(min_length=1, max_length=256, repr=False, description="Ce qui suit # dans l'adresse du lien")
    ouvreur: str | None = Field(
        default=None,
        min_length=16,
        max_length=256,
        repr=False,
        description=(
            "Un texte tiré au hasard : si la réponse se perd, le même lien et le même texte donnent une autre clé,"
            " pendant dix minutes"
        ),
    )


class CleRemise(BaseModel):
    """La clé, montrée une seule fois."""

    cle: str = Field(description="La clé, à mettre dans l'en-tête X-API-Key")
    jeton: str = Field(description="Identifiant du jeton")
    organisation: str = Field(description="Administration à qui la clé est remise")
    expire: datetime | None = Field(description="Quand elle cessera de fonctionner ; null si elle n'a pas de fin")


ROUTES = (
    Route(
        name="page_cle",
        path=key_link.ROUTE,
        summary="La page d'un lien à usage unique",
        answer=str,
        example="<!DOCTYPE html>…",
        media_type="text/html",
    ),
    Route(
        name="remettre_cle",
        path=key_link.ROUTE,
        method="POST",
        summary="Montrer, une seule fois, la clé d'un lien",
        body=Ouverture,
        body_example={"lien": "0" * 43, "ouvreur": "0" * 32},
        answer=CleRemise,
        example={
            "cle": "0" * 64,
            "jeton": "0123456789abcdef",
            "organisation": "Ville de Fictive",
            "expire": "2027-11-25T00:00:00+00:00",
        },
        errors=(BadRequest(_MALFORMED), UnknownLink, LinkOpened, LinkExpired, TooManyAttempts),
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``GET`` with the page, and ``POST`` with the key."""
    if event["httpMethod"] == "POST":
        return handle_public(event, context, "key_link", _reveal_key)
    return handle_read(event, context, "key_link", _show_page)


def _show_page(request: Request) -> Response:
    page = site.serve_file(key_link.ROUTE.strip("/"), request.id, accepts_gzip=request.accepts_gzip)
    return with_headers(page, HEADERS)  # those of every response: no cache keeps it


def _reveal_key(request: Request) -> Response:
    rate_limit.hit_from(request.address, "key_link", settings().key_tries_by_address)
    try:
        opening = Ouverture.model_validate_json(request.body)
    except ValidationError:
        raise BadRequest(_MALFORMED) from None
    habilitations, store = HabilitationRepository.from_environment(), KeyStore.from_environment()
    revealed = key_link.redeem(habilitations, store, opening.lien, opening.ouvreur, datetime.now(UTC))
    body = {
        "cle": revealed.key,
        "jeton": revealed.token,
        "organisation": revealed.organisation,
        "expire": revealed.expires.isoformat() if revealed.expires else None,
    }
    return success(body, request.id)
