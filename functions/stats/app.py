"""The public figures: how many answers the datasets gave in the last 30 days (contract §1)."""

from datetime import date
from typing import Any, Final

from pydantic import BaseModel, Field

from api_particulier import responses, statistics
from api_particulier.calls import Request
from api_particulier.errors import ApiError, InternalError, NotAcceptable
from api_particulier.observability import count_call, log_unforeseen
from api_particulier.responses import Response
from api_particulier.routes import Route

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
_ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*"}
_FOR_A_MINUTE: Final = {"Cache-Control": f"max-age={statistics.REMEMBERED}"}


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer the number alone, or what it is made of. Anyone may ask, from any page."""
    request = Request.of(event)
    wants_xml, status = request.wants_xml(), 200
    xml = wants_xml is True
    try:
        if wants_xml is None:
            raise NotAcceptable  # noqa: TRY301 - one place turns errors into answers
        figures = statistics.figures()
        body = figures.described() if request.route == _DETAILS else figures.total
        response = responses.with_headers(responses.data(body, request.id, xml=xml), _FOR_A_MINUTE)
    except ApiError as error:
        status, response = error.status, responses.refusal(error, request.id, xml=xml)
    except Exception as error:  # noqa: BLE001 - whatever happens, an answer of ours that tells nothing of it
        log_unforeseen(error, request.id)
        status, response = 500, responses.refusal(InternalError(), request.id, xml=xml)
    count_call("stats", status, 0, route=request.route, request_id=request.id)
    return responses.with_headers(response, _ANY_ORIGIN)
