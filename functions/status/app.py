"""Status: whether each provider and dataset answers, now and over 30 days; public, and readable from any page."""

from datetime import date, datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from api_particulier.api.handler import handle_read
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, for_any_page, success
from api_particulier.public import status

type NiveauDuService = Literal["disponible", "perturbe", "indisponible", "maintenance"]
type NiveauDeFournisseur = Literal["disponible", "indisponible", "maintenance", "non_configure", "inconnu"]
type NomDeFournisseur = Literal["dgfip", "caf", "dss"]
_DISPONIBILITE: Final = "Sondes réussies sur 30 jours, en pour cent ; null sans sonde"


class EtatFournisseur(BaseModel):
    """Ce qu'on sait d'un fournisseur."""

    etat: NiveauDeFournisseur = Field(description="Son état à présent")
    verifieA: datetime | None = Field(description="Quand il a été vérifié ; null s'il ne l'a jamais été")
    disponibilite30j: float | None = Field(description=_DISPONIBILITE, ge=0, le=100)


class Engagement(BaseModel):
    """La disponibilité à laquelle la DINUM s'engage, sur 30 jours."""

    seuil: int = Field(description="En pour cent, pour chaque fournisseur", ge=0, le=100)
    tenu: bool | None = Field(description="Si l'engagement est tenu ; null tant qu'un fournisseur n'a pas de sonde")


class EtatJeuDeDonnees(BaseModel):
    """L'état d'un jeu de données est celui de son fournisseur ; une prestation (dss) peut être indisponible seule."""

    etat: NiveauDeFournisseur = Field(description="Son état à présent")
    fournisseur: NomDeFournisseur = Field(description="Qui le fournit")
    disponibilite30j: float | None = Field(description=_DISPONIBILITE, ge=0, le=100)


class JourDeSondes(BaseModel):
    """Les sondes d'un jour, de Paris."""

    date_: date = Field(alias="date", description="Le jour")
    sondes: int = Field(description="Combien ont été envoyées", ge=0)
    reussies: int = Field(description="Combien ont réussi", ge=0)


class Incident(BaseModel):
    """Un moment où un fournisseur n'a pas répondu."""

    fournisseur: NomDeFournisseur = Field(description="Qui n'a pas répondu")
    debut: datetime = Field(description="Première sonde sans réponse")
    fin: datetime | None = Field(description="Première réponse qui a suivi ; null si l'incident dure")


class Maintenance(BaseModel):
    """Une maintenance annoncée, en cours ou à venir."""

    fournisseur: NomDeFournisseur = Field(description="Qui sera indisponible")
    debut: datetime = Field(description="Début annoncé")
    fin: datetime = Field(description="Fin annoncée")
    message: str = Field(description="Ce qui en est dit")


class Statut(BaseModel):
    """L'état du service, à présent et sur 30 jours."""

    genereA: datetime = Field(description="Quand cet état a été établi")
    etat: NiveauDuService = Field(description="L'état du service dans son ensemble")
    fournisseurs: dict[str, EtatFournisseur] = Field(description="Par fournisseur")
    engagement: Engagement
    jeuxDeDonnees: dict[str, EtatJeuDeDonnees] = Field(description="Par jeu de données")
    historique: dict[str, list[JourDeSondes]] = Field(description="Par fournisseur, chacun des 30 derniers jours")
    incidents: list[Incident] = Field(description="Les derniers d'abord")
    maintenances: list[Maintenance] = Field(description="Les premières d'abord")


_EXAMPLE: Final = {
    "genereA": "2026-11-25T09:00:00Z",
    "etat": "perturbe",
    "fournisseurs": {
        "dgfip": {"etat": "disponible", "verifieA": "2026-11-25T08:58:00Z", "disponibilite30j": 99.953},
        "caf": {"etat": "indisponible", "verifieA": "2026-11-25T08:58:00Z", "disponibilite30j": 99.826},
    },
    "engagement": {"seuil": 95, "tenu": True},
    "jeuxDeDonnees": {
        "avis_imposition": {"etat": "disponible", "fournisseur": "dgfip", "disponibilite30j": 99.953},
        "quotient_familial": {"etat": "indisponible", "fournisseur": "caf", "disponibilite30j": 99.826},
    },
    "historique": {
        "dgfip": [{"date": "2026-11-25", "sondes": 108, "reussies": 108}],
        "caf": [{"date": "2026-11-25", "sondes": 108, "reussies": 105}],
    },
    "incidents": [{"fournisseur": "caf", "debut": "2026-11-25T08:48:00Z", "fin": None}],
    "maintenances": [
        {
            "fournisseur": "dgfip",
            "debut": "2026-11-28T03:00:00Z",
            "fin": "2026-11-28T05:00:00Z",
            "message": "mise à jour annuelle",
        }
    ],
}
ROUTES = (
    Route(
        name="statut",
        path="/api/status",
        summary="L'état du service, à présent et sur 30 jours",
        answer=Statut,
        example=_EXAMPLE,
        headers={"Access-Control-Allow-Origin": "`*` : toute page peut lire cet état."},
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``GET /api/status``."""
    return for_any_page(handle_read(event, context, "status", _build_response, any_origin=True), status.CACHE_SECONDS)


def _build_response(request: Request) -> Response:
    return success(status.current(), request.id)
