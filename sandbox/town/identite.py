"""The portal's procedures by civil identity: what is typed, what is asked for, and the hourly price of a nursery."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from sandbox.simulators.api_secu import Personne

FRANCE: Final = "99100"
COUNTRIES: Final = {
    FRANCE: "France",
    "99352": "Algérie",
    "99109": "Allemagne",
    "99131": "Belgique",
    "99134": "Espagne",
    "99127": "Italie",
    "99350": "Maroc",
    "99338": "Nigéria",
    "99139": "Portugal",
    "99351": "Tunisie",
}
"""The countries of birth that the form offers, by their INSEE codes."""
FIELDS: Final = (
    *("nomNaissance", "prenoms", "dateNaissance", "sexe", "paysNaissance"),
    *("communeNaissance", "departementNaissance"),
)
_NAME: Final = r"[^\W\d_]+(?:['’ -]+[^\W\d_]+)*['’]?"
_RULES: Final = {
    "nomNaissance": (_NAME, "Le nom de naissance a des lettres, des espaces, des traits d’union et des apostrophes."),
    "prenoms": (_NAME, "Les prénoms ont des lettres, des espaces, des traits d’union et des apostrophes."),
    "dateNaissance": (r"\d{1,2}/\d{1,2}/\d{4}", "La date de naissance s’écrit comme 09/04/1987."),
    "sexe": (r"[FM]", "Choisissez ce qui est écrit sur l’acte de naissance."),
    "paysNaissance": ("|".join(COUNTRIES), "Choisissez un pays de la liste."),
}
_BORN_IN_FRANCE: Final = {
    "communeNaissance": (r".*\w.*", "Donnez la commune de naissance."),
    "departementNaissance": (r"\d{2,3}|2[ABab]", "Le département a deux ou trois chiffres, ou 2A, ou 2B."),
}


def typed(form: Mapping[str, str]) -> dict[str, str]:
    """Return what was typed, field by field, without spaces around."""
    return {name: " ".join(form.get(name, "").split()) for name in FIELDS}


def messages(values: Mapping[str, str]) -> dict[str, str]:
    """Return the message of each wrong field."""
    rules = _RULES | (_BORN_IN_FRANCE if values["paysNaissance"] == FRANCE else {})
    return {name: text for name, (pattern, text) in rules.items() if not re.fullmatch(pattern, values[name])}


def query(values: Mapping[str, str], recipient: str) -> dict[str, str | list[str]]:
    """Return the parameters of the API."""
    day, month, year = values["dateNaissance"].split("/")
    asked: dict[str, str | list[str]] = {
        "recipient": recipient,
        "nomNaissance": values["nomNaissance"],
        "prenoms[]": values["prenoms"].split(),
        "anneeDateNaissance": year,
        "moisDateNaissance": month,
        "jourDateNaissance": day,
        "sexeEtatCivil": values["sexe"],
        "codeCogInseePaysNaissance": values["paysNaissance"],
    }
    if values["paysNaissance"] == FRANCE:
        asked["nomCommuneNaissance"] = values["communeNaissance"]
        asked["codeCogInseeDepartementNaissance"] = values["departementNaissance"].upper()
    return asked


def identity_of(person: Personne) -> dict[str, Any]:
    """Return the parameters that ask about a fictional person with all that is known of it, without the recipient."""
    year, month, day = person.date_naissance.split("-")
    known = {
        "nomNaissance": person.nom_naissance,
        "prenoms[]": person.prenoms.split(),
        "anneeDateNaissance": year,
        "moisDateNaissance": month,
        "jourDateNaissance": day,
        "sexeEtatCivil": person.sexe,
        "codeCogInseeCommuneNaissance": person.commune,
        "codeCogInseePaysNaissance": person.pays,
    }
    return {name: value for name, value in known.items() if value and value != "00"}


def explain(status: int, code: str) -> str | None:
    """Return the message for a parent of an error of the API; None when it is one of any route."""
    if code.endswith("560"):
        return "Aucune personne connue n’a cette identité. Vérifiez le nom de naissance, la date et le lieu."
    if code == "37003":
        return "Aucun enfant de la famille n’a moins de 7 ans : ce tarif ne la concerne pas."
    if status == 404:  # noqa: PLR2004 - HTTP
        return "Aucune caisse n’a de dossier à ce nom. Apportez un justificatif à la mairie."
    if status == 422:  # noqa: PLR2004 - HTTP
        return "Cette identité est refusée. Vérifiez la date de naissance et chaque nom, puis réessayez."
    return None


# ── The nursery ──────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Participation:
    """The hourly price of a nursery, step by step (national rate of effort, collective care)."""

    annuelles: Decimal
    annee: int
    mensuelles: Decimal
    retenues: Decimal
    """Within the floor and the ceiling of the year."""
    enfants: int
    aeeh: int
    taux: Decimal
    """Per cent."""

    @property
    def prix(self) -> float:
        return float((self.retenues * self.taux / 100).quantize(Decimal("0.01"), ROUND_HALF_UP))


PLANCHER, PLAFOND = Decimal("801.00"), Decimal("8500.00")
"""Of monthly resources; the CNAF sets them each year."""
_TAUX: Final = ((1, "0.0619"), (2, "0.0516"), (3, "0.0413"), (7, "0.0310"))
_BEYOND: Final = "0.0206"


def participation(parametres: Mapping[str, Any]) -> Participation:
    """Compute the price from ``parametres_calcul_participation_familiale``: an AEEH counts as one more child."""
    resources = parametres["base_ressources_annuelles"]
    annuelles = Decimal(resources["valeur"])
    children, handicapped = parametres["nombre_enfants_a_charge"], parametres["nombre_enfants_beneficiaire_aeeh"]
    return Participation(
        annuelles=annuelles,
        annee=resources["annee_calcul"],
        mensuelles=annuelles / 12,
        retenues=min(max(annuelles / 12, PLANCHER), PLAFOND),
        enfants=children,
        aeeh=handicapped,
        taux=Decimal(next((rate for limit, rate in _TAUX if children + handicapped <= limit), _BEYOND)),
    )
