"""Random people, rights and scopes, on a server that is not the simulator: every field is that of the contract (§4)."""

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.simulators.api_secu import FUNDS
from tests.support.api_secu import ADDRESS, SCOPES, Gate, call
from tests.support.cloud import Cloud

ROUNDS = 12
EAJE = "cnav_participation_familiale_eaje"
NAMES = ("KERVELLA", "D'ALÈS", "ÖZ", "LE GUEN-MARC'H", "N'DIAYE", "SAINT-ÉLOI")
FIRST = ("Nolwenn", "ÉLODIE ANNE", "Jean-Marc", "ŒNONE", "Aïcha")
KNOWN = {"nom_naissance": "nomNaissance", "nom_usage": "nomUsage", "prenoms": "listePrenoms"}
KNOWN |= {"date_naissance": "dateNaissance", "sexe": "genre"}


def born(draw: random.Random, year: int) -> str:
    return draw.choice((f"{year}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}", f"{year}-07-00", f"{year}-00-00"))


def sent_of(draw: random.Random, values: dict[str, str | None], names: dict[str, str]) -> dict[str, Any]:
    """Return values under the gate's names, in any order; an unknown one is left out, null, or blank."""
    items: list[tuple[str, str | None]] = []
    for name, value in values.items():
        if value is not None or draw.random() < 0.7:
            items.append((names[name], value if value is not None else draw.choice((None, "", "  "))))
    draw.shuffle(items)
    return dict(items)


