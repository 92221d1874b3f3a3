"""What the nine benefits show of a family or of a right, with the scope of each field (v3).

A dataset's model picks among these types; their names are those of its answer.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from api_particulier.scopes import Scope

type Sexe = Literal["F", "M"]


class PersonneDss(BaseModel):
    """Une personne du dossier ; ce que la caisse ne connaît pas est null."""

    nom_naissance: str | None = Field(description="Nom de naissance")
    nom_usage: str | None = Field(description="Nom d'usage")
    prenoms: str | None = Field(description="Prénoms, en un texte")
    date_naissance: str | None = Field(
        description="AAAA-MM-JJ, avec des zéros pour ce qui est inconnu : 2012-04-00, 0000-00-00"
    )
    sexe: Sexe | None = Field(description="F ou M")


class PersonneEaje(PersonneDss):
    """Une personne du dossier, avec sa commune de naissance."""

    code_cog_insee_commune_naissance: str | None = Field(description="Code INSEE de la commune de naissance")


class AdresseDss(BaseModel):
    """L'adresse postale du dossier, ligne par ligne ; une ligne inconnue est null."""

    destinataire: str | None = Field(description="Civilité et nom du destinataire")
    complement_information: str | None = Field(description="Complément d'identité")
    complement_information_geographique: str | None = Field(description="Étage, bâtiment, résidence")
    numero_libelle_voie: str | None = Field(description="Numéro et voie")
    lieu_dit: str | None = Field(description="Lieu-dit ou boîte postale")
    code_postal_ville: str | None = Field(description="Code postal et commune")
    pays: str | None = Field(description="Pays")


class QuotientDss(BaseModel):
    """Le quotient familial d'un mois."""

    fournisseur: Literal["CNAF", "MSA"] = Field(description="La caisse qui l'a calculé")
    valeur: int | None = Field(description="Le quotient, en euros ; null si la caisse n'en a pas")
    annee: int = Field(description="Année demandée")
    mois: int = Field(description="Mois demandé, de 1 à 12")
    annee_calcul: int | None = Field(description="Année du calcul")
    mois_calcul: int | None = Field(description="Mois du calcul, de 1 à 12")


class BaseRessources(BaseModel):
    """Les ressources de la famille."""

    valeur: int = Field(description="Ressources de l'année, en euros")
    annee_calcul: int = Field(description="L'année de ces ressources")


class ParametresCalcul(BaseModel):
    """Ce dont le tarif horaire d'une crèche se calcule."""

    nombre_enfants_a_charge: int = Field(description="Nombre d'enfants à charge")
    nombre_enfants_beneficiaire_aeeh: int = Field(description="Combien d'entre eux ont droit à l'AEEH")
    base_ressources_annuelles: BaseRessources


QuotientFamilial = Annotated[
    QuotientDss, Scope("cnaf_quotient_familial"), Field(description="Le quotient familial du mois demandé")
]
Allocataires = Annotated[
    list[PersonneDss], Scope("cnaf_allocataires"), Field(description="Les allocataires d'aujourd'hui, un au moins")
]
Enfants = Annotated[
    list[PersonneDss],
    Scope("cnaf_enfants"),
    Field(description="Les enfants d'aujourd'hui ; une liste vide s'il n'y en a pas"),
]
Adresse = Annotated[AdresseDss, Scope("cnaf_adresse"), Field(description="L'adresse d'aujourd'hui")]

_EAJE = "cnav_participation_familiale_eaje"
AllocatairesEaje = Annotated[
    list[PersonneEaje], Scope(f"{_EAJE}_allocataires"), Field(description="Les allocataires, un au moins")
]
EnfantsEaje = Annotated[
    list[PersonneEaje],
    Scope(f"{_EAJE}_enfants"),
    Field(description="Tous les enfants, dont un au moins de moins de 7 ans"),
]
AdresseEaje = Annotated[AdresseDss, Scope(f"{_EAJE}_adresse"), Field(description="L'adresse du dossier")]
Parametres = Annotated[
    ParametresCalcul, Scope(f"{_EAJE}_parametres_calcul"), Field(description="Ce dont le tarif se calcule")
]

_HAS_RIGHT = "Si la personne a ce droit"
_SINCE = "Depuis quand, AAAA-MM-JJ ; null sans droit, ou si la date est inconnue ; peut être à venir"
_INCREASED = "Si le droit est majoré ; null sans droit, ou si on l'ignore"
_STATUS = (
    "`allocataire` pour le parent qui est payé, `ouvrant_droit` pour l'enfant, `non_beneficiaire` pour qui n'a pas ce"
    " droit"
)

Css = Annotated[bool, Scope("complementaire_sante_solidaire"), Field(description=_HAS_RIGHT)]
CssParticipation = Annotated[
    bool, Scope("complementaire_sante_solidaire"), Field(description="Si la personne paie une participation")
]
CssDebut = Annotated[str | None, Scope("complementaire_sante_solidaire"), Field(description=_SINCE)]
Rsa = Annotated[bool, Scope("revenu_solidarite_active"), Field(description=_HAS_RIGHT)]
RsaMajoration = Annotated[bool | None, Scope("revenu_solidarite_active_majoration"), Field(description=_INCREASED)]
RsaDebut = Annotated[str | None, Scope("revenu_solidarite_active"), Field(description=_SINCE)]
PrimeActivite = Annotated[bool, Scope("prime_activite"), Field(description=_HAS_RIGHT)]
PrimeActiviteMajoration = Annotated[bool | None, Scope("prime_activite_majoration"), Field(description=_INCREASED)]
PrimeActiviteDebut = Annotated[str | None, Scope("prime_activite"), Field(description=_SINCE)]
Aah = Annotated[bool, Scope("allocation_adulte_handicape"), Field(description=_HAS_RIGHT)]
AahDebut = Annotated[str | None, Scope("allocation_adulte_handicape"), Field(description=_SINCE)]
Asf = Annotated[bool, Scope("allocation_soutien_familial"), Field(description=_HAS_RIGHT)]
AsfDebut = Annotated[str | None, Scope("allocation_soutien_familial"), Field(description=_SINCE)]
type Status = Literal["allocataire", "ouvrant_droit", "non_beneficiaire"]
Aeeh = Annotated[Status, Scope("cnav_allocation_enfant_handicape"), Field(description=_STATUS)]
AeehDebut = Annotated[str | None, Scope("cnav_allocation_enfant_handicape"), Field(description=_SINCE)]
Ars = Annotated[Status, Scope("cnav_allocation_rentree_scolaire"), Field(description=_STATUS)]
ArsDebut = Annotated[str | None, Scope("cnav_allocation_rentree_scolaire"), Field(description=_SINCE)]
