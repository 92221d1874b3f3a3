"""Avis d'imposition: the whole tax notice, masked by scopes (contract §3.1)."""

from api_particulier.api.dataset import Dataset
from api_particulier.api.handler import dataset_handler
from api_particulier.api.parameters import AvisNumbers
from api_particulier.providers import dgfip, dgfip_fields
from api_particulier.scopes import DatasetModel


class AvisImposition(DatasetModel):
    """L'avis d'imposition tel que la DGFIP le certifie."""

    declarant1: dgfip_fields.Declarant1
    declarant2: dgfip_fields.Declarant2
    dateRecouvrement: dgfip_fields.DateRecouvrement
    dateEtablissement: dgfip_fields.DateEtablissement
    nombreParts: dgfip_fields.NombreParts
    situationFamille: dgfip_fields.SituationFamille
    nombrePersonnesCharge: dgfip_fields.NombrePersonnesCharge
    revenuBrutGlobal: dgfip_fields.RevenuBrutGlobal
    revenuImposable: dgfip_fields.RevenuImposable
    impotRevenuNetAvantCorrections: dgfip_fields.ImpotRevenuNetAvantCorrections
    montantImpot: dgfip_fields.MontantImpot
    revenuFiscalReference: dgfip_fields.RevenuFiscalReference
    foyerFiscal: dgfip_fields.FoyerFiscal
    anneeImpots: dgfip_fields.AnneeImpots
    anneeRevenus: dgfip_fields.AnneeRevenus
    erreurCorrectif: dgfip_fields.ErreurCorrectif
    situationPartielle: dgfip_fields.SituationPartielle


DATASET = Dataset(
    name="avis_imposition",
    provider="dgfip",
    routes={"/api/v2/avis-imposition": AvisImposition, "/api/impots/svair": AvisImposition},
    parameters=AvisNumbers,
    fetch=dgfip.fetch,
)
lambda_handler = dataset_handler(DATASET)
