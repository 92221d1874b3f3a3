"""Each field of each benefit, for every set of scopes, from what API-SECU sends."""

from itertools import chain, combinations
from typing import Any

import pytest
import time_machine

from sandbox.simulators.api_secu import FUNDS
from tests.support.api_secu import SCOPES, Gate, call
from tests.support.cloud import Cloud

pytestmark = pytest.mark.slow

NOW = "2026-11-27T09:00:00Z"


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


PERSON = {
    "nomNaissance": "QUÉRÉ",
    "nomUsage": "  ",
    "listePrenoms": "SOIZIC MARIE",
    "dateNaissance": "1990-07-00",
    "genre": "F",
}
CHILD = {"nomNaissance": "QUÉRÉ", "listePrenoms": "TITOUAN", "dateNaissance": "2021-02-03", "genre": "M"}
LINES = {"identite": "MME QUÉRÉ", "lieuDit": "", "codePostalVille": "29200 BREST", "pays": None}
SENT: dict[str, dict[str, Any]] = {
    "quotient_familial": {
        "allocataires": [PERSON],
        "enfants": [CHILD, {}],
        "adresse": LINES,
        "quotientFamilial": 0,
        "annee": 2026,
        "mois": 10,
    },
    "participation_familiale_eaje": {
        "allocataires": [PERSON | {"cogNaissance": "29019"}],
        "enfants": [CHILD | {"cogNaissance": " "}],
        "nombreEnfantACharge": 1,
        "nombreBeneficiaireAEH": 0,
        "montantRessources": 28412,
        "annee": "2024",
    },
    "complementaire_sante_solidaire": {
        "indicateur": "BENEFICIAIRE_AVEC_PARTICIPATION_FINANCIERE",
        "dateIndicateur": "2027-01-01",
    },
    "revenu_solidarite_active": {
        "indicateur": "BENEFICIAIRE",
        "dateIndicateur": "2026-01-01",
        "listePrestation": [{"cd": "FA3102", "etat": {"cd": 10}}],
    },
    "prime_activite": {"indicateur": "BENEFICIAIRE", "listePrestation": [{"cd": "MA3105", "etat": {"cd": "10"}}]},
    "allocation_adulte_handicape": {"indicateur": "BENEFICIAIRE", "dateIndicateur": "2024-04-01", "listePrestation": 3},
    "allocation_soutien_familial": {"indicateur": "NON_BENEFICIAIRE", "dateIndicateur": "2024-04-01"},
    "allocation_enfant_handicape": {"indicateur": "OUVRANT_DROIT", "dateIndicateur": "2024-04-01"},
    "allocation_rentree_scolaire": {"indicateur": "ALLOCATAIRE"},
}
NOBODY = {"nom_naissance": None, "nom_usage": None, "prenoms": None, "date_naissance": None, "sexe": None}
MOTHER = {
    "nom_naissance": "QUÉRÉ",
    "nom_usage": None,
    "prenoms": "SOIZIC MARIE",
    "date_naissance": "1990-07-00",
    "sexe": "F",
}
SON = {
    "nom_naissance": "QUÉRÉ",
    "nom_usage": None,
    "prenoms": "TITOUAN",
    "date_naissance": "2021-02-03",
    "sexe": "M",
}
NOWHERE = dict.fromkeys(
    (
        *("destinataire", "complement_information", "complement_information_geographique"),
        *("numero_libelle_voie", "lieu_dit", "code_postal_ville", "pays"),
    )
)
ADDRESS = NOWHERE | {"destinataire": "MME QUÉRÉ", "code_postal_ville": "29200 BREST"}
EAJE = "cnav_participation_familiale_eaje"
FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "quotient_familial": {
        "cnaf_quotient_familial": {
            "quotient_familial": {
                "fournisseur": "CNAF",
                "valeur": 0,
                "annee": 2026,
                "mois": 11,
                "annee_calcul": 2026,
                "mois_calcul": 10,
            }
        },
        "cnaf_allocataires": {"allocataires": [MOTHER]},
        "cnaf_enfants": {"enfants": [SON, NOBODY]},
        "cnaf_adresse": {"adresse": ADDRESS},
    },
    "participation_familiale_eaje": {
        f"{EAJE}_allocataires": {"allocataires": [MOTHER | {"code_cog_insee_commune_naissance": "29019"}]},
        f"{EAJE}_enfants": {"enfants": [SON | {"code_cog_insee_commune_naissance": None}]},
        f"{EAJE}_adresse": {"adresse": NOWHERE},
        f"{EAJE}_parametres_calcul": {
            "parametres_calcul_participation_familiale": {
                "nombre_enfants_a_charge": 1,
                "nombre_enfants_beneficiaire_aeeh": 0,
                "base_ressources_annuelles": {"valeur": 28412, "annee_calcul": 2024},
            }
        },
    },
    "complementaire_sante_solidaire": {
        "complementaire_sante_solidaire": {
            "est_beneficiaire": True,
            "avec_participation": True,
            "date_debut_droit": "2027-01-01",
        }
    },
    "revenu_solidarite_active": {
        "revenu_solidarite_active": {"est_beneficiaire": True, "date_debut_droit": "2026-01-01"},
        "revenu_solidarite_active_majoration": {"avec_majoration": True},
    },
    "prime_activite": {
        "prime_activite": {"est_beneficiaire": True, "date_debut_droit": None},
        "prime_activite_majoration": {"avec_majoration": False},
    },
    "allocation_adulte_handicape": {
        "allocation_adulte_handicape": {"est_beneficiaire": True, "date_debut_droit": "2024-04-01"}
    },
    "allocation_soutien_familial": {
        "allocation_soutien_familial": {"est_beneficiaire": False, "date_debut_droit": None}
    },
    "allocation_enfant_handicape": {
        "cnav_allocation_enfant_handicape": {"status": "ouvrant_droit", "date_debut_droit": "2024-04-01"}
    },
    "allocation_rentree_scolaire": {
        "cnav_allocation_rentree_scolaire": {"status": "allocataire", "date_debut_droit": None}
    },
}
SUBSETS = [
    (benefit, subset)
    for benefit, scopes in SCOPES.items()
    for subset in chain.from_iterable(combinations(scopes, size) for size in range(1, len(scopes) + 1))
]


