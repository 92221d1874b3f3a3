"""Déclarants: the taxpayer and their spouse or partner - names and dates of birth."""

from api_particulier import dgfip
from api_particulier.dataset import Dataset
from api_particulier.parameters import AvisNumbers
from api_particulier.scopes import Partial


class Declarants(Partial):
    """Les déclarants du foyer fiscal."""

    declarant1: dgfip.Declarant1
    declarant2: dgfip.Declarant2


DATASET = Dataset(
    name="declarants",
    provider="dgfip",
    routes={"/api/v2/declarants": Declarants},
    parameters=AvisNumbers,
    ask=lambda question: dgfip.avis(question.parameters),
)
lambda_handler = DATASET.handler
