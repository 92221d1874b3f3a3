"""Quotient familial by civil identity (v3): the quotient of a month, from the CNAF or the MSA, and the family."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.identity import IdentityAndPeriod
from api_particulier.providers import dss, dss_fields
from api_particulier.scopes import DatasetModel


class QuotientFamilialV3(DatasetModel):
    """Le quotient familial d'un mois, et la famille d'aujourd'hui."""

    quotient_familial: dss_fields.QuotientFamilial
    allocataires: dss_fields.Allocataires
    enfants: dss_fields.Enfants
    adresse: dss_fields.Adresse


DATASET = Dataset(
    name="dss_quotient_familial",
    provider="dss",
    routes={"/v3/dss/quotient_familial/identite": QuotientFamilialV3},
    parameters=IdentityAndPeriod,
    fetch=lambda identity, _fields: (dss.quotient_familial(identity), []),
)
lambda_handler = dataset_handler(DATASET)
