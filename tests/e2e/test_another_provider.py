"""The stack with another tax server: its notices are returned exactly and leave no trace."""

import base64
import hashlib
import random
import string
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from sandbox.simulators.svair import Declarant, Person, app_of
from sandbox.town.demarches import demarches
from tests.support.stack import FOLDER, Stack, start_stack
from tests.support.template import ROOT
from tests.support.wire import serve

CANTEEN = demarches()[0]
_RANDOM = random.SystemRandom()
_YEAR = datetime.now(UTC).year


def _digits(count: int) -> str:
    return "".join(_RANDOM.choices(string.digits, k=count))


def _name() -> str:
    return "".join(_RANDOM.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZÉÈÇ-", k=12)).strip("-")


def _person() -> Person:
    return Person(
        numero_fiscal=_digits(13),
        reference_avis=f"{_YEAR % 100}{_digits(11)}",
        annee=_YEAR,
        annee_impots=_YEAR,
        annee_revenus=_YEAR - 1,
        declarant1=Declarant(nom=_name(), nom_naissance=_name(), prenoms=_name(), date_naissance="01/02/1970"),
        adresse=(f"{_digits(6)} RUE {_name()}", f"75001 {_name()}"),
        nombre_parts=2.5,
        revenu_brut_global=int(_digits(9)) + 10**9,
        revenu_fiscal_reference=int(_digits(9)) + 10**9,
        montant_impot="Non imposable",
        situation_famille="",
    )


def _expected(person: Person) -> dict[str, Any]:
    """Return the expected body of v2 (contract §3.1 and §3.2)."""
    first = person.declarant1
    return {
        "declarant1": {
            "nom": first.nom,
            "nomNaissance": first.nom_naissance,
            "prenoms": first.prenoms,
            "dateNaissance": first.date_naissance,
        },
        "declarant2": {"nom": "", "nomNaissance": "", "prenoms": "", "dateNaissance": ""},
        "nombreParts": 2.5,
        "situationFamille": None,
        "revenuBrutGlobal": _amount(person.revenu_brut_global),
        "montantImpot": None,
        "revenuFiscalReference": _amount(person.revenu_fiscal_reference),
        "foyerFiscal": {"annee": person.annee, "adresse": " ".join(person.adresse or ())},
        "anneeImpots": str(_YEAR),
        "anneeRevenus": str(_YEAR - 1),
    }


def _amount(printed: str | None) -> int:
    return int("".join(filter(str.isdigit, printed or "")))


@pytest.fixture(scope="module")
def people() -> list[Person]:
    return [_person() for _ in range(8)]


@pytest.fixture(scope="module")
def elsewhere(stack: Stack, people: list[Person]) -> Iterator[Stack]:
    """Deploy the stack with the address of another tax server, and the first address again at the end."""
    town = next(key for key in stack.run_cli("keys", "list") if key["purpose"] == CANTEEN.finalite)
    stack.run_cli("keys", "revoke", town["id"])
    with serve(app_of(lambda: people)) as url:
        yield start_stack(DGFIP_SVAIR_URL=url)
    assert start_stack().api_key == stack.api_key  # a second `make up` is the same stack


def test_random_notices_are_returned_exactly(elsewhere: Stack, people: list[Person]) -> None:
    for person in people:
        numbers = {"numeroFiscal": person.numero_fiscal, "referenceAvis": person.reference_avis}
        response = elsewhere.get("/v2/avis-imposition", **numbers)
        expected = _expected(person)
        assert (response.status_code, response.json(), list(response.json())) == (200, expected, list(expected))
        v1 = elsewhere.get("/impots/svair", **numbers).json()
        assert v1 == {name: value for name, value in expected.items() if name != "situationFamille"}


def test_the_portal_keeps_its_address_and_gets_a_new_key_for_its_revoked_one(
    stack: Stack, elsewhere: Stack, people: list[Person]
) -> None:
    portal = elsewhere.description["portal_url"]
    assert portal == stack.description["portal_url"]
    person = people[0]
    typed = {"numeroFiscal": person.numero_fiscal, "referenceAvis": person.reference_avis, "accord": "oui"}
    page = requests.post(f"{portal}{CANTEEN.chemin}/impots", typed, timeout=60)
    assert page.status_code == 200
    assert 'id="prix"' in page.text


def test_no_table_or_log_holds_anything_of_a_citizen(elsewhere: Stack, people: list[Person]) -> None:
    for person in people:
        elsewhere.get("/v2/declarants", numeroFiscal=person.numero_fiscal, referenceAvis=person.reference_avis)
        elsewhere.get("/v2/declarants", numeroFiscal=person.numero_fiscal, referenceAvis="x")
    kept = "\n".join(_everything_kept(elsewhere))
    assert "revenuFiscalReference" in kept  # the audit names fields, so the search reads it
    for person in people:
        first = person.declarant1
        secrets = [person.numero_fiscal, person.reference_avis, first.nom, first.nom_naissance, *(person.adresse or ())]
        secrets += [str(_amount(person.revenu_fiscal_reference)), str(_amount(person.revenu_brut_global))]
        secrets += [f"dgfip:{person.numero_fiscal}"]
        for secret in filter(None, secrets):
            for form in _forms(secret):
                assert form not in kept, "something of a citizen is kept"
    assert elsewhere.api_key not in kept


def _everything_kept(stack: Stack) -> Iterator[str]:
    """Yield the items of every table, the lines of every log group and the output of the stack's processes."""
    logs, dynamodb = stack.client("logs"), stack.client("dynamodb")
    for table in stack.description["tables"].values():
        for page in dynamodb.get_paginator("scan").paginate(TableName=table):
            yield from map(str, page["Items"])
    for group in logs.describe_log_groups()["logGroups"]:
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=group["logGroupName"]):
            yield from (event["message"] for event in page["events"])
    for file in (ROOT / FOLDER).glob("*.log"):
        yield file.read_text()


def _forms(secret: str) -> Iterator[str]:
    """Yield a secret in clear, encoded in base64, and as each common hash without a key."""
    yield secret
    yield base64.b64encode(secret.encode()).decode()
    for algorithm in ("md5", "sha1", "sha256", "sha512"):
        digest = hashlib.new(algorithm, secret.encode(), usedforsecurity=False)
        yield digest.hexdigest()
        yield base64.b64encode(digest.digest()).decode()
