"""Introspection: what the caller's own key is, and which scopes it opens."""

from typing import Any

from pydantic import BaseModel, Field

from api_particulier.api.handler import Call, serve
from api_particulier.api.openapi import Route
from api_particulier.api.response import Response
from api_particulier.errors import NotAcceptable


class Jeton(BaseModel):
    """Ce qu'est un jeton et ce qu'il ouvre."""

    id: str = Field(alias="_id", description="Identifiant du jeton ; jamais la clé")
    name: str = Field(description="Administration à qui le jeton a été remis")
    scopes: list[str] = Field(description="Scopes du jeton ; chacun ouvre des champs des jeux de données")


ROUTES = (
    Route(
        name="introspect",
        path="/api/introspect",
        summary="Ce qu'ouvre le jeton de l'appelant",
        answer=Jeton,
        example={
            "_id": "0123456789abcdef",
            "name": "Ville de Fictive",
            "scopes": ["dgfip_nombre_parts", "dgfip_revenu_fiscal_reference"],
        },
        xml=True,
        errors=(NotAcceptable,),
    ),
)


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer ``GET /api/introspect``."""
    return serve(event, "introspect", _describe)


def _describe(call: Call) -> dict[str, object]:
    return {"_id": call.token.id, "name": call.token.organisation, "scopes": sorted(call.token.scopes)}
