"""Composition familiale: the whole family file, masked by scopes (contract §3.4)."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AllocataireNumbers
from api_particulier.providers import caf, caf_fields
from api_particulier.scopes import DatasetModel


class CompositionFamiliale(DatasetModel):
    """Le dossier de la famille tel que la CAF le certifie."""

    allocataires: caf_fields.Allocataires
    enfants: caf_fields.Enfants
    adresse: caf_fields.AdresseDuDossier
    quotientFamilial: caf_fields.QuotientFamilial
    mois: caf_fields.Mois
    annee: caf_fields.Annee


DATASET = Dataset(
    name="composition_familiale",
    provider="caf",
    routes={"/api/v2/composition-familiale": CompositionFamiliale, "/api/caf/famille": CompositionFamiliale},
    parameters=AllocataireNumbers,
    fetch=caf.fetch,
)
lambda_handler = dataset_handler(DATASET)