@pytest.mark.parametrize(("benefit", "scopes"), SUBSETS, ids=lambda value: "+".join(value) if len(value) < 9 else value)
def test_scopes_open_their_fields_and_no_other(cloud: Cloud, gate: Gate, benefit: str, scopes: tuple[str, ...]) -> None:
    gate.body = SENT[benefit]
    response = call(benefit, cloud.issue_key(*scopes, "dgfip_nombre_parts"))
    opened: dict[str, Any] = {}
    for scope in scopes:
        opened |= FIELDS[benefit][scope]
    assert response.body == {"data": opened, "links": {}, "meta": {}}
    (record,) = cloud.audit_records()
    withheld = {field for scope, fields in FIELDS[benefit].items() if scope not in scopes for field in fields}
    assert (sorted(record["released"]), set(record["withheld"])) == (sorted(opened), withheld)


def test_the_headers_of_an_answer_say_that_nothing_is_kept(key: str, gate: Gate) -> None:
    assert gate.url
    headers = call("prime_activite", key).headers
    assert headers["Content-Type"] == "application/vnd.api+json"
    assert (headers["X-Response-Cached"], headers["X-Cache-Expires-in"]) == ("false", "")
    assert headers["Cache-Control"] == "no-store"


def test_the_limit_is_20_a_second_and_what_is_left_goes_down(cloud: Cloud, gate: Gate) -> None:
    assert gate.url
    key, other = cloud.issue_key("prime_activite"), cloud.issue_key("prime_activite")
    with time_machine.travel(NOW, tick=False) as clock:
        seen = [call("prime_activite", each).headers for each in (key, key, other)]
        clock.shift(1)
        seen.append(call("prime_activite", key, nomNaissance=None).headers)
    assert [headers["RateLimit-Remaining"] for headers in seen] == ["19", "18", "19", "19"]
    assert {headers["RateLimit-Limit"] for headers in seen} == {"20"}
    assert int(seen[3]["RateLimit-Reset"]) == int(seen[0]["RateLimit-Reset"]) + 1


