"""Complémentaire santé solidaire by civil identity (v3): whether a person has it, with or without participation."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class ComplementaireSanteSolidaire(DatasetModel):
    """Si la personne a la complémentaire santé solidaire, et si elle paie une participation."""

    est_beneficiaire: dss_fields.Css
    avec_participation: dss_fields.CssParticipation
    date_debut_droit: dss_fields.CssDebut


DATASET = Dataset(
    name="dss_complementaire_sante_solidaire",
    provider="dss",
    routes={"/v3/dss/complementaire_sante_solidaire/identite": ComplementaireSanteSolidaire},
    parameters=Identity,
    fetch=lambda identity, _fields: (dss.complementaire_sante_solidaire(identity), []),
)
lambda_handler = dataset_handler(DATASET)
