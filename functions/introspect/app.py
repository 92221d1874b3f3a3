"""Introspection: the caller's own token and the scopes that it opens."""

from typing import Any

from pydantic import BaseModel, Field

from api_particulier.api.handler import authenticate, handle_audited
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response
from api_particulier.audit.record import AuditRecord
from api_particulier.errors import NotAcceptable
from api_particulier.habilitations.known_scopes import expanded


class Jeton(BaseModel):
    """Ce qu'est un jeton et ce qu'il ouvre."""

    id: str = Field(alias="_id", description="Identifiant du jeton ; jamais la clé")
    name: str = Field(description="Administration à qui le jeton a été remis")
    scopes: list[str] = Field(description="Scopes du jeton, et ceux que ses bouquets de 2020 ouvrent")


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


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``GET /api/introspect``."""
    return handle_audited(event, context, "introspect", _build_body)


def _build_body(request: Request, record: AuditRecord) -> dict[str, object]:
    token = authenticate(request, record)
    return {"_id": token.id, "name": token.organisation, "scopes": sorted(expanded(token.scopes))}
