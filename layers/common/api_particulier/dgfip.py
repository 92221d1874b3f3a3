"""What the tax service knows of a household, and how it is asked (contract §2, §3.1, §4).

Each field of a tax notice has its meaning and its scope here.

A dataset's model picks among these types; their names and their order there are those of its answer.
Dates are ``JJ/MM/AAAA``; amounts are whole euros, ``null`` where the notice says "Non imposable".
"""

from datetime import datetime
from typing import Annotated, Final, Literal, Protocol
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from api_particulier.errors import UnavailableYear, UnknownNotice
from api_particulier.parameters import AvisNumbers
from api_particulier.scopes import Document, OpenedBy, Partial
from api_particulier.settings import settings

_PARIS: Final = ZoneInfo("Europe/Paris")


class Declarant1(Partial):
    """Le contribuable."""

    nom: Annotated[str, OpenedBy("dgfip_declarant1_nom"), Field(description="Nom d'usage")]
    nomNaissance: Annotated[str, OpenedBy("dgfip_declarant1_nom_naissance"), Field(description="Nom de naissance")]
    prenoms: Annotated[str, OpenedBy("dgfip_declarant1_prenoms"), Field(description="Prénoms")]
    dateNaissance: Annotated[
        str, OpenedBy("dgfip_declarant1_date_naissance"), Field(description="Date de naissance, JJ/MM/AAAA")
    ]


class Declarant2(Partial):
    """Le conjoint ou partenaire de Pacs ; quatre chaînes vides s'il n'y en a pas."""

    nom: Annotated[str, OpenedBy("dgfip_declarant2_nom"), Field(description="Nom d'usage")]
    nomNaissance: Annotated[str, OpenedBy("dgfip_declarant2_nom_naissance"), Field(description="Nom de naissance")]
    prenoms: Annotated[str, OpenedBy("dgfip_declarant2_prenoms"), Field(description="Prénoms")]
    dateNaissance: Annotated[
        str, OpenedBy("dgfip_declarant2_date_naissance"), Field(description="Date de naissance, JJ/MM/AAAA")
    ]


AnneeAdresse = Annotated[int, OpenedBy("dgfip_adresse_fiscale_annee"), Field(description="Année de l'adresse")]
DateReference = Annotated[
    str,
    OpenedBy("dgfip_adresse_fiscale_annee"),
    Field(description="Date à laquelle l'adresse est connue, le 1er janvier de l'année, JJ/MM/AAAA"),
]
Adresse = Annotated[
    str, OpenedBy("dgfip_adresse_fiscale_taxation"), Field(description="Adresse telle qu'imprimée, sur une ligne")
]


class FoyerFiscal(Partial):
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
    OpenedBy("dgfip_adresse_fiscale_taxation"),
    Field(description="L'adresse selon la Base adresse nationale ; null si elle n'y est pas trouvée avec assurance"),
]
Coordonnees = Annotated[
    Point | None,
    OpenedBy("dgfip_adresse_fiscale_taxation"),
    Field(description="Où est l'adresse ; null si elle n'est pas trouvée avec assurance"),
]
Score = Annotated[
    float | None,
    OpenedBy("dgfip_adresse_fiscale_taxation"),
    Field(description="Assurance de la Base adresse nationale, de 0,5 à 1 ; null en dessous", ge=0, le=1),
]
Adresses = Annotated[
    list[AdresseTrouvee],
    OpenedBy("dgfip_adresse_fiscale_taxation"),
    Field(description="L'adresse selon la Base adresse nationale ; vide si elle n'y est pas trouvée avec assurance"),
]


type _Amount = int | None

