"""Prime d'activité by civil identity (v3): whether a person has it, and whether it is increased."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import Identity
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class PrimeActivite(DatasetModel):
    """Si la personne a la prime d'activité, et si elle est majorée."""

    est_beneficiaire: dss_fields.PrimeActivite
    avec_majoration: dss_fields.PrimeActiviteMajoration
    date_debut_droit: dss_fields.PrimeActiviteDebut


DATASET = Dataset(
    name="dss_prime_activite",
    provider="dss",
    routes={"/v3/dss/prime_activite/identite": PrimeActivite},
    parameters=Identity,
    fetch=lambda identity, _fields: (
        dss.increasable("prime_activite", identity, plain="3105", increased="3106"),
        [],
    ),
)
lambda_handler = dataset_handler(DATASET)
