"""An operator finds what was read about a person, however much of the identity each caller knew."""

from typing import Any

import pytest

from api_particulier.api.identity import BirthDate, Identity, forms
from tests.support.api_secu import IDENTITY, Gate, call
from tests.support.cloud import Cloud

PERSON = Identity(
    recipient="",
    nom_naissance="Kerléo",
    prenoms=("Maëlle Anne",),
    birth=BirthDate(1987, 4, 9),
    pays="99100",
    commune="29019",
    nom_commune="Brest",
    departement="29",
)


def test_there_are_36_forms_of_an_identity_each_with_its_precision() -> None:
    found = forms(PERSON)
    assert len(found) == 36
    assert found["dss:KERLEO|MAELLE ANNE|1987-04-09|99100|29019"] == "whole identity"
    assert found["dss:KERLEO|MAELLE|1987-04-00|99100|29 BREST"] == (
        "without day, other words of the first name, code of the commune"
    )
    assert found["dss:KERLEO||0000-00-00|99100|"] == "without date, first name, commune"


ASKED: dict[str, dict[str, Any]] = {
    "all of it": {"prenoms[]": ["Maëlle Anne"]},
    "the first name alone": {},
    "no first name": {"prenoms[]": None},
    "a year": {"moisDateNaissance": None, "jourDateNaissance": None},
    "a commune by name": {
        "codeCogInseeCommuneNaissance": None,
        "nomCommuneNaissance": "BREST",
        "codeCogInseeDepartementNaissance": "29",
    },
    "nearly nothing": {
        "prenoms[]": None,
        "codeCogInseeCommuneNaissance": None,
        "anneeDateNaissance": None,
    },
}


@pytest.mark.parametrize("case", ASKED)
def test_a_question_is_found_under_one_of_the_forms(
    cloud: Cloud, key: str, gate: Gate, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    assert gate.url
    monkeypatch.setattr("api_particulier.api.handler.pseudonym", lambda identifier, _: identifier)
    call("prime_activite", key, IDENTITY | ASKED[case])
    assert [record["citizen"] in forms(PERSON) for record in cloud.audit_records()] == [True]
