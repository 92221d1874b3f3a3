"""Adresse fiscale: the household's address on 1 January of the tax year, its parts and its place (contract §3.3)."""

from collections.abc import Mapping

from api_particulier.api.dataset import Dataset, Question
from api_particulier.api.parameters import AvisNumbers
from api_particulier.providers import ban, dgfip, dgfip_fields
from api_particulier.scopes import DatasetModel, ProviderData


class AdresseFiscale(DatasetModel):
    """L'adresse connue au 1er janvier de l'année d'imposition."""

    annee: dgfip_fields.AnneeAdresse
    dateReference: dgfip_fields.DateReference
    adresse: dgfip_fields.Adresse
    adresseStructuree: dgfip_fields.AdresseStructuree
    coordonnees: dgfip_fields.Coordonnees
    score: dgfip_fields.Score


class AdresseFiscaleV1(DatasetModel):
    """L'adresse connue au 1er janvier de l'année d'imposition, et les déclarants."""

    adresses: dgfip_fields.Adresses
    declarant1: dgfip_fields.Declarant1
    declarant2: dgfip_fields.Declarant2
    foyerFiscal: dgfip_fields.FoyerFiscal


def _ask(question: Question[AvisNumbers]) -> ProviderData:
    avis = dgfip.avis(question.parameters)
    foyer = avis.get("foyerFiscal")
    known = foyer if isinstance(foyer, Mapping) else {}
    if "annee" in known:
        known = {**known, "dateReference": f"01/01/{known['annee']}"}
    return {**avis, **known, **_locate(known.get("adresse"), question)}


def _locate(address: object, question: Question[AvisNumbers]) -> ProviderData:
    """Ask the geocoder, for who may see what it says; without it the answer is whole but for its fields."""
    if not question.opened & ban.NOWHERE.keys():
        return ban.NOWHERE
    try:
        return ban.locate(address if isinstance(address, str) else "")
    except ban.NotLocated as why:
        question.notes.append(f"{ban.PROVIDER}: {why}")
        return ban.NOWHERE


DATASET = Dataset(
    name="adresse_fiscale",
    provider="dgfip",
    routes={"/api/v2/adresse-fiscale": AdresseFiscale, "/api/impots/adress": AdresseFiscaleV1},
    parameters=AvisNumbers,
    ask=_ask,
)
lambda_handler = DATASET.handler
