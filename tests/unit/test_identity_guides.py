"""The programs of the guides by civil identity compute what their pages show, from the answers that they show."""

import json
import re
from decimal import Decimal
from typing import Any

import pytest

from sandbox.town import identite
from tests.support.template import ROOT


def page(name: str) -> tuple[dict[str, Any], Any]:
    """Return what the program of a page defines, and the answer that the page shows."""
    text = (ROOT / f"docs/identite/{name}.md").read_text()
    program, answer = (re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)[0] for language in ("python", "json"))
    defined: dict[str, Any] = {}
    exec(program, defined)  # noqa: S102 - a page of this project
    return defined, json.loads(answer)


def test_the_price_of_a_meal_is_that_of_the_quotient() -> None:
    program, answer = page("cantine")
    assert program["prix_du_repas"](answer) == "2.40 €"
    answer["data"]["quotient_familial"]["valeur"] = None
    assert program["prix_du_repas"](answer).startswith("à instruire")


@pytest.mark.parametrize(
    ("resources", "children", "handicapped", "price"),
    [(31200, 2, 0, "1.34"), (31200, 2, 1, "1.07"), (0, 1, 0, "0.50"), (999_999, 9, 0, "1.75")],
)
def test_the_hourly_price_of_a_nursery_follows_the_national_rate(
    resources: int, children: int, handicapped: int, price: str
) -> None:
    program, answer = page("creche")
    assert str(program["tarif_horaire"](answer)) == "1.34"
    answer["data"]["parametres_calcul_participation_familiale"] = {
        "nombre_enfants_a_charge": children,
        "nombre_enfants_beneficiaire_aeeh": handicapped,
        "base_ressources_annuelles": {"valeur": resources, "annee_calcul": 2024},
    }
    assert program["tarif_horaire"](answer) == Decimal(price)
    shown = identite.participation(answer["data"]["parametres_calcul_participation_familiale"])
    assert f"{shown.prix:.2f}" == price  # the fictional town's portal computes as the guide


TYPED = {
    "nomNaissance": "  Le  Breton-Ève ",
    "prenoms": "Anne-Lise Marie",
    "dateNaissance": "9/4/1987",
    "sexe": "F",
    "paysNaissance": "99100",
    "communeNaissance": "Brest",
    "departementNaissance": "2a",
}


def test_the_portal_asks_for_what_was_typed() -> None:
    typed = identite.typed(TYPED)
    assert identite.messages(typed) == {}
    assert identite.query(typed, "21000015400018") == {
        "recipient": "21000015400018",
        "nomNaissance": "Le Breton-Ève",
        "prenoms[]": ["Anne-Lise", "Marie"],
        "anneeDateNaissance": "1987",
        "moisDateNaissance": "4",
        "jourDateNaissance": "9",
        "sexeEtatCivil": "F",
        "codeCogInseePaysNaissance": "99100",
        "nomCommuneNaissance": "Brest",
        "codeCogInseeDepartementNaissance": "2A",
    }


def test_the_portal_names_each_wrong_field() -> None:
    nothing = identite.typed({})
    assert identite.messages(nothing).keys() == {"nomNaissance", "prenoms", "dateNaissance", "sexe", "paysNaissance"}
    abroad = identite.typed({**TYPED, "paysNaissance": "99139", "communeNaissance": "", "departementNaissance": ""})
    assert identite.messages(abroad) == {}
    assert "codeCogInseeDepartementNaissance" not in identite.query(abroad, "21000015400018")
    wrong = identite.typed({**TYPED, "nomNaissance": "R2D2", "dateNaissance": "1987-04-09", "communeNaissance": ""})
    assert identite.messages(wrong).keys() == {"nomNaissance", "dateNaissance", "communeNaissance"}
