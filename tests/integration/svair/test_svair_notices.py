"""Read each row of a notice (contract §3.1, §3.2)."""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from sandbox.simulators.svair import Declarant
from tests.support.function import call_api
from tests.support.svair import (
    ABSENT,
    COUPLE,
    EMPTY_DECLARANT,
    NARROW_NBSP,
    NBSP,
    NOTICE,
    NUMBERS,
    SimulatedSvair,
    notice_with,
    to_json,
    v1,
    v2,
)

type Change = dict[str, Any]


def both(**changes: Any) -> tuple[Change, Change]:
    return changes, changes


def blank(name: str) -> tuple[Change, Change]:
    """Return the changes of v1 and of v2 for a row with an empty cell."""
    return {name: ABSENT}, {name: None}


SINGLE = {"declarant2": Declarant()}
NOTICES: Final[Mapping[str, tuple[Change, tuple[Change, Change]]]] = {
    "a couple": ({}, both()),
    "a single declarant": (SINGLE, both(declarant2=EMPTY_DECLARANT)),
    "a second declarant with an empty cell": (
        {"declarant2": Declarant(nom="SITTELLE", nom_naissance="", prenoms="Ève", date_naissance="")},
        (
            {"declarant2": {"nom": "SITTELLE", "prenoms": "Ève"}},
            {"declarant2": {"nom": "SITTELLE", "nomNaissance": None, "prenoms": "Ève", "dateNaissance": None}},
        ),
    ),
    "no row of births": (
        {"declarant1": Declarant(nom="BRUANT", nom_naissance="BRUANT", prenoms="Cyprien"), **SINGLE},
        both(declarant1={"nom": "BRUANT", "nomNaissance": "BRUANT", "prenoms": "Cyprien"}, declarant2=EMPTY_DECLARANT),
    ),
    "no date of recovery": ({"date_recouvrement": ""}, blank("dateRecouvrement")),
    "no date of establishment": ({"date_etablissement": ""}, blank("dateEtablissement")),
    "an empty number of parts": ({"nombre_parts": ""}, blank("nombreParts")),
    "an empty situation": ({"situation_famille": ""}, blank("situationFamille")),
    "an empty number of dependants": ({"nombre_personnes_charge": ""}, blank("nombrePersonnesCharge")),
    "an empty amount": ({"revenu_fiscal_reference": ""}, blank("revenuFiscalReference")),
    "an amount of no-break space": ({"revenu_fiscal_reference": f" {NBSP} "}, blank("revenuFiscalReference")),
    "no row of recovery": ({"date_recouvrement": None}, both(dateRecouvrement=ABSENT)),
    "no row of parts": ({"nombre_parts": None}, both(nombreParts=ABSENT)),
    "no row of situation": ({"situation_famille": None}, both(situationFamille=ABSENT)),
    "no row of dependants": ({"nombre_personnes_charge": None}, both(nombrePersonnesCharge=ABSENT)),
    "no row of an amount": ({"montant_impot": None}, both(montantImpot=ABSENT)),
    "no row of the address": ({"adresse": None}, both(foyerFiscal=ABSENT)),
    "whole parts": ({"nombre_parts": "3.00"}, both(nombreParts=3)),
    "quarter parts": ({"nombre_parts": "1.25"}, both(nombreParts=1.25)),
    "parts with a comma": ({"nombre_parts": "2,5"}, both(nombreParts=2.5)),
    "a child in alternating custody": ({"nombre_personnes_charge": "0.50"}, both(nombrePersonnesCharge=0)),
    "not taxable": ({"montant_impot": "Non imposable"}, both(montantImpot=None)),
    "not taxable, otherwise spaced": ({"montant_impot": f"NON{NBSP}imposable"}, both(montantImpot=None)),
    "not filled in": ({"revenu_fiscal_reference": "Non renseigné"}, both(revenuFiscalReference=0)),
    "zero": ({"montant_impot": "0 €"}, both(montantImpot=0)),
    "a credit": ({"montant_impot": f"-{NBSP}1{NBSP}350 €"}, both(montantImpot=-1350)),
    "a typographic minus": ({"montant_impot": "\N{MINUS SIGN}12 €"}, both(montantImpot=-12)),
    "ordinary spaces": ({"revenu_imposable": "1 045 300 €"}, both(revenuImposable=1045300)),
    "narrow spaces": ({"revenu_imposable": f"1{NARROW_NBSP}045{NARROW_NBSP}300{NBSP}€"}, both(revenuImposable=1045300)),
    "no space": ({"revenu_imposable": "1045300€"}, both(revenuImposable=1045300)),
    "an empty address": ({"adresse": ()}, both(foyerFiscal={"annee": 2026, "adresse": ""})),
    "an address of empty lines": ({"adresse": ("", " ", "")}, both(foyerFiscal={"annee": 2026, "adresse": ""})),
    "an address of one line": ({"adresse": ("A",)}, both(foyerFiscal={"annee": 2026, "adresse": "A"})),
    "an address of four lines": (
        {"adresse": ("A", "BAT <B>", "", "D & E")},
        both(foyerFiscal={"annee": 2026, "adresse": "A BAT <B> D & E"}),
    ),
    "an address of labels": (
        {"adresse": ("Nom", "Montant de l'impôt")},
        both(foyerFiscal={"annee": 2026, "adresse": "Nom Montant de l'impôt"}),
    ),
    "an address of another year": ({"annee": 2024}, both(foyerFiscal=NOTICE["foyerFiscal"] | {"annee": 2024})),
    "years that do not follow": ({"annee_revenus": 2023}, both(anneeRevenus="2023")),
    "a corrective": (
        {"erreur_correctif": "\r\n\tUn avis  plus\n\trécent "},
        both(erreurCorrectif="Un avis  plusrécent"),
    ),
    "a partial situation": (
        {"situation_partielle": "(*) Situation  2025  partielle"},
        both(situationPartielle="(*) Situation  2025  partielle"),
    ),
    "both remarks": (
        {"situation_partielle": "S", "erreur_correctif": "E"},
        both(erreurCorrectif="E", situationPartielle="S"),
    ),
    "blank remarks": ({"situation_partielle": f"\n{NBSP} ", "erreur_correctif": " \t"}, both()),
}


