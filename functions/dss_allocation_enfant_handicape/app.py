"""Allocation d'éducation de l'enfant handicapé by civil identity (v3): the parent paid, or the child."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class AllocationEnfantHandicape(DatasetModel):
    """Si la personne est payée de l'allocation d'éducation de l'enfant handicapé, ou y ouvre droit."""

    status: dss_fields.Aeeh
    date_debut_droit: dss_fields.AeehDebut


DATASET = Dataset(
    name="dss_allocation_enfant_handicape",
    provider="dss",
    routes={"/v3/dss/allocation_enfant_handicape/identite": AllocationEnfantHandicape},
    parameters=Identity,
    fetch=lambda identity, _fields: (dss.status("allocation_enfant_handicape", identity), []),
)
lambda_handler = dataset_handler(DATASET)
