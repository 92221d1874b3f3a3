"""The scopes and the fields that each opens, in any dataset, as the contract lists them (§4)."""

PEOPLE = {
    f"dgfip_declarant{rank}_{scope}": [f"declarant{rank}.{field}"]
    for rank in (1, 2)
    for scope, field in {
        "nom": "nom",
        "nom_naissance": "nomNaissance",
        "prenoms": "prenoms",
        "date_naissance": "dateNaissance",
    }.items()
}
HOUSEHOLD = {
    "dgfip_adresse_fiscale_annee": ["foyerFiscal.annee", "annee", "dateReference"],
    "dgfip_adresse_fiscale_taxation": [
        *("foyerFiscal.adresse", "adresse", "adresseStructuree", "coordonnees", "score", "adresses"),
    ],
    "dgfip_annee_impot": ["anneeImpots"],
    "dgfip_annee_revenus": ["anneeRevenus"],
    "dgfip_erreur_correctif": ["erreurCorrectif"],
    "dgfip_situation_partielle": ["situationPartielle"],
}
DGFIP = {
    **PEOPLE,
    "dgfip_date_recouvrement": ["dateRecouvrement"],
    "dgfip_date_etablissement": ["dateEtablissement"],
    "dgfip_nombre_parts": ["nombreParts"],
    "dgfip_situation_familiale": ["situationFamille"],
    "dgfip_nombre_personnes_a_charge": ["nombrePersonnesCharge"],
    "dgfip_revenu_brut_global": ["revenuBrutGlobal"],
    "dgfip_revenu_imposable": ["revenuImposable"],
    "dgfip_impot_revenu_net_avant_corrections": ["impotRevenuNetAvantCorrections"],
    "dgfip_montant_impot": ["montantImpot"],
    "dgfip_revenu_fiscal_reference": ["revenuFiscalReference"],
    **HOUSEHOLD,
}
CNAF = {
    "cnaf_allocataires": ["allocataires"],
    "cnaf_enfants": ["enfants"],
    "cnaf_adresse": ["adresse"],
    "cnaf_quotient_familial": ["quotientFamilial", "mois", "annee"],
}
_EAJE = "cnav_participation_familiale_eaje"
DSS = {
    "cnaf_quotient_familial": ["quotient_familial"],
    "cnaf_allocataires": ["allocataires"],
    "cnaf_enfants": ["enfants"],
    "cnaf_adresse": ["adresse"],
    f"{_EAJE}_allocataires": ["allocataires"],
    f"{_EAJE}_enfants": ["enfants"],
    f"{_EAJE}_adresse": ["adresse"],
    f"{_EAJE}_parametres_calcul": ["parametres_calcul_participation_familiale"],
    "complementaire_sante_solidaire": ["est_beneficiaire", "avec_participation", "date_debut_droit"],
    "revenu_solidarite_active": ["est_beneficiaire", "date_debut_droit"],
    "revenu_solidarite_active_majoration": ["avec_majoration"],
    "prime_activite": ["est_beneficiaire", "date_debut_droit"],
    "prime_activite_majoration": ["avec_majoration"],
    "allocation_adulte_handicape": ["est_beneficiaire", "date_debut_droit"],
    "allocation_soutien_familial": ["est_beneficiaire", "date_debut_droit"],
    "cnav_allocation_enfant_handicape": ["status", "date_debut_droit"],
    "cnav_allocation_rentree_scolaire": ["status", "date_debut_droit"],
}
"""Those of v3."""
EVERY_SCOPE = ("dgfip_avis_imposition", "cnaf_attestation_droits")
"""Two scopes that open all fields between them."""
BUNDLES = {
    "dgfip_avis_imposition": list(DGFIP),
    "dgfip_adresse": [*PEOPLE, *HOUSEHOLD],
    "cnaf_attestation_droits": list(CNAF),
}
