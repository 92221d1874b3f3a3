"""Quotient familial: what the price of canteens and nurseries follows, with its month and year."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AllocataireNumbers
from api_particulier.providers import caf, caf_fields
from api_particulier.scopes import DatasetModel


class QuotientFamilial(DatasetModel):
    """Le quotient familial du dossier et le mois pour lequel il est calculé."""

    quotientFamilial: caf_fields.QuotientFamilial
    mois: caf_fields.Mois
    annee: caf_fields.Annee


DATASET = Dataset(
    name="quotient_familial",
    provider="caf",
    routes={"/api/v2/quotient-familial": QuotientFamilial, "/api/caf/qf": QuotientFamilial},
    parameters=AllocataireNumbers,
    fetch=caf.fetch,
)
lambda_handler = dataset_handler(DATASET)
