"""Responses of v3 are those of the official sandbox's cases, but where a case names another status and code for ours.

API-SECU is played from the cases themselves: each answers what its body was made from.
"""

import json
import os
from collections.abc import Mapping
from typing import Any, Final

import pytest

from sandbox.simulators.api_secu import FUNDS
from tests.support.api_secu import ADDRESS, RECIPIENT, SCOPES, Gate, call, play_gate
from tests.support.cloud import Cloud
from tests.support.template import ROOT

DATA: Final = ROOT / os.environ.get("REFERENCE_DATA", "../shared/data") / "v3/cases.jsonl"

pytestmark = pytest.mark.skipif(
    not DATA.is_file(), reason=f"the official cases are not in {DATA}; set REFERENCE_DATA to their folder"
)
CASES: Final = [json.loads(line) for line in DATA.read_text().splitlines()] if DATA.is_file() else []
PERSON: Final = {
    "nom_naissance": "nomNaissance",
    "nom_usage": "nomUsage",
    "prenoms": "listePrenoms",
    "date_naissance": "dateNaissance",
    "sexe": "genre",
    "code_cog_insee_commune_naissance": "cogNaissance",
}
KINDS: Final = {"revenu_solidarite_active": ("FA3101", "FA3102"), "prime_activite": ("FA3105", "FA3106")}


def renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[name]: value for name, value in values.items() if value is not None}


def of_family(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "allocataires": [renamed(person, PERSON) for person in data["allocataires"]],
        "enfants": [renamed(person, PERSON) for person in data["enfants"]],
        "adresse": renamed(data["adresse"], ADDRESS),
    }


def sent_by_the_gate(dataset: str, data: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Return the answer of API-SECU from which a body is made, and its fund."""
    if dataset == "quotient_familial":
        quotient = data["quotient_familial"]
        sent = {
            "quotientFamilial": quotient["valeur"],
            "annee": quotient["annee_calcul"],
            "mois": quotient["mois_calcul"],
        }
        return of_family(data) | sent, quotient["fournisseur"]
    if dataset == "participation_familiale_eaje":
        sums = data["parametres_calcul_participation_familiale"]
        sent = {
            "nombreEnfantACharge": sums["nombre_enfants_a_charge"],
            "nombreBeneficiaireAEH": sums["nombre_enfants_beneficiaire_aeeh"],
            "montantRessources": sums["base_ressources_annuelles"]["valeur"],
            "annee": str(sums["base_ressources_annuelles"]["annee_calcul"]),
        }
        return of_family(data) | sent, "CNAF"
    right: dict[str, Any] = {"indicateur": indicator(dataset, data)}
    if data["date_debut_droit"]:
        right["dateIndicateur"] = data["date_debut_droit"]
    if data.get("avec_majoration") is not None and dataset in KINDS:
        right["listePrestation"] = [{"cd": KINDS[dataset][data["avec_majoration"]], "etat": {"cd": 10}}]
    return right, "RNCPS" if dataset == "complementaire_sante_solidaire" else "MSA"


def indicator(dataset: str, data: dict[str, Any]) -> str:
    if "status" in data:
        return str(data["status"]).upper()
    if dataset != "complementaire_sante_solidaire":
        return "BENEFICIAIRE" if data["est_beneficiaire"] else "NON_BENEFICIAIRE"
    if not data["est_beneficiaire"]:
        return "NON_BENEFICIAIRE_CSS"
    return f"BENEFICIAIRE_{'AVEC' if data['avec_participation'] else 'SANS'}_PARTICIPATION_FINANCIERE"


def without_clock(value: Any, clock: list[str]) -> Any:
    """Return a body without the fields that follow the day of the call."""
    if isinstance(value, list):
        return [without_clock(each, clock) for each in value]
    if isinstance(value, dict):
        return {name: without_clock(each, clock) for name, each in value.items() if name not in clock}
    return value


def prepare(gate: Gate, case: dict[str, Any]) -> tuple[int, str | None]:
    """Make the gate answer a case, and return the status and the code that are expected."""
    if case["status"] == 200:
        gate.body, fund = sent_by_the_gate(case["dataset"], case["body"]["data"])
        gate.headers = {"X-APISECU-FD": FUNDS[fund]}
        if "enfants.date_naissance" in case.get("clock", ()):
            for child in gate.body["enfants"]:
                child["dateNaissance"] = "2025-00-00"
        return 200, None
    expected = case.get("ours") or {"status": case["status"], "code": case["body"]["errors"][0]["code"]}
    gate.headers = {}
    if expected["code"].endswith("560"):
        gate.status, gate.body = 404, {"errorCode": 40409, "error": "inconnu"}
    elif expected["code"] == "23003":
        gate.status, gate.body, gate.headers = 404, {"errorCode": 40401}, {"X-APISECU-FD": FUNDS["CNAF"]}
    elif expected["code"].endswith("999"):
        gate.body = b"<html></html>"
    elif expected["code"].endswith("002"):
        gate.status, gate.body = 504, b""
    return expected["status"], expected["code"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['dataset']}/{case['name']}")
def test_a_case_is_answered_as_the_official_sandbox_does(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    scopes = () if case["status"] == 403 else SCOPES[case["dataset"]]
    query = {
        "prenoms[]" if name == "prenoms" else name: value if isinstance(value, list) else str(value)
        for name, value in case["query"].items()
    }
    with play_gate(monkeypatch) as gate:
        status, code = prepare(gate, case)
        response = call(case["dataset"], cloud.issue_key(*scopes), query, recipient=RECIPIENT)
    assert (response.status, response.headers["Content-Type"]) == (status, "application/vnd.api+json")
    if code:
        assert [error["code"] for error in response.body["errors"]] == [code]
        assert [record["error"] for record in cloud.audit_records()] == [code]
    else:
        clock = [name.rpartition(".")[2] for name in case.get("clock", ())]
        assert without_clock(response.body, clock) == without_clock(case["body"], clock)
