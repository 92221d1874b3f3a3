"""The public statistics: how many calls the datasets answered in the last 30 days (contract §1)."""

from datetime import date
from typing import Any, Final

from pydantic import BaseModel, Field

from api_particulier.api.handler import handle_read
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request, negotiate_format
from api_particulier.api.response import Response, for_any_page, success
from api_particulier.errors import NotAcceptable
from api_particulier.public import statistics

_DETAILS: Final = "/api/stats/details"


class Periode(BaseModel):
    """Du premier au dernier jour, inclus ; des jours de Paris."""

    debut: date = Field(description="Premier jour")
    fin: date = Field(description="Dernier jour")


class Jour(BaseModel):
    """Les réponses d'un jour."""

    date_: date = Field(alias="date", description="Le jour")
    total: int = Field(description="Réponses données ce jour-là", ge=0)


class Statistiques(BaseModel):
    """Les réponses données par les jeux de données en 30 jours."""

    periode: Periode
    total: int = Field(description="Réponses données pendant la période ; le nombre de /api/stats", ge=0)
    parJour: list[Jour] = Field(description="Chaque jour de la période")
    parJeuDeDonnees: dict[str, int] = Field(description="Réponses de chaque jeu de données")


_CORS = {"Access-Control-Allow-Origin": "`*` : toute page peut lire ce nombre."}
ROUTES = (
    Route(
        name="stats",
        path="/api/stats",
        summary="Combien de justificatifs évités en 30 jours",
        description="Le nombre de réponses des jeux de données (statut 200) sur les 30 derniers jours, seul.",
        answer=int,
        example=8642,
        xml=True,
        errors=(NotAcceptable,),
        headers=_CORS,
    ),
    Route(
        name="stats_details",
        path=_DETAILS,
        summary="Les mêmes, par jour et par jeu de données",
        answer=Statistiques,
        example={
            "periode": {"debut": "2026-10-27", "fin": "2026-11-25"},
            "total": 3,
            "parJour": [{"date": "2026-10-27", "total": 0}, {"date": "2026-11-25", "total": 3}],
            "parJeuDeDonnees": {"quotient_familial": 1, "revenu_fiscal_reference": 2},
        },
        xml=True,
        errors=(NotAcceptable,),
        headers=_CORS,
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer the total, or its details by day and by dataset; public, and readable from any page."""
    return for_any_page(
        handle_read(event, context, "stats", _build_response, any_origin=True), statistics.CACHE_SECONDS
    )


def _build_response(request: Request) -> Response:
    output = negotiate_format(request)
    figures = statistics.figures()
    return success(figures.to_dict() if request.route == _DETAILS else figures.total, request.id, output)