def person(draw: random.Random, year: int, *, with_birthplace: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a random person, as the gate sends it and as the API returns it."""
    values: dict[str, str | None] = {
        "nom_naissance": draw.choice(NAMES),
        "nom_usage": draw.choice((None, draw.choice(NAMES))),
        "prenoms": draw.choice((None, draw.choice(FIRST))),
        "date_naissance": born(draw, year),
        "sexe": draw.choice(("F", "M", None)),
    }
    if with_birthplace:
        values["code_cog_insee_commune_naissance"] = draw.choice((None, "2A004", "29019"))
    names = KNOWN | {"code_cog_insee_commune_naissance": "cogNaissance"}
    return sent_of(draw, values, names) | {"inconnu": draw.random()}, values


type Case = tuple[dict[str, Any], dict[str, dict[str, Any]]]
"""What the gate sends, and what each scope opens of it."""


def family(draw: random.Random, *, with_birthplace: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    this_year = datetime.now(UTC).year
    parents = [
        person(draw, draw.randint(1950, 2005), with_birthplace=with_birthplace) for _ in range(draw.randint(1, 2))
    ]
    ages = [draw.randint(0, 17) for _ in range(draw.randint(0, 3))] + ([2] if with_birthplace else [])
    children = [person(draw, this_year - age, with_birthplace=with_birthplace) for age in ages]
    address = {name: draw.choice((None, f"ligne {draw.randint(1, 99)}")) for name in ADDRESS}
    sent = {
        "allocataires": [each for each, _ in parents],
        "enfants": [each for each, _ in children] or None,
        "adresse": sent_of(draw, address, ADDRESS),
    }
    read = {
        "allocataires": [each for _, each in parents],
        "enfants": [each for _, each in children],
        "adresse": address,
    }
    return sent, read


def quotient(draw: random.Random) -> Case:
    sent, read = family(draw, with_birthplace=False)
    now = datetime.now(UTC)
    value, computed = draw.choice((None, draw.randint(0, 4000))), draw.choice(((2026, 10), (2025, 1), (None, None)))
    sent |= {"quotientFamilial": value, "annee": computed[0], "mois": computed[1]}
    period = {"annee": now.year, "mois": now.month, "annee_calcul": computed[0], "mois_calcul": computed[1]}
    found = {"fournisseur": "CNAF", "valeur": value} | period
    return sent, {
        "cnaf_quotient_familial": {"quotient_familial": found},
        **{f"cnaf_{part}": {part: read[part]} for part in read},
    }


def nursery(draw: random.Random) -> Case:
    sent, read = family(draw, with_birthplace=True)
    children, aeeh, income, year = (draw.randint(low, high) for low, high in ((1, 9), (0, 3), (0, 99999), (2020, 2025)))
    sent |= {"nombreEnfantACharge": children, "nombreBeneficiaireAEH": aeeh, "montantRessources": income}
    sent |= {"annee": draw.choice((year, str(year)))}
    found = {
        "nombre_enfants_a_charge": children,
        "nombre_enfants_beneficiaire_aeeh": aeeh,
        "base_ressources_annuelles": {"valeur": income, "annee_calcul": year},
    }
    return sent, {
        f"{EAJE}_parametres_calcul": {"parametres_calcul_participation_familiale": found},
        **{f"{EAJE}_{part}": {part: read[part]} for part in read},
    }


def health(draw: random.Random) -> Case:
    indicator, right, share = draw.choice(
        (
            ("BENEFICIAIRE_SANS_PARTICIPATION_FINANCIERE", True, False),
            ("BENEFICIAIRE_AVEC_PARTICIPATION_FINANCIERE", True, True),
            ("NON_BENEFICIAIRE_CSS", False, False),
        )
    )
    begun = draw.choice((None, "2024-02-29", "2027-01-01"))
    sent = {"indicateur": indicator, "dateIndicateur": begun}
    found = {"est_beneficiaire": right, "avec_participation": share, "date_debut_droit": begun if right else None}
    return sent, {"complementaire_sante_solidaire": found}


def increased(benefit: str, plain: str, more: str) -> Callable[[random.Random], Case]:
    def make(draw: random.Random) -> Case:
        right, begun = draw.random() < 0.8, draw.choice((None, "2025-03-01"))
        rights = []
        for day in draw.sample(range(1, 28), draw.randint(0, 3)):
            code = draw.choice((plain, more))
            state = draw.choice((10, 10, 20, "10"))
            rights.append(
                {"cd": draw.choice("FM") + f"A{code}", "etat": {"cd": state}, "dtOuvertureDroit": f"2025-01-{day:02}"}
            )
        active = [each for each in rights if str(each["etat"]["cd"]) == "10"]  # type: ignore[index]  # a dictionary
        last = max(active, key=lambda each: str(each["dtOuvertureDroit"]), default=None)
        more_of_it = None if last is None or not right else str(last["cd"]).endswith(more)
        sent = {"indicateur": "BENEFICIAIRE" if right else "NON_BENEFICIAIRE", "dateIndicateur": begun}
        return sent | {"listePrestation": rights}, {
            benefit: {"est_beneficiaire": right, "date_debut_droit": begun if right else None},
            f"{benefit}_majoration": {"avec_majoration": more_of_it},
        }

    return make


def plain_right(scope: str) -> Callable[[random.Random], Case]:
    def make(draw: random.Random) -> Case:
        right, begun = draw.random() < 0.5, draw.choice((None, "2023-12-01"))
        sent = {"indicateur": "BENEFICIAIRE" if right else "NON_BENEFICIAIRE", "dateIndicateur": begun}
        return sent, {scope: {"est_beneficiaire": right, "date_debut_droit": begun if right else None}}

    return make


def status(scope: str) -> Callable[[random.Random], Case]:
    def make(draw: random.Random) -> Case:
        indicator, begun = draw.choice(("ALLOCATAIRE", "OUVRANT_DROIT", "NON_BENEFICIAIRE")), "2026-08-18"
        found = {"status": indicator.lower(), "date_debut_droit": None if indicator.startswith("NON") else begun}
        return {"indicateur": indicator, "dateIndicateur": begun}, {scope: found}

    return make


MAKE: dict[str, Callable[[random.Random], Case]] = {
    "quotient_familial": quotient,
    "participation_familiale_eaje": nursery,
    "complementaire_sante_solidaire": health,
    "revenu_solidarite_active": increased("revenu_solidarite_active", "3101", "3102"),
    "prime_activite": increased("prime_activite", "3105", "3106"),
    "allocation_adulte_handicape": plain_right("allocation_adulte_handicape"),
    "allocation_soutien_familial": plain_right("allocation_soutien_familial"),
    "allocation_enfant_handicape": status("cnav_allocation_enfant_handicape"),
    "allocation_rentree_scolaire": status("cnav_allocation_rentree_scolaire"),
}


@pytest.mark.parametrize("benefit", MAKE)
def test_every_field_of_random_people_is_exact_for_random_scopes(cloud: Cloud, gate: Gate, benefit: str) -> None:
    seed = random.randrange(2**32)  # noqa: S311 - fictional people
    draw = random.Random(seed)  # noqa: S311 - the same
    gate.headers = {"X-APISECU-FD": FUNDS["CNAF"]}
    for _ in range(ROUNDS):
        gate.body, opened = MAKE[benefit](draw)
        scopes = draw.sample(SCOPES[benefit], draw.randint(1, len(SCOPES[benefit])))
        expected: dict[str, Any] = {}
        for scope in scopes:
            expected |= opened[scope]
        response = call(benefit, cloud.issue_key(*scopes), nomNaissance=draw.choice(NAMES))
        assert response.body == {"data": expected, "links": {}, "meta": {}}, f"seed {seed}"
