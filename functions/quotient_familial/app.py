"""Quotient familial: what the price of canteens and nurseries follows, with its month and year."""

from api_particulier import caf
from api_particulier.dataset import Dataset
from api_particulier.parameters import AllocataireNumbers
from api_particulier.scopes import Partial


class QuotientFamilial(Partial):
    """Le quotient familial du dossier et le mois pour lequel il est calculé."""

    quotientFamilial: caf.QuotientFamilial
    mois: caf.Mois
    annee: caf.Annee


DATASET = Dataset(
    name="quotient_familial",
    provider="caf",
    routes={"/api/v2/quotient-familial": QuotientFamilial, "/api/caf/qf": QuotientFamilial},
    parameters=AllocataireNumbers,
    ask=lambda question: caf.famille(question.parameters),
)
lambda_handler = DATASET.handler
