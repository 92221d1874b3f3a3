"""Allocation aux adultes handicapés by civil identity (v3): whether a person has it."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class AllocationAdulteHandicape(DatasetModel):
    """Si la personne a l'allocation aux adultes handicapés."""

    est_beneficiaire: dss_fields.Aah
    date_debut_droit: dss_fields.AahDebut


DATASET = Dataset(
    name="dss_allocation_adulte_handicape",
    provider="dss",
    routes={"/v3/dss/allocation_adulte_handicape/identite": AllocationAdulteHandicape},
    parameters=Identity,
    fetch=lambda identity, _fields: (dss.eligibility("allocation_adulte_handicape", identity), []),
)
lambda_handler = dataset_handler(DATASET)
