"""Revenu fiscal de référence: the figure that most towns need, and the household's parts."""

from api_particulier import dgfip
from api_particulier.dataset import Dataset
from api_particulier.parameters import AvisNumbers
from api_particulier.scopes import Partial


class RevenuFiscalReference(Partial):
    """Le revenu fiscal de référence et le nombre de parts du foyer."""

    revenuFiscalReference: dgfip.RevenuFiscalReference
    nombreParts: dgfip.NombreParts
    anneeImpots: dgfip.AnneeImpots
    anneeRevenus: dgfip.AnneeRevenus


DATASET = Dataset(
    name="revenu_fiscal_reference",
    provider="dgfip",
    routes={"/api/v2/revenu-fiscal-reference": RevenuFiscalReference},
    parameters=AvisNumbers,
    ask=lambda question: dgfip.avis(question.parameters),
)
lambda_handler = DATASET.handler
