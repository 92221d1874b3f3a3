"""Allocation de soutien familial by civil identity (v3): whether a person has it."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class AllocationSoutienFamilial(DatasetModel):
    """Si la personne a l'allocation de soutien familial."""

    est_beneficiaire: dss_fields.Asf
    date_debut_droit: dss_fields.AsfDebut


DATASET = Dataset(
    name="dss_allocation_soutien_familial",
    provider="dss",
    routes={"/v3/dss/allocation_soutien_familial/identite": AllocationSoutienFamilial},
    parameters=Identity,
    fetch=lambda identity, _fields: (dss.eligibility("allocation_soutien_familial", identity), []),
)
lambda_handler = dataset_handler(DATASET)
