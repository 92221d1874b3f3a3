"""Revenu de solidarité active by civil identity (v3): whether a person has it, and whether it is increased."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class RevenuSolidariteActive(DatasetModel):
    """Si la personne a le revenu de solidarité active, et s'il est majoré."""

    est_beneficiaire: dss_fields.Rsa
    avec_majoration: dss_fields.RsaMajoration
    date_debut_droit: dss_fields.RsaDebut


DATASET = Dataset(
    name="dss_revenu_solidarite_active",
    provider="dss",
    routes={"/v3/dss/revenu_solidarite_active/identite": RevenuSolidariteActive},
    parameters=Identity,
    fetch=lambda identity, _fields: (
        dss.increasable("revenu_solidarite_active", identity, plain="3101", increased="3102"),
        [],
    ),
)
lambda_handler = dataset_handler(DATASET)
