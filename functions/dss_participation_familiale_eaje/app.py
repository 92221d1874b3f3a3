"""Participation familiale EAJE by civil identity (v3): what the hourly price of a nursery is computed from."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class ParticipationFamilialeEaje(DatasetModel):
    """La famille d'un enfant de moins de 7 ans, et ce dont le tarif d'une crèche se calcule."""

    allocataires: dss_fields.AllocatairesEaje
    enfants: dss_fields.EnfantsEaje
    adresse: dss_fields.AdresseEaje
    parametres_calcul_participation_familiale: dss_fields.Parametres


DATASET = Dataset(
    name="dss_participation_familiale_eaje",
    provider="dss",
    routes={"/v3/dss/participation_familiale_eaje/identite": ParticipationFamilialeEaje},
    parameters=Identity,
    fetch=lambda identity, _fields: (dss.participation_familiale_eaje(identity), []),
)
lambda_handler = dataset_handler(DATASET)
