"""Composition familiale: the whole family file, masked by scopes (contract §3.4)."""

from api_particulier import caf
from api_particulier.dataset import Dataset
from api_particulier.parameters import AllocataireNumbers
from api_particulier.scopes import Partial


class CompositionFamiliale(Partial):
    """Le dossier de la famille tel que la CAF le certifie."""

    allocataires: caf.Allocataires
    enfants: caf.Enfants
    adresse: caf.AdresseDuDossier
    quotientFamilial: caf.QuotientFamilial
    mois: caf.Mois
    annee: caf.Annee


DATASET = Dataset(
    name="composition_familiale",
    provider="caf",
    routes={"/api/v2/composition-familiale": CompositionFamiliale, "/api/caf/famille": CompositionFamiliale},
    parameters=AllocataireNumbers,
    ask=lambda question: caf.famille(question.parameters),
)
lambda_handler = DATASET.handler