# ── Quotients ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_quotient_of_the_msa_is_computed_this_month(key: str, gate: Gate) -> None:
    gate.body, gate.headers = SENT["quotient_familial"], {"X-APISECU-FD": FUNDS["MSA"]}
    quotient = call("quotient_familial", key, annee="2026", mois="3").body["data"]["quotient_familial"]
    assert (quotient["fournisseur"], quotient["annee_calcul"], quotient["mois_calcul"]) == ("MSA", 2026, 11)
    assert (quotient["annee"], quotient["mois"]) == (2026, 3)


@pytest.mark.parametrize("blank", [None, "", " "])
def test_a_quotient_that_a_fund_does_not_know_is_null(key: str, gate: Gate, blank: str | None) -> None:
    gate.body = {"allocataires": [PERSON], "quotientFamilial": blank, "annee": blank, "mois": blank}
    quotient = call("quotient_familial", key).body["data"]["quotient_familial"]
    assert (quotient["valeur"], quotient["annee_calcul"], quotient["mois_calcul"]) == (None, None, None)


def test_a_family_without_children_or_address_is_a_list_and_seven_nulls(key: str, gate: Gate) -> None:
    gate.body = {"allocataires": [PERSON]}
    data = call("quotient_familial", key).body["data"]
    assert (data["enfants"], data["adresse"]) == ([], NOWHERE)


# ── Nurseries ────────────────────────────────────────────────────────────────────────────────────────────────────────

AGES = {
    "2019-11-28": True,
    "2019-11-27": False,
    "2019-12-00": True,
    "2019-11-00": True,
    "2019-10-00": False,
    "2019-00-00": True,
    "2018-00-00": False,
    "0000-00-00": False,
    "": False,
    None: False,
}


@pytest.mark.parametrize("born", AGES)
def test_a_family_is_served_when_a_child_may_be_under_7_today(key: str, gate: Gate, born: str | None) -> None:
    older = CHILD | {"dateNaissance": "2010-05-14"}
    sent = SENT["participation_familiale_eaje"]
    gate.body = sent | {"enfants": [older, CHILD | {"dateNaissance": born}]}
    response = call("participation_familiale_eaje", key)
    if AGES[born]:
        assert [child["date_naissance"] for child in response.body["data"]["enfants"]] == ["2010-05-14", born]
    else:
        assert (response.status, response.body["errors"][0]["code"]) == (404, "37003")
        assert response.body["errors"][0]["meta"] == {"provider": "CNAV"}


def test_a_family_without_children_is_37003(key: str, gate: Gate) -> None:
    gate.body = SENT["participation_familiale_eaje"] | {"enfants": None}
    assert call("participation_familiale_eaje", key).body["errors"][0]["code"] == "37003"


# ── Rights ───────────────────────────────────────────────────────────────────────────────────────────────────────────

HEALTH = {
    "BENEFICIAIRE_SANS_PARTICIPATION_FINANCIERE": (True, False, "2024-04-01"),
    "BENEFICIAIRE_AVEC_PARTICIPATION_FINANCIERE": (True, True, "2024-04-01"),
    "NON_BENEFICIAIRE_CSS": (False, False, None),
}


@pytest.mark.parametrize("indicator", HEALTH)
def test_a_c2s_is_with_or_without_participation(key: str, gate: Gate, indicator: str) -> None:
    gate.body = {"indicateur": indicator, "dateIndicateur": "2024-04-01"}
    data = call("complementaire_sante_solidaire", key).body["data"]
    assert (data["est_beneficiaire"], data["avec_participation"], data["date_debut_droit"]) == HEALTH[indicator]


def right(code: str, opened: str | None = None, state: int = 10) -> dict[str, Any]:
    return {"cd": code, "libelle": "droit", "dtOuvertureDroit": opened, "etat": {"cd": state, "libelle": "état"}}


RIGHTS: dict[str, tuple[Any, bool | None]] = {
    "increased": ([right("FA3102")], True),
    "plain": ([right("FA3101")], False),
    "of the MSA": ([right("MA3102")], True),
    "closed": ([right("FA3102", state=20)], None),
    "one closed and one active": ([right("FA3102", "2025-01-01", 20), right("FA3101", "2024-01-01")], False),
    "the one opened last": ([right("FA3102", "2025-01-01"), right("FA3101", "2024-01-01")], True),
    "the one opened last, in another order": ([right("FA3102", "2023-01-01"), right("FA3101", "2024-01-01")], False),
    "of another kind": ([right("FA9999")], None),
    "none": ([], None),
    "no list": (None, None),
}


