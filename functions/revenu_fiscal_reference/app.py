"""Revenu fiscal de référence: the figure that most towns need, and the household's parts."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AvisNumbers
from api_particulier.providers import dgfip, dgfip_fields
from api_particulier.scopes import DatasetModel


class RevenuFiscalReference(DatasetModel):
    """Le revenu fiscal de référence et le nombre de parts du foyer."""

    revenuFiscalReference: dgfip_fields.RevenuFiscalReference
    nombreParts: dgfip_fields.NombreParts
    anneeImpots: dgfip_fields.AnneeImpots
    anneeRevenus: dgfip_fields.AnneeRevenus


DATASET = Dataset(
    name="revenu_fiscal_reference",
    provider="dgfip",
    routes={"/api/v2/revenu-fiscal-reference": RevenuFiscalReference},
    parameters=AvisNumbers,
    fetch=dgfip.fetch,
)
lambda_handler = dataset_handler(DATASET)
