"""Adresse fiscale: the household's address on 1 January of the tax year, its parts and its place (contract §3.3)."""

from collections.abc import Mapping

from api_particulier import dgfip
from api_particulier.dataset import Dataset, Question
from api_particulier.parameters import AvisNumbers
from api_particulier.scopes import Document, Partial
from api_particulier.upstreams import ban


class AdresseFiscale(Partial):
    """L'adresse connue au 1er janvier de l'année d'imposition."""

    annee: dgfip.AnneeAdresse
    dateReference: dgfip.DateReference
    adresse: dgfip.Adresse
    adresseStructuree: dgfip.AdresseStructuree
    coordonnees: dgfip.Coordonnees
    score: dgfip.Score


class AdresseFiscaleV1(Partial):
    """L'adresse connue au 1er janvier de l'année d'imposition, et les déclarants."""

    adresses: dgfip.Adresses
    declarant1: dgfip.Declarant1
    declarant2: dgfip.Declarant2
    foyerFiscal: dgfip.FoyerFiscal


def _ask(question: Question[AvisNumbers]) -> Document:
    avis = dgfip.avis(question.parameters)
    foyer = avis.get("foyerFiscal")
    known = foyer if isinstance(foyer, Mapping) else {}
    if "annee" in known:
        known = {**known, "dateReference": f"01/01/{known['annee']}"}
    return {**avis, **known, **_locate(known.get("adresse"), question)}


def _locate(address: object, question: Question[AvisNumbers]) -> Document:
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
