"""What a call by identity leaves behind: a record without the identity, and nothing of it anywhere else."""

import json
from itertools import product
from typing import Any

import pytest

from api_particulier.audit import pseudonyms
from tests.support.api_secu import IDENTITY, RECIPIENT, SCOPES, Gate, call
from tests.support.cloud import Cloud

pytestmark = pytest.mark.slow

BENEFIT = "quotient_familial"
FAMILY: dict[str, Any] = {
    "allocataires": [{"nomNaissance": "KERVELLA", "listePrenoms": "GWENOLÉ", "dateNaissance": "1974-08-23"}],
    "enfants": [{"nomNaissance": "KERVELLA", "listePrenoms": "NOLWENN", "dateNaissance": "2016-03-30"}],
    "adresse": {"numeroLibelleVoie": "12 HENT AR MOR", "codePostalVille": "29710 PLOZÉVET"},
    "quotientFamilial": 64731,
}


def test_a_record_names_the_recipient_the_fields_and_the_provider(cloud: Cloud, gate: Gate) -> None:
    gate.body = FAMILY
    call(BENEFIT, cloud.issue_key("cnaf_quotient_familial", "cnaf_enfants", id="jeton-1"))
    (record,) = cloud.audit_records()
    assert (record["dataset"], record["route"]) == ("dss_quotient_familial", "/v3/dss/quotient_familial/identite")
    assert (record["token"], record["recipient"], record["status"]) == ("jeton-1", RECIPIENT, 200)
    assert (record["provider"], record["provider_ms"] >= 0) == ("dss", True)
    assert record["released"] == ["quotient_familial", "enfants"]
    assert record["withheld"] == ["allocataires", "adresse"]
    assert "error" not in record


SAME: dict[str, dict[str, Any]] = {
    "as it was": {},
    "in capitals without accents": {"nomNaissance": "KERLEO", "prenoms[]": ["MAELLE", "ANNE"]},
    "with other first names": {"prenoms[]": ["Maëlle"]},
    "with a name in use": {"nomUsage": "Le Bihan"},
    "without its sex": {"sexeEtatCivil": None},
}
OTHERS: dict[str, dict[str, Any]] = {
    "another day": {"jourDateNaissance": "10"},
    "without its day": {"jourDateNaissance": None},
    "another first name": {"prenoms[]": ["Anne", "Maëlle"]},
    "another commune": {"codeCogInseeCommuneNaissance": "29232"},
    "no commune": {"codeCogInseeCommuneNaissance": None},
}


@pytest.mark.parametrize("case", SAME | OTHERS)
def test_a_pseudonym_is_that_of_the_normalised_identity(cloud: Cloud, key: str, gate: Gate, case: str) -> None:
    assert gate.url
    call("prime_activite", key)
    call("prime_activite", key, IDENTITY | (SAME | OTHERS)[case])
    first, second = (record["citizen"] for record in cloud.audit_records())
    assert (first == second) is (case in SAME)


def test_a_pseudonym_is_made_of_the_identity_as_documented(
    cloud: Cloud, key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate.url
    monkeypatch.setattr(pseudonyms, "_current_key", lambda *_: b"the key of the month")
    call("prime_activite", key, IDENTITY | {"nomNaissance": "D’Arc-Élie", "moisDateNaissance": None})
    expected = pseudonyms.compute(b"the key of the month", "dss:D ARC ELIE|MAELLE|1987-00-00|99100|29019")
    assert [record["citizen"] for record in cloud.audit_records()] == [expected]


def test_a_commune_by_name_is_in_the_pseudonym_with_its_department(
    cloud: Cloud, key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gate.url
    monkeypatch.setattr(pseudonyms, "_current_key", lambda *_: b"the key of the month")
    by_name = {"nomCommuneNaissance": "Pont-l'Abbé", "codeCogInseeDepartementNaissance": "29"}
    call("prime_activite", key, IDENTITY | by_name | {"codeCogInseeCommuneNaissance": None, "prenoms[]": None})
    expected = pseudonyms.compute(b"the key of the month", "dss:KERLEO||1987-04-09|99100|29 PONT L ABBE")
    assert [record["citizen"] for record in cloud.audit_records()] == [expected]


TRACES = ("kerl", "maëlle", "maelle", "1987-04", "29019", "kervella", "gwenol", "nolwenn", "hent", "64731", "plozévet")


@pytest.mark.parametrize(("benefit", "answer"), list(product(SCOPES, ["whole", "unknown", "unreadable", "down"])))
def test_nothing_of_an_identity_or_of_an_answer_is_logged_or_stored(
    cloud: Cloud, gate: Gate, capsys: pytest.CaptureFixture[str], benefit: str, answer: str
) -> None:
    key = cloud.issue_key(*SCOPES[benefit])
    gate.body = FAMILY | {"indicateur": "BENEFICIAIRE"}
    if answer != "whole":
        gate.status = {"unknown": 404, "unreadable": 200, "down": 503}[answer]
        gate.body = b"KERVELLA GWENOLE" if answer == "unreadable" else {"errorCode": 40409, "error": "KERVELLA"}
    call(benefit, key)
    call(benefit, key, nomNaissance="Kerléo 3")
    stored = json.dumps([table.scan()["Items"] for table in (cloud.audit, cloud.stats)], default=str)
    written = capsys.readouterr()
    everything = (stored + written.out + written.err).lower()
    assert not [trace for trace in TRACES if trace in everything]
    assert len(cloud.audit_records()) == 2
