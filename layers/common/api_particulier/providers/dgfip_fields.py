"""The fields of a tax notice: each with its meaning and the scope that opens it (contract §3.1, §4).

A dataset's model picks among these types; their names and their order there are those of its answer.
Dates are ``JJ/MM/AAAA``; amounts are whole euros, ``null`` where the notice prints "Non imposable".
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api_particulier.scopes import DatasetModel, Scope

type _Amount = int | None
type _Text = str | None
"""``null`` where the notice prints nothing."""


class Declarant1(DatasetModel):
    """Le contribuable."""

    nom: Annotated[_Text, Scope("dgfip_declarant1_nom"), Field(description="Nom d'usage")]
    nomNaissance: Annotated[_Text, Scope("dgfip_declarant1_nom_naissance"), Field(description="Nom de naissance")]
    prenoms: Annotated[_Text, Scope("dgfip_declarant1_prenoms"), Field(description="Prénoms")]
    dateNaissance: Annotated[
        _Text, Scope("dgfip_declarant1_date_naissance"), Field(description="Date de naissance, JJ/MM/AAAA")
    ]


class Declarant2(DatasetModel):
    """Le conjoint ou partenaire de Pacs ; quatre chaînes vides s'il n'y en a pas."""

    nom: Annotated[_Text, Scope("dgfip_declarant2_nom"), Field(description="Nom d'usage")]
    nomNaissance: Annotated[_Text, Scope("dgfip_declarant2_nom_naissance"), Field(description="Nom de naissance")]
    prenoms: Annotated[_Text, Scope("dgfip_declarant2_prenoms"), Field(description="Prénoms")]
    dateNaissance: Annotated[
        _Text, Scope("dgfip_declarant2_date_naissance"), Field(description="Date de naissance, JJ/MM/AAAA")
    ]


AnneeAdresse = Annotated[int, Scope("dgfip_adresse_fiscale_annee"), Field(description="Année de l'adresse")]
DateReference = Annotated[
    str,
    Scope("dgfip_adresse_fiscale_annee"),
    Field(description="Date à laquelle l'adresse est connue, le 1er janvier de l'année, JJ/MM/AAAA"),
]
Adresse = Annotated[
    str, Scope("dgfip_adresse_fiscale_taxation"), Field(description="Adresse telle qu'imprimée, sur une ligne")
]


class FoyerFiscal(DatasetModel):
    """L'adresse déclarée au 1er janvier de l'année d'imposition."""

    annee: AnneeAdresse
    adresse: Adresse


class PartiesAdresse(BaseModel):
    """Une adresse, partie par partie, selon la Base adresse nationale."""

    numero: Annotated[str | None, Field(description="Numéro dans la voie")]
    voie: Annotated[str | None, Field(description="Voie ou lieu-dit")]
    codePostal: Annotated[str | None, Field(description="Code postal")]
    codeInsee: Annotated[str | None, Field(description="Code Insee de la commune")]
    commune: Annotated[str | None, Field(description="Commune")]
    contexte: Annotated[str | None, Field(description="Département et région")]


class Point(BaseModel):
    """Un point en degrés décimaux (WGS 84)."""

    latitude: float
    longitude: float


class Geometrie(BaseModel):
    """Un point GeoJSON."""

    type: Literal["Point"]
    coordinates: Annotated[tuple[float, float], Field(description="Longitude puis latitude, en degrés décimaux")]


class AdresseTrouvee(BaseModel):
    """Une adresse de la Base adresse nationale."""

    adresse: Annotated[
        dict[str, str | int | float | bool | None], Field(description="Propriétés de l'adresse, sans son identifiant")
    ]
    geometry: Geometrie


AdresseStructuree = Annotated[
    PartiesAdresse | None,
    Scope("dgfip_adresse_fiscale_taxation"),
    Field(description="L'adresse selon la Base adresse nationale ; null si elle n'y est pas trouvée avec assurance"),
]
Coordonnees = Annotated[
    Point | None,
    Scope("dgfip_adresse_fiscale_taxation"),
    Field(description="Où est l'adresse ; null si elle n'est pas trouvée avec assurance"),
]
Score = Annotated[
    float | None,
    Scope("dgfip_adresse_fiscale_taxation"),
    Field(description="Assurance de la Base adresse nationale, de 0,5 à 1 ; null en dessous", ge=0, le=1),
]
Adresses = Annotated[
    list[AdresseTrouvee],
    Scope("dgfip_adresse_fiscale_taxation"),
    Field(description="Les adresses que la Base adresse nationale propose, au plus cinq ; vide s'il n'y en a pas"),
]

DateRecouvrement = Annotated[
    str | None,
    Scope("dgfip_date_recouvrement"),
    Field(description="Date de mise en recouvrement de l'avis d'impôt, JJ/MM/AAAA"),
]
DateEtablissement = Annotated[
    str | None, Scope("dgfip_date_etablissement"), Field(description="Date d'établissement de l'avis, JJ/MM/AAAA")
]
NombreParts = Annotated[float | None, Scope("dgfip_nombre_parts"), Field(description="Nombre de parts du foyer fiscal")]
SituationFamille = Annotated[
    str | None, Scope("dgfip_situation_familiale"), Field(description="Situation de famille, telle qu'imprimée")
]
NombrePersonnesCharge = Annotated[
    int | None, Scope("dgfip_nombre_personnes_a_charge"), Field(description="Nombre de personnes à charge")
]
RevenuBrutGlobal = Annotated[
    _Amount, Scope("dgfip_revenu_brut_global"), Field(description="Revenu brut global, en euros")
]
RevenuImposable = Annotated[_Amount, Scope("dgfip_revenu_imposable"), Field(description="Revenu imposable, en euros")]
ImpotRevenuNetAvantCorrections = Annotated[
    _Amount,
    Scope("dgfip_impot_revenu_net_avant_corrections"),
    Field(description="Impôt sur le revenu net avant corrections, en euros ; null si non imposable"),
]
MontantImpot = Annotated[
    _Amount,
    Scope("dgfip_montant_impot"),
    Field(description="Montant de l'impôt, en euros ; null si non imposable"),
]
RevenuFiscalReference = Annotated[
    _Amount, Scope("dgfip_revenu_fiscal_reference"), Field(description="Revenu fiscal de référence, en euros")
]
AnneeImpots = Annotated[str, Scope("dgfip_annee_impot"), Field(description="Année de l'imposition")]
AnneeRevenus = Annotated[str, Scope("dgfip_annee_revenus"), Field(description="Année des revenus")]
ErreurCorrectif = Annotated[
    str,
    Scope("dgfip_erreur_correctif"),
    Field(description="Présent si un avis plus récent remplace celui-ci : ce qu'en dit la DGFIP"),
]
SituationPartielle = Annotated[
    str,
    Scope("dgfip_situation_partielle"),
    Field(description="Présent si l'avis ne couvre qu'une partie de l'année : ce qu'en dit la DGFIP"),
]
