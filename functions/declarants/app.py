"""Déclarants: the taxpayer and their spouse or partner - names and dates of birth."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AvisNumbers
from api_particulier.providers import dgfip, dgfip_fields
from api_particulier.scopes import DatasetModel


class Declarants(DatasetModel):
    """Les déclarants du foyer fiscal."""

    declarant1: dgfip_fields.Declarant1
    declarant2: dgfip_fields.Declarant2


DATASET = Dataset(
    name="declarants",
    provider="dgfip",
    routes={"/api/v2/declarants": Declarants},
    parameters=AvisNumbers,
    fetch=dgfip.fetch,
)
lambda_handler = dataset_handler(DATASET)
