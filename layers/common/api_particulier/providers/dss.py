"""What API-SECU answers of each benefit, read into the fields of v3.

An answer that has a field missing, of another type or with another value than those known is not understood: nothing
is guessed.
"""

import re
from calendar import monthrange
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from api_particulier.api.identity import Identity, IdentityAndPeriod
from api_particulier.errors import ProviderInvalidResponse
from api_particulier.paris_time import today
from api_particulier.providers import api_secu
from api_particulier.scopes import ProviderData
from api_particulier.v3_errors import NotEligible

_ACTIVE: Final = 10
"""The state of a right."""
_TOO_OLD: Final = 7
"""The age from which a child has no place in a nursery."""

# ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _blank_is_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _number(value: object) -> object:
    """Read digits as a number."""
    return int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value) else value


def _partial_date(text: str) -> str:
    """Check a date of which any part may be zeros."""
    found = re.fullmatch(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", text)
    if not found:
        raise ValueError
    year, month, day = (int(part) for part in found.groups())
    date(year or 2000, month or 1, day or 1)
    return text


def _date(text: str) -> str:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError
    date.fromisoformat(text)
    return text


type _Text = Annotated[str | None, BeforeValidator(_blank_is_none)]
type _Integer = Annotated[int | None, BeforeValidator(_blank_is_none)]
type _Sex = Annotated[Literal["M", "F"] | None, BeforeValidator(_blank_is_none)]
type _Birth = Annotated[Annotated[str, AfterValidator(_partial_date)] | None, BeforeValidator(_blank_is_none)]
type _Start = Annotated[Annotated[str, AfterValidator(_date)] | None, BeforeValidator(_blank_is_none)]


class _Read(BaseModel):
    """A part of an answer: the names are the gate's, unused members are left out."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


# ── Families ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Person(_Read):
    nom_naissance: _Text = None
    nom_usage: _Text = None
    liste_prenoms: _Text = None
    date_naissance: _Birth = None
    genre: _Sex = None
    cog_naissance: _Text = None


class _Address(_Read):
    identite: _Text = None
    complement_information: _Text = None
    complement_information_geo: _Text = None
    numero_libelle_voie: _Text = None
    lieu_dit: _Text = None
    code_postal_ville: _Text = None
    pays: _Text = None


class _Family(_Read):
    allocataires: Annotated[list[_Person], Field(min_length=1)]
    enfants: list[_Person] | None = None
    adresse: _Address | None = None


class _Quotient(_Family):
    quotient_familial: _Integer = None
    annee: _Integer = None
    mois: Annotated[Annotated[int, Field(ge=1, le=12)] | None, BeforeValidator(_blank_is_none)] = None


class _Eaje(_Family):
    nombre_enfant_a_charge: Annotated[int, Field(alias="nombreEnfantACharge")]
    nombre_beneficiaire_aeeh: Annotated[int, Field(alias="nombreBeneficiaireAEH")]
    montant_ressources: int
    annee: Annotated[int, BeforeValidator(_number)]


def quotient_familial(identity: IdentityAndPeriod) -> ProviderData:
    """Return the quotient of a month and the family of today.

    Raise ``UnknownIdentity`` or ``IdentityRefused`` when there is a reason for none, else a ``ProviderFailure``.
    """
    answer, fund = api_secu.ask("quotient_familial", identity, _Quotient)
    if fund not in {"CNAF", "MSA"}:
        raise ProviderInvalidResponse
    computed = (answer.annee, answer.mois)
    if fund == "MSA":  # whatever it sends
        computed = (today().year, today().month)
    return {
        "quotient_familial": {
            "fournisseur": fund,
            "valeur": answer.quotient_familial,
            "annee": identity.annee,
            "mois": identity.mois,
            "annee_calcul": computed[0],
            "mois_calcul": computed[1],
        },
        "allocataires": [_person(person) for person in answer.allocataires],
        "enfants": [_person(person) for person in answer.enfants or ()],
        "adresse": _address(answer.adresse),
    }


def participation_familiale_eaje(identity: Identity) -> ProviderData:
    """Return a family with a child under 7, and its resources.

    Raise ``NotEligible`` for a family without such a child; else as ``quotient_familial`` does.
    """
    answer, _ = api_secu.ask("participation_familiale_eaje", identity, _Eaje)
    children = answer.enfants or []
    if not any(_is_young(child.date_naissance) for child in children):
        raise NotEligible
    return {
        "allocataires": [_person(person) | _birthplace(person) for person in answer.allocataires],
        "enfants": [_person(child) | _birthplace(child) for child in children],
        "adresse": _address(answer.adresse),
        "parametres_calcul_participation_familiale": {
            "nombre_enfants_a_charge": answer.nombre_enfant_a_charge,
            "nombre_enfants_beneficiaire_aeeh": answer.nombre_beneficiaire_aeeh,
            "base_ressources_annuelles": {"valeur": answer.montant_ressources, "annee_calcul": answer.annee},
        },
    }


def _person(person: _Person) -> dict[str, Any]:
    return {
        "nom_naissance": person.nom_naissance,
        "nom_usage": person.nom_usage,
        "prenoms": person.liste_prenoms,
        "date_naissance": person.date_naissance,
        "sexe": person.genre,
    }


def _birthplace(person: _Person) -> dict[str, Any]:
    return {"code_cog_insee_commune_naissance": person.cog_naissance}


def _address(address: _Address | None) -> dict[str, Any]:
    lines = address or _Address()
    return {
        "destinataire": lines.identite,
        "complement_information": lines.complement_information,
        "complement_information_geographique": lines.complement_information_geo,
        "numero_libelle_voie": lines.numero_libelle_voie,
        "lieu_dit": lines.lieu_dit,
        "code_postal_ville": lines.code_postal_ville,
        "pays": lines.pays,
    }


def _is_young(birth: str | None) -> bool:
    """Return whether a child may be under 7 today: an unknown day or month counts as the latest possible one."""
    year, month, day = (int(part) for part in (birth or "0000-00-00").split("-"))
    if not year:
        return False
    month = month or 12
    day = day or monthrange(year, month)[1]
    now = today()
    return now.year - year - ((now.month, now.day) < (month, day)) < _TOO_OLD


# ── Rights ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Right(_Read):
    """A right with its state; a code or a state that is not known is none of those looked for."""

    class _State(_Read):
        cd: Annotated[int, BeforeValidator(_number)]

    cd: str
    dt_ouverture_droit: _Start = None
    etat: _State

    @property
    def kind(self) -> str:
        return self.cd[-4:]


class _Css(_Read):
    indicateur: Literal[
        "BENEFICIAIRE_SANS_PARTICIPATION_FINANCIERE",
        "BENEFICIAIRE_AVEC_PARTICIPATION_FINANCIERE",
        "NON_BENEFICIAIRE_CSS",
    ]
    date_indicateur: _Start = None


class _Eligibility(_Read):
    indicateur: Literal["BENEFICIAIRE", "NON_BENEFICIAIRE"]
    date_indicateur: _Start = None


class _Increasable(_Eligibility):
    liste_prestation: list[_Right] | None = None


class _Status(_Read):
    indicateur: Literal["ALLOCATAIRE", "OUVRANT_DROIT", "NON_BENEFICIAIRE"]
    date_indicateur: _Start = None


def complementaire_sante_solidaire(identity: Identity) -> ProviderData:
    """Return whether a person has the C2S, with or without participation; raise as ``quotient_familial`` does."""
    answer, _ = api_secu.ask("complementaire_sante_solidaire", identity, _Css)
    has_right = answer.indicateur != "NON_BENEFICIAIRE_CSS"
    return {
        "est_beneficiaire": has_right,
        "avec_participation": answer.indicateur == "BENEFICIAIRE_AVEC_PARTICIPATION_FINANCIERE",
        "date_debut_droit": answer.date_indicateur if has_right else None,
    }


def eligibility(benefit: str, identity: Identity) -> ProviderData:
    """Return whether a person has a right, and since when; raise as ``quotient_familial`` does."""
    answer, _ = api_secu.ask(benefit, identity, _Eligibility)
    has_right = answer.indicateur == "BENEFICIAIRE"
    return {"est_beneficiaire": has_right, "date_debut_droit": answer.date_indicateur if has_right else None}


def increasable(benefit: str, identity: Identity, *, plain: str, increased: str) -> ProviderData:
    """Return the same, and whether the active right is of the ``increased`` kind; None when there is none."""
    answer, _ = api_secu.ask(benefit, identity, _Increasable)
    has_right = answer.indicateur == "BENEFICIAIRE"
    kind = _latest_active(answer.liste_prestation or (), {plain, increased})
    return {
        "est_beneficiaire": has_right,
        "avec_majoration": kind == increased if has_right and kind else None,
        "date_debut_droit": answer.date_indicateur if has_right else None,
    }


def _latest_active(rights: Sequence[_Right], kinds: set[str]) -> str | None:
    """Return the kind of the active right that was opened last."""
    active = [right for right in rights if right.etat.cd == _ACTIVE and right.kind in kinds]
    latest = max(active, key=lambda right: right.dt_ouverture_droit or "", default=None)
    return latest.kind if latest else None


def status(benefit: str, identity: Identity) -> ProviderData:
    """Return whether a person is paid an allowance or opens the right to it; raise as ``quotient_familial`` does."""
    answer, _ = api_secu.ask(benefit, identity, _Status)
    has_right = answer.indicateur != "NON_BENEFICIAIRE"
    return {"status": answer.indicateur.lower(), "date_debut_droit": answer.date_indicateur if has_right else None}
