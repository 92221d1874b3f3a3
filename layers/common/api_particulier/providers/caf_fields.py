"""What the CAF knows of a family, and how it is asked (contract §2, §3.4, §4).

Each field of a family file has its meaning and its scope here.

A dataset's model picks among these types; their names and their order there are those of its answer.
Dates are ``JJMMAAAA``; the quotient is in whole euros. Names are as the CAF sends them, its trailing spaces included.
"""

from typing import Annotated

from pydantic import Field

from api_particulier.scopes import DatasetModel, Scope


class Personne(DatasetModel):
    """Une personne du dossier ; une donnée que la CAF n'envoie pas est absente, une donnée vide est une chaîne vide."""

    nomPrenom: Annotated[str, Field(description="Nom et prénoms, tels que la CAF les envoie")]
    dateDeNaissance: Annotated[str, Field(description="Date de naissance, JJMMAAAA")]
    sexe: Annotated[str, Field(description="F ou M")]


class Adresse(DatasetModel):
    """L'adresse postale du dossier, ligne par ligne ; une ligne vide est absente."""

    identite: Annotated[str, Field(description="Civilité et nom du destinataire")]
    complementIdentite: Annotated[str, Field(description="Complément d'identité")]
    complementIdentiteGeo: Annotated[str, Field(description="Étage, bâtiment, résidence")]
    numeroRue: Annotated[str, Field(description="Numéro et voie")]
    lieuDit: Annotated[str, Field(description="Lieu-dit ou boîte postale")]
    codePostalVille: Annotated[str, Field(description="Code postal et commune")]
    pays: Annotated[str, Field(description="Pays")]


Allocataires = Annotated[
    list[Personne],
    Scope("cnaf_allocataires"),
    Field(description="Les allocataires du dossier ; une seule personne est encore une liste"),
]
Enfants = Annotated[
    list[Personne],
    Scope("cnaf_enfants"),
    Field(description="Les enfants du dossier ; une liste vide s'il n'y en a pas"),
]
AdresseDuDossier = Annotated[
    Adresse,
    Scope("cnaf_adresse"),
    Field(description="L'adresse du dossier ; un objet vide si la CAF n'en connaît aucune ligne"),
]
QuotientFamilial = Annotated[
    int | None,
    Scope("cnaf_quotient_familial"),
    Field(description="Quotient familial du mois précédent, en euros ; null si la CAF n'en a pas"),
]
Mois = Annotated[
    int | None,
    Scope("cnaf_quotient_familial"),
    Field(description="Mois du quotient familial, de 1 à 12 ; null s'il n'y en a pas"),
]
Annee = Annotated[
    int | None,
    Scope("cnaf_quotient_familial"),
    Field(description="Année du quotient familial ; null s'il n'y en a pas"),
]
