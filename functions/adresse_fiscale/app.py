"""Adresse fiscale: the household's address on 1 January of the tax year, its parts and its place (contract §3.3)."""

from collections.abc import Mapping

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AvisNumbers
from api_particulier.providers import ban, dgfip, dgfip_fields
from api_particulier.scopes import DatasetModel, Fetched


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


def _fetch(numbers: AvisNumbers, fields: frozenset[str]) -> Fetched:
    avis, notes = dgfip.fetch(numbers, fields)
    household = avis.get("foyerFiscal")
    address = dict(household) if isinstance(household, Mapping) else {}
    if "annee" in address:
        address["dateReference"] = f"01/01/{address['annee']}"
    location, warnings = _locate(address.get("adresse"), fields)
    return {**avis, **address, **location}, [*notes, *warnings]


def _locate(address: object, fields: frozenset[str]) -> Fetched:
    """Ask the geocoder, for tokens that open its fields; a response without it is whole but for these."""
    if not fields & ban.NOWHERE.keys():
        return ban.NOWHERE, []
    locate = ban.candidates if "adresses" in fields else ban.locate
    try:
        return locate(address if isinstance(address, str) else ""), []
    except ban.NotLocated as reason:
        return ban.NOWHERE, [f"{ban.PROVIDER}: {reason}"]


DATASET = Dataset(
    name="adresse_fiscale",
    provider="dgfip",
    routes={"/api/v2/adresse-fiscale": AdresseFiscale, "/api/impots/adress": AdresseFiscaleV1},
    parameters=AvisNumbers,
    fetch=_fetch,
)
lambda_handler = dataset_handler(DATASET)