@pytest.mark.parametrize(("changes", "expected"), NOTICES.values(), ids=NOTICES)
def test_each_row_of_a_notice_is_read(
    changes: Change, expected: tuple[Change, Change], service: SimulatedSvair, key: str
) -> None:
    service.serve_people(COUPLE.model_copy(update=changes))
    first, second = v1(key), v2(key)
    assert (first.status, first.text) == (200, to_json(notice_with(expected[0])))
    assert (second.status, second.text) == (200, to_json(notice_with(expected[1])))


def test_the_other_datasets_read_the_same_notice(service: SimulatedSvair, key: str) -> None:
    assert service.url
    assert call_api("revenu_fiscal_reference/v2", key=key, headers=None, **NUMBERS).text == to_json(
        {"revenuFiscalReference": 37961, "nombreParts": 2.5, "anneeImpots": "2026", "anneeRevenus": "2025"}
    )
    assert call_api("declarants/v2", key=key, headers=None, **NUMBERS).text == to_json(
        {"declarant1": NOTICE["declarant1"], "declarant2": NOTICE["declarant2"]}
    )


@pytest.mark.parametrize(
    "value", ["abc", "12 € environ", "1 000 € 2 000 €", "--1 €", "1,50 €", "9" * 13, "€", "Non", "1e3 €"]
)
def test_a_malformed_amount_is_an_invalid_response(value: str, service: SimulatedSvair, key: str) -> None:
    service.serve_people(COUPLE.model_copy(update={"revenu_fiscal_reference": value}))
    answer = v2(key)
    assert (answer.status, answer.body["error"]) == (502, "invalid_response")
    assert value not in answer.text


@pytest.mark.parametrize("value", ["deux", "-1", "1.2.3", "1 / 2", "1234", "2.50001"])
def test_a_malformed_number_of_parts_is_an_invalid_response(value: str, service: SimulatedSvair, key: str) -> None:
    service.serve_people(COUPLE.model_copy(update={"nombre_parts": value}))
    assert v2(key).body["error"] == "invalid_response"
