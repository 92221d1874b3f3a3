"""Adresse CAF: the postal address of a family file, line by line (contract §3.4)."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AllocataireNumbers
from api_particulier.providers import caf, caf_fields
from api_particulier.scopes import DatasetModel


class AdresseCaf(DatasetModel):
    """L'adresse du dossier telle que la CAF la connaît."""

    adresse: caf_fields.AdresseDuDossier


DATASET = Dataset(
    name="adresse_caf",
    provider="caf",
    routes={"/api/v2/adresse": AdresseCaf, "/api/caf/adresse": AdresseCaf},
    parameters=AllocataireNumbers,
    fetch=caf.fetch,
)
lambda_handler = dataset_handler(DATASET)
