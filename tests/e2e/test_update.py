"""Later `make up`s: another tax server, another pseudonym key, then the tax service's other interface."""

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
from tests.support.stack import CITIZEN, FOLDER, NUMBERS, RFR_ROUTE, Stack, by_towns, update_stack
from tests.support.template import ROOT
from tests.support.wire import serve

pytestmark = pytest.mark.order(1)  # the stack is not put back
DGFIP_ROUTES = ("/v2/avis-imposition", RFR_ROUTE, "/v2/declarants", "/v2/adresse-fiscale")
GEOCODED = {"adresseStructuree", "coordonnees", "score"}
"""Fields that come from the geocoder."""
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
def log_before(stack: Stack) -> dict[str, Any]:
    """Return the access log of a citizen before the update, which has at least a call made now."""
    assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
    return stack.access_log(NUMBERS)  # type: ignore[no-any-return]  # as JSON is


@pytest.fixture(scope="module")
def svair_bodies(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the bodies of the first tax provider, before the second replaces it."""
    return {route: stack.get(route, **NUMBERS).json() for route in DGFIP_ROUTES}


@pytest.fixture(scope="module")
def updated(
    stack: Stack, people: list[Person], log_before: dict[str, Any], svair_bodies: dict[str, dict[str, Any]]
) -> Iterator[Stack]:
    """Update the stack to the address of another tax server, a portal without its key, and a new pseudonym key."""
    assert log_before
    assert svair_bodies
    town = next(key for key in stack.run_cli("keys", "list") if key["purpose"] == CANTEEN.finalite)
    stack.run_cli("keys", "revoke", town["id"])
    kms, first = stack.client("kms"), stack.deployment.outputs["PseudonymKeyIds"].strip(",")
    former = kms.describe_key(KeyId=first)["KeyMetadata"]["Arn"]
    new = kms.create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["Arn"]
    with serve(app_of(lambda: [*people, CITIZEN])) as url:
        yield update_stack(DGFIP_SVAIR_URL=url, PSEUDONYM_KEY_ARN=new, FORMER_PSEUDONYM_KEY_ARNS=former)


def test_an_update_keeps_the_address_and_the_key(stack: Stack, updated: Stack) -> None:
    names = ("api_url", "v3_url", "api_key", "site_url", "portal_url")
    assert [updated.description[name] for name in names] == [stack.description[name] for name in names]


def test_random_notices_are_returned_exactly(updated: Stack, people: list[Person]) -> None:
    for person in people:
        numbers = {"numeroFiscal": person.numero_fiscal, "referenceAvis": person.reference_avis}
        response = updated.get("/v2/avis-imposition", **numbers)
        expected = _expected(person)
        assert (response.status_code, response.json(), list(response.json())) == (200, expected, list(expected))
        v1 = updated.get("/impots/svair", **numbers).json()
        assert v1 == {name: value for name, value in expected.items() if name != "situationFamille"}


def test_the_portal_gets_a_new_key_for_its_revoked_one(updated: Stack, people: list[Person]) -> None:
    portal = updated.description["portal_url"]
    person = people[0]
    typed = {"numeroFiscal": person.numero_fiscal, "referenceAvis": person.reference_avis, "accord": "oui"}
    page = requests.post(f"{portal}{CANTEEN.chemin}/impots", typed, timeout=60)
    assert page.status_code == 200
    assert 'id="prix"' in page.text


def test_no_table_or_log_holds_anything_of_a_citizen(updated: Stack, people: list[Person]) -> None:
    for person in people:
        updated.get("/v2/declarants", numeroFiscal=person.numero_fiscal, referenceAvis=person.reference_avis)
        updated.get("/v2/declarants", numeroFiscal=person.numero_fiscal, referenceAvis="x")
    kept = "\n".join(_everything_kept(updated))
    assert "revenuFiscalReference" in kept  # the audit names fields, so the search reads it
    for person in people:
        first = person.declarant1
        secrets = [person.numero_fiscal, person.reference_avis, first.nom, first.nom_naissance, *(person.adresse or ())]
        secrets += [str(_amount(person.revenu_fiscal_reference)), str(_amount(person.revenu_brut_global))]
        secrets += [f"dgfip:{person.numero_fiscal}"]
        for secret in filter(None, secrets):
            for form in _forms(secret):
                assert form not in kept, "something of a citizen is kept"
    assert updated.api_key not in kept


def test_accesses_are_found_after_a_rotation_of_the_pseudonym_key(log_before: dict[str, Any], updated: Stack) -> None:
    assert updated.get(RFR_ROUTE, **NUMBERS).status_code == 200
    after = updated.access_log(NUMBERS)
    assert after["total"] > log_before["total"] > 0  # those of both keys
    seen = updated.run_cli("citizen", "access", "--numero-fiscal", NUMBERS["numeroFiscal"])
    assert by_towns(seen) == by_towns(after)
    with updated.without_statement("CitizenAccess", "NameCitizensAsBefore"):
        updated.access_log(NUMBERS, status=500)


@pytest.fixture(scope="module")
def other_stack(updated: Stack) -> Stack:
    """Update the stack to the second tax provider and no geocoder."""
    assert updated.description
    return update_stack(DGFIP_PROVIDER="impot_particulier", BAN_URL="http://127.0.0.1:9")


@pytest.mark.parametrize("route", DGFIP_ROUTES)
def test_the_other_tax_provider_gives_the_same_figures(
    svair_bodies: dict[str, dict[str, Any]], other_stack: Stack, route: str
) -> None:
    response = other_stack.get(route, **NUMBERS)
    assert response.status_code == 200
    both = (response.json().keys() & svair_bodies[route].keys()) - GEOCODED
    assert both >= {"/v2/avis-imposition": {"revenuFiscalReference", "nombreParts", "declarant1"}}.get(route, set())
    assert both
    assert {name: response.json()[name] for name in both} == {name: svair_bodies[route][name] for name in both}


def test_without_a_geocoder_the_address_is_as_printed(other_stack: Stack) -> None:
    response = other_stack.get("/v2/adresse-fiscale", **NUMBERS)
    body = response.json()
    assert response.status_code == 200
    assert body["adresse"]
    assert [body[name] for name in ("adresseStructuree", "coordonnees", "score")] == [None, None, None]
    table = other_stack.description["tables"]["audit"]
    records = other_stack.client("dynamodb").scan(TableName=table)["Items"]
    assert ["ban: network_error"] in [[note["S"] for note in record.get("notes", {"L": []})["L"]] for record in records]


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
