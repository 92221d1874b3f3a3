"""The journey of a parent: the town's portal, the price, and the call in the citizen's access log."""

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from sandbox.simulators import PEOPLE, caf
from sandbox.town.demarches import Source, demarches
from tests.support.browser import DESKTOP, PHONE, Visit, visit
from tests.support.stack import CITIZEN, FOLDER, NUMBERS, Stack
from tests.support.template import ROOT

FAMILY = caf.familles(PEOPLE / "familles.toml")[0]
TYPED: dict[Source, dict[str, str]] = {
    "impots": NUMBERS,
    "caf": {"numeroAllocataire": FAMILY.numero_allocataire, "codePostal": FAMILY.code_postal},
}
SERVICES = {service.chemin: service for service in demarches()}
QUOTIENTS = {
    "impots": int(re.sub(r"\D", "", str(CITIZEN.revenu_fiscal_reference))) / 12 / float(str(CITIZEN.nombre_parts)),
    "caf": float(FAMILY.quotients[0].quotient_familial),
}
FIELDS = {
    "dgfip_revenu_fiscal_reference": {"revenuFiscalReference"},
    "dgfip_nombre_parts": {"nombreParts"},
    "dgfip_nombre_personnes_a_charge": {"nombrePersonnesCharge"},
    "cnaf_quotient_familial": {"quotientFamilial", "mois", "annee"},
    "cnaf_enfants": {"enfants"},
}


def portal(stack: Stack, path: str = "") -> str:
    return f"{stack.description['portal_url']}{path}"


def ask(page: Page, source: Source, numbers: dict[str, str], *, agree: bool = True) -> None:
    for name, value in numbers.items():
        page.locator(f"#{name}").fill(value)
    if agree:
        page.locator(f"#accord-{source}").check(force=True)
    page.locator(f"form[action$='/{source}'] button").click()


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("path", ["", "tarifs", *SERVICES], ids=lambda path: path or "accueil")
def test_a_page_of_the_portal_opens_without_a_fault(stack: Stack, chromium: Browser, path: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        visitor.open(portal(stack, path))
        visitor.check(f"portail-{path or 'accueil'}")


@pytest.mark.parametrize(
    ("path", "source"), [(path, source) for path, service in SERVICES.items() for source in service.sources]
)
def test_two_numbers_and_an_agreement_give_the_price_of_the_town(
    stack: Stack, visitor: Visit, path: str, source: Source
) -> None:
    service = SERVICES[path]
    page = visitor.open(portal(stack, path))
    ask(page, source, TYPED[source])
    price = f"{service.tranche(QUOTIENTS[source]).prix:.2f}".replace(".", ",")
    expect(page.locator("#prix")).to_have_text(f"{price}\u00a0€")
    received = {cell.inner_text() for cell in page.locator("table td:nth-child(2)").all()}
    opened = set[str]().union(*(FIELDS[scope] for scope in service.sources[source].portees))
    assert received == opened  # exactly the fields of the town's scopes
    assert not any(number in page.url for number in TYPED[source].values())
    visitor.check(f"portail-{path}-{source}-resultat")


def test_the_portal_does_not_log_the_numbers_typed_in(stack: Stack, visitor: Visit) -> None:
    ask(visitor.open(portal(stack, "restauration-scolaire")), "impots", NUMBERS)
    expect(visitor.page.locator("#prix")).to_be_visible()
    logged = (ROOT / FOLDER / "portail.log").read_text()
    assert not any(number in logged for number in NUMBERS.values())


def test_without_an_agreement_the_portal_shows_no_price(stack: Stack, visitor: Visit) -> None:
    page = visitor.open(portal(stack, "restauration-scolaire"))
    ask(page, "impots", NUMBERS, agree=False)
    expect(page.get_by_text("Sans votre accord")).to_be_visible()
    expect(page.locator("#prix")).to_have_count(0)
    visitor.faults.clear()  # the browser logs the status of the refused form
    visitor.check("portail-sans-accord")


def test_unknown_numbers_get_a_message_for_parents(stack: Stack, visitor: Visit) -> None:
    page = visitor.open(portal(stack, "restauration-scolaire"))
    ask(page, "impots", NUMBERS | {"numeroFiscal": "2690000009999"})
    expect(page.get_by_text("Ces numéros ne correspondent à aucun dossier")).to_be_visible()
    visitor.faults.clear()
    visitor.check("portail-refus")


def test_the_citizens_log_shows_the_call_of_the_portal(stack: Stack, visitor: Visit) -> None:
    ask(visitor.open(portal(stack, "restauration-scolaire")), "impots", NUMBERS)
    visitor.page.get_by_role("link", name="Voir la trace de cette consultation").click()
    page = visitor.page
    ask_the_log(page, "2690000009999")
    expect(page.get_by_text("Ces numéros ne correspondent à aucun dossier")).to_be_visible()
    visitor.faults.clear()  # the browser logs the status
    ask_the_log(page, NUMBERS["numeroFiscal"])
    row = page.locator("#acces tbody tr").first
    expect(row).to_contain_text("Ville de Fictive")
    expect(row).to_contain_text(SERVICES["restauration-scolaire"].finalite)
    expect(row).to_contain_text("Données transmises")
    assert not any(number in page.url for number in NUMBERS.values())
    visitor.check("site-mes-acces-trace")


def ask_the_log(page: Page, number: str) -> None:
    page.locator("#numeroFiscal").fill(number)
    page.locator("#referenceAvis").fill(NUMBERS["referenceAvis"])
    page.get_by_role("button", name="Voir les consultations").click()
