"""Avis d'imposition: the whole tax notice, masked by scopes (contract §3.1)."""

from api_particulier import dgfip
from api_particulier.dataset import Dataset
from api_particulier.parameters import AvisNumbers
from api_particulier.scopes import Partial


class AvisImposition(Partial):
    """L'avis d'imposition tel que la DGFIP le certifie."""

    declarant1: dgfip.Declarant1
    declarant2: dgfip.Declarant2
    dateRecouvrement: dgfip.DateRecouvrement
    dateEtablissement: dgfip.DateEtablissement
    nombreParts: dgfip.NombreParts
    situationFamille: dgfip.SituationFamille
    nombrePersonnesCharge: dgfip.NombrePersonnesCharge
    revenuBrutGlobal: dgfip.RevenuBrutGlobal
    revenuImposable: dgfip.RevenuImposable
    impotRevenuNetAvantCorrections: dgfip.ImpotRevenuNetAvantCorrections
    montantImpot: dgfip.MontantImpot
    revenuFiscalReference: dgfip.RevenuFiscalReference
    foyerFiscal: dgfip.FoyerFiscal
    anneeImpots: dgfip.AnneeImpots
    anneeRevenus: dgfip.AnneeRevenus
    erreurCorrectif: dgfip.ErreurCorrectif
    situationPartielle: dgfip.SituationPartielle


DATASET = Dataset(
    name="avis_imposition",
    provider="dgfip",
    routes={"/api/v2/avis-imposition": AvisImposition, "/api/impots/svair": AvisImposition},
    parameters=AvisNumbers,
    ask=lambda question: dgfip.avis(question.parameters),
)
lambda_handler = DATASET.handler