@pytest.mark.parametrize("case", RIGHTS)
def test_an_increase_is_that_of_the_active_right_opened_last(key: str, gate: Gate, case: str) -> None:
    rights, increased = RIGHTS[case]
    gate.body = {"indicateur": "BENEFICIAIRE", "listePrestation": rights}
    data = call("revenu_solidarite_active", key).body["data"]
    assert data == {"est_beneficiaire": True, "avec_majoration": increased, "date_debut_droit": None}


def test_without_the_right_an_increase_and_a_date_are_null(key: str, gate: Gate) -> None:
    gate.body = {
        "indicateur": "NON_BENEFICIAIRE",
        "dateIndicateur": "2024-01-01",
        "listePrestation": [right("FA3106")],
    }
    data = call("prime_activite", key).body["data"]
    assert data == {"est_beneficiaire": False, "avec_majoration": None, "date_debut_droit": None}


# ── What cannot be understood ────────────────────────────────────────────────────────────────────────────────────────

QUOTIENT, NURSERY = SENT["quotient_familial"], SENT["participation_familiale_eaje"]
BROKEN: dict[str, tuple[str, Any]] = {
    "a page": ("prime_activite", b"<html></html>"),
    "nothing": ("prime_activite", b""),
    "a list": ("prime_activite", []),
    "no indicator": ("prime_activite", {"dateIndicateur": "2024-01-01"}),
    "an unknown indicator": ("prime_activite", {"indicateur": "PEUT_ETRE"}),
    "the indicator of another benefit": ("prime_activite", {"indicateur": "ALLOCATAIRE"}),
    "a date of a right that is none": (
        "prime_activite",
        {"indicateur": "BENEFICIAIRE", "dateIndicateur": "2024-02-30"},
    ),
    "a partial date of a right": ("prime_activite", {"indicateur": "BENEFICIAIRE", "dateIndicateur": "2024-02-00"}),
    "a quotient in a text": ("quotient_familial", QUOTIENT | {"quotientFamilial": "beaucoup"}),
    "a quotient with a decimal": ("quotient_familial", QUOTIENT | {"quotientFamilial": 464.5}),
    "a 13th month": ("quotient_familial", QUOTIENT | {"mois": 13}),
    "no parents": ("quotient_familial", QUOTIENT | {"allocataires": []}),
    "parents left out": ("quotient_familial", {"quotientFamilial": 464}),
    "a parent that is a text": ("quotient_familial", QUOTIENT | {"allocataires": ["SOIZIC"]}),
    "a birth that is none": ("quotient_familial", QUOTIENT | {"enfants": [CHILD | {"dateNaissance": "2012-13-01"}]}),
    "a birth in another order": ("quotient_familial", QUOTIENT | {"enfants": [{"dateNaissance": "02/05/2014"}]}),
    "an unknown sex": ("quotient_familial", QUOTIENT | {"allocataires": [PERSON | {"genre": "X"}]}),
    "an address that is a text": ("quotient_familial", QUOTIENT | {"adresse": "29200 BREST"}),
    "no resources": ("participation_familiale_eaje", NURSERY | {"montantRessources": None}),
    "resources in a text": ("participation_familiale_eaje", NURSERY | {"montantRessources": "28412 €"}),
    "a year in a text": ("participation_familiale_eaje", NURSERY | {"annee": "l'an dernier"}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_answer_that_is_not_understood_is_999_without_data(key: str, gate: Gate, case: str) -> None:
    benefit, gate.body = BROKEN[case]
    response = call(benefit, key)
    code = "35999" if benefit == "quotient_familial" else "36999"
    assert (response.status, [error["code"] for error in response.body["errors"]]) == (502, [code])


@pytest.mark.parametrize("fund", ["", "99430000", "12345678"])
def test_a_quotient_of_no_known_fund_is_35999(key: str, gate: Gate, fund: str) -> None:
    gate.body, gate.headers = QUOTIENT, {"X-APISECU-FD": fund}
    assert call("quotient_familial", key).body["errors"][0]["code"] == "35999"
