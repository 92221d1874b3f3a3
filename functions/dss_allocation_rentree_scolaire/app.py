"""Allocation de rentrée scolaire by civil identity (v3): the parent paid, or the child."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class AllocationRentreeScolaire(DatasetModel):
    """Si la personne est payée de l'allocation de rentrée scolaire, ou y ouvre droit."""

    status: dss_fields.Ars
    date_debut_droit: dss_fields.ArsDebut


DATASET = Dataset(
    name="dss_allocation_rentree_scolaire",
    provider="dss",
    routes={"/v3/dss/allocation_rentree_scolaire/identite": AllocationRentreeScolaire},
    parameters=Identity,
    fetch=lambda identity, _fields: (dss.status("allocation_rentree_scolaire", identity), []),
)
lambda_handler = dataset_handler(DATASET)
