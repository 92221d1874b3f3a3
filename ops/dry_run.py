"""Responses that a set of scopes would give about a fictitious citizen; no provider is called, nothing is audited."""

from collections.abc import Iterable
from typing import Any, Final

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters
from api_particulier.errors import InsufficientScopes
from api_particulier.habilitations.known_scopes import known_scopes
from api_particulier.scopes import ProviderData, allowed_fields, mask
from api_particulier.v3_errors import in_v3
from ops.functions import datasets

_NAME: Final = {"nom": "EXEMPLE", "nomNaissance": "EXEMPLE", "prenoms": "Alix", "dateNaissance": "01/01/1980"}
_ADDRESS: Final = "1 RUE DE L'EXEMPLE 01234 BOURG-EXEMPLE"
_PERSON: Final = {
    "nom_naissance": "EXEMPLE",
    "nom_usage": None,
    "prenoms": "ALIX",
    "date_naissance": "1980-01-01",
    "sexe": "F",
}
FICTITIOUS: Final[dict[str, ProviderData]] = {
    "dgfip": {
        "declarant1": _NAME,
        "declarant2": dict.fromkeys(_NAME, ""),
        "dateRecouvrement": "31/07/2026",
        "dateEtablissement": "08/07/2026",
        "nombreParts": 1.5,
        "situationFamille": "Divorcé(e)",
        "nombrePersonnesCharge": 1,
        "revenuBrutGlobal": 24000,
        "revenuImposable": 23000,
        "impotRevenuNetAvantCorrections": 900,
        "montantImpot": None,
        "revenuFiscalReference": 23000,
        "foyerFiscal": {"annee": 2026, "adresse": _ADDRESS},
        "anneeImpots": "2026",
        "anneeRevenus": "2025",
        "erreurCorrectif": "Un avis correctif annule et remplace cet avis.",
        "situationPartielle": "Situation de l'année au 1er mars.",
        "annee": 2026,
        "dateReference": "01/01/2026",
        "adresse": _ADDRESS,
        "adresseStructuree": {
            "numero": "1",
            "voie": "Rue de l'Exemple",
            "codePostal": "01234",
            "codeInsee": "01999",
            "commune": "Bourg-Exemple",
            "contexte": "01, Ain, Auvergne-Rhône-Alpes",
        },
        "coordonnees": {"latitude": 46.2, "longitude": 5.2},
        "score": 0.97,
    },
    "caf": {
        "allocataires": [{"nomPrenom": "ALIX EXEMPLE", "dateDeNaissance": "01011980", "sexe": "F"}],
        "enfants": [{"nomPrenom": "NOA EXEMPLE", "dateDeNaissance": "01012015", "sexe": "M"}],
        "adresse": {
            "identite": "Madame ALIX EXEMPLE",
            "numeroRue": "1 RUE DE L'EXEMPLE",
            "codePostalVille": "01234 BOURG-EXEMPLE",
            "pays": "FRANCE",
        },
        "quotientFamilial": 650,
        "mois": 10,
        "annee": 2026,
    },
    "dss": {
        "quotient_familial": {
            "fournisseur": "CNAF",
            "valeur": 650,
            "annee": 2026,
            "mois": 11,
            "annee_calcul": 2026,
            "mois_calcul": 11,
        },
        "allocataires": [_PERSON],
        "enfants": [_PERSON | {"prenoms": "NOA", "date_naissance": "2023-01-01", "sexe": "M"}],
        "adresse": {
            "destinataire": "Madame ALIX EXEMPLE",
            "complement_information": None,
            "complement_information_geographique": None,
            "numero_libelle_voie": "1 RUE DE L'EXEMPLE",
            "lieu_dit": None,
            "code_postal_ville": "01234 BOURG-EXEMPLE",
            "pays": "FRANCE",
        },
        "parametres_calcul_participation_familiale": {
            "nombre_enfants_a_charge": 1,
            "nombre_enfants_beneficiaire_aeeh": 0,
            "base_ressources_annuelles": {"valeur": 24000, "annee_calcul": 2024},
        },
        "est_beneficiaire": True,
        "avec_participation": False,
        "avec_majoration": False,
        "status": "allocataire",
        "date_debut_droit": "2026-01-01",
    },
}
"""Provider data with a value for every field of the datasets, by provider."""


def dry_run(scopes: Iterable[str], dataset: str | None = None) -> dict[str, Any]:
    """Return the response of each route of v2 and v3, or of one dataset, to a key with these scopes.

    ``{"unknown": [scope…], "datasets": {name: {"route", "status", "body"}}}``, where ``unknown`` lists the scopes that
    the API does not have.
    """
    granted = frozenset(scopes)
    responses = {
        declared.name: _response(declared, granted) for declared in datasets() if dataset in {None, declared.name}
    }
    return {"unknown": sorted(granted - known_scopes()), "datasets": responses}


def _response(dataset: Dataset[Parameters], scopes: frozenset[str]) -> dict[str, Any]:
    route = next(route for route in dataset.routes if route.startswith(("/api/v2/", "/v3/")))
    model = dataset.routes[route]
    fields = allowed_fields(model, scopes)
    is_v3 = dataset.provider == "dss"
    if not fields:
        refused = InsufficientScopes()
        body = in_v3(refused, dataset.name).body if is_v3 else refused.body
        return {"route": route, "status": refused.status, "body": body}
    body = mask(FICTITIOUS[dataset.provider], model, fields, keep_empty=True).body
    return {"route": route, "status": 200, "body": {"data": body, "links": {}, "meta": {}} if is_v3 else body}