DateRecouvrement = Annotated[
    str | None,
    OpenedBy("dgfip_date_recouvrement"),
    Field(description="Date de mise en recouvrement de l'avis d'impôt, JJ/MM/AAAA"),
]
DateEtablissement = Annotated[
    str | None, OpenedBy("dgfip_date_etablissement"), Field(description="Date d'établissement de l'avis, JJ/MM/AAAA")
]
NombreParts = Annotated[
    float | None, OpenedBy("dgfip_nombre_parts"), Field(description="Nombre de parts du foyer fiscal")
]
SituationFamille = Annotated[
    str | None, OpenedBy("dgfip_situation_familiale"), Field(description="Situation de famille, telle qu'imprimée")
]
NombrePersonnesCharge = Annotated[
    int | None, OpenedBy("dgfip_nombre_personnes_a_charge"), Field(description="Nombre de personnes à charge")
]
RevenuBrutGlobal = Annotated[
    _Amount, OpenedBy("dgfip_revenu_brut_global"), Field(description="Revenu brut global, en euros")
]
RevenuImposable = Annotated[
    _Amount, OpenedBy("dgfip_revenu_imposable"), Field(description="Revenu imposable, en euros")
]
ImpotRevenuNetAvantCorrections = Annotated[
    _Amount,
    OpenedBy("dgfip_impot_revenu_net_avant_corrections"),
    Field(description="Impôt sur le revenu net avant corrections, en euros ; null si non imposable"),
]
MontantImpot = Annotated[
    _Amount,
    OpenedBy("dgfip_montant_impot"),
    Field(description="Montant de l'impôt, en euros ; null si non imposable"),
]
RevenuFiscalReference = Annotated[
    _Amount, OpenedBy("dgfip_revenu_fiscal_reference"), Field(description="Revenu fiscal de référence, en euros")
]
AnneeImpots = Annotated[str, OpenedBy("dgfip_annee_impot"), Field(description="Année de l'imposition")]
AnneeRevenus = Annotated[str, OpenedBy("dgfip_annee_revenus"), Field(description="Année des revenus")]
ErreurCorrectif = Annotated[
    str,
    OpenedBy("dgfip_erreur_correctif"),
    Field(description="Présent si un avis plus récent remplace celui-ci : ce qu'en dit la DGFIP"),
]
SituationPartielle = Annotated[
    str,
    OpenedBy("dgfip_situation_partielle"),
    Field(description="Présent si l'avis ne couvre qu'une partie de l'année : ce qu'en dit la DGFIP"),
]


def avis(numbers: AvisNumbers) -> Document:
    """Ask the tax service for a notice.

    ``UnavailableYear`` for a notice that is not of the last years, without asking; ``UnknownNotice`` when there is
    none; else a ``ProviderError``.
    """
    _check_year(numbers.reference_avis)
    return _provider().notice(numbers)


def probe(numbers: AvisNumbers) -> None:
    """Ask for a test notice, of whatever year; the errors of ``avis``."""
    _provider().notice(numbers)


def ping() -> None:
    """Ask the tax service whether it answers; a ``ProviderError`` when it does not."""
    _provider().ping()


class _Provider(Protocol):
    """What a module of ``upstreams`` that asks the tax service offers."""

    def notice(self, numbers: AvisNumbers, /) -> Document: ...

    def ping(self) -> None: ...


def _provider() -> _Provider:
    """Return the module of the interface that is configured; a refused call does not pay for importing it."""
    if settings().dgfip_provider == "impot_particulier":
        from api_particulier.upstreams import impot_particulier  # noqa: PLC0415 - see above

        return impot_particulier
    from api_particulier.upstreams import svair  # noqa: PLC0415 - see above

    return svair


def _check_year(reference_avis: str) -> None:
    """Refuse a notice of a year that cannot be had: in 2026, those of 2026 and 2025 can (contract §2)."""
    printed = reference_avis[:2]
    if not printed.isdigit():
        raise UnknownNotice  # the first two digits of a reference are its year
    this_year = datetime.now(_PARIS).year
    years = settings().dgfip_available_years
    if not this_year - years < 2000 + int(printed) <= this_year:
        raise UnavailableYear(
            None,
            "Cet avis n'est pas disponible : "
            + (
                f"seuls les avis des {years} dernières années le sont" if years > 1 else "seuls ceux de l'année le sont"
            ),
        )
