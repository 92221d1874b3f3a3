"""The journey of a parent: the town's portal, the price, and the call in the citizen's access log."""

import re

import pytest
import requests
from playwright.sync_api import Browser, Page, expect

from release.usages import Source
from sandbox.simulators import PEOPLE, api_secu, caf
from sandbox.town.demarches import demarches
from tests.support.browser import DESKTOP, PHONE, Visit, visit
from tests.support.stack import CITIZEN, FOLDER, NUMBERS, Stack
from tests.support.template import ROOT

FAMILY = caf.familles(PEOPLE / "familles.toml")[0]
PERSON = api_secu.personnes(PEOPLE / "assures.toml")[0]
TYPED: dict[Source, dict[str, str]] = {
    "impots": NUMBERS,
    "caf": {"numeroAllocataire": FAMILY.numero_allocataire, "codePostal": FAMILY.code_postal},
    "identite": {
        "nomNaissance": PERSON.nom_naissance.title(),
        "prenoms": PERSON.prenoms.title(),
        "dateNaissance": "/".join(reversed(PERSON.date_naissance.split("-"))),
        "sexe": PERSON.sexe,
        "paysNaissance": PERSON.pays,
        "communeNaissance": "Paris",
        "departementNaissance": "75",
    },
}
SERVICES = {service.chemin: service for service in demarches()}
QUOTIENTS: dict[Source, float] = {
    "impots": int(re.sub(r"\D", "", str(CITIZEN.revenu_fiscal_reference))) / 12 / float(str(CITIZEN.nombre_parts)),
    "caf": float(FAMILY.quotients[0].quotient_familial),
    "identite": 842,
}
NURSERY = "1,34\u00a0€"
"""The hourly price of the first person of ``assures.toml``: the sum of ``docs/identite/creche.md``."""
FIELDS = {
    "dgfip_revenu_fiscal_reference": {"revenuFiscalReference"},
    "dgfip_nombre_parts": {"nombreParts"},
    "dgfip_erreur_correctif": set[str](),  # the first citizen's notice is neither replaced nor partial
    "dgfip_situation_partielle": set[str](),
    "dgfip_adresse_fiscale_taxation": {"foyerFiscal.adresse", "adresse", "adresseStructuree", "coordonnees", "score"},
    "cnaf_quotient_familial": {"quotientFamilial", "mois", "annee"},
    "cnaf_enfants": {"enfants"},
}
FIELDS_BY_IDENTITY = {
    "cnaf_quotient_familial": {
        f"quotient_familial.{field}"
        for field in ("fournisseur", "valeur", "annee", "mois", "annee_calcul", "mois_calcul")
    },
    "cnav_participation_familiale_eaje_parametres_calcul": {
        f"parametres_calcul_participation_familiale.{field}"
        for field in (
            *("nombre_enfants_a_charge", "nombre_enfants_beneficiaire_aeeh"),
            *("base_ressources_annuelles.valeur", "base_ressources_annuelles.annee_calcul"),
        )
    },
}
ASKED = [(path, source) for path, service in SERVICES.items() for source in service.sources]


def portal(stack: Stack, path: str = "") -> str:
    return f"{stack.description['portal_url']}{path}"


def form(visitor: Visit, stack: Stack, path: str) -> Page:
    """Open a procedure: once loaded it is whole, for the portal's pages ask for nothing by themselves."""
    visitor.page.goto(portal(stack, path))
    return visitor.page


def ask(page: Page, source: Source, numbers: dict[str, str], *, agree: bool = True) -> None:
    for name, value in numbers.items():
        if name in {"sexe", "paysNaissance"}:
            page.locator(f"#{name}").select_option(value)
        else:
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


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize(("path", "source"), ASKED)
def test_two_numbers_and_an_agreement_give_the_price_of_the_town(
    stack: Stack, chromium: Browser, path: str, source: Source, width: int
) -> None:
    service = SERVICES[path]
    with visit(chromium, width) as visitor:
        page = form(visitor, stack, path)
        ask(page, source, TYPED[source])
        if service.grille:
            price = f"{service.tranche(QUOTIENTS[source]).prix:.2f}".replace(".", ",")
            expect(page.locator("#prix")).to_have_text(f"{price}\u00a0€")
        elif source == "identite":
            expect(page.locator("#prix")).to_have_text(NURSERY)
            expect(page.locator("#calcul li")).to_have_count(5)
        else:
            expect(page.locator("#inscription")).to_be_visible()
        received = {cell.inner_text() for cell in page.locator("table td:nth-child(2)").all()}
        fields = FIELDS_BY_IDENTITY if source == "identite" else FIELDS
        opened = set[str]().union(*(fields[scope] for scope in service.portees_de(source)))
        assert received == opened  # exactly the fields of the town's scopes
        assert not any(value in page.url for value in TYPED[source].values() if len(value) > 2)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        table = page.locator(".fr-table__content").first
        assert table.evaluate("content => content.scrollWidth <= content.clientWidth")  # each value is in sight
        visitor.check(f"portail-{path}-{source}-resultat")


def test_an_unknown_identity_gets_a_message_for_parents(stack: Stack, visitor: Visit) -> None:
    page = form(visitor, stack, "restauration-scolaire")
    ask(page, "identite", TYPED["identite"] | {"nomNaissance": "Inconnue"})
    expect(page.get_by_text("Aucune personne connue n’a cette identité")).to_be_visible()


def test_the_portal_does_not_log_the_numbers_typed_in(stack: Stack, visitor: Visit) -> None:
    ask(form(visitor, stack, "restauration-scolaire"), "impots", NUMBERS)
    expect(visitor.page.locator("#prix")).to_be_visible()
    logged = (ROOT / FOLDER / "portail.log").read_text()
    assert not any(number in logged for number in NUMBERS.values())


@pytest.mark.parametrize("value", ["", "off", "false", "non"])
def test_a_box_of_another_value_is_no_agreement(stack: Stack, value: str) -> None:
    typed = TYPED["impots"] | {"accord": value}
    assert requests.post(portal(stack, "restauration-scolaire/impots"), typed, timeout=60).status_code == 400


def test_without_an_agreement_the_portal_shows_no_price(stack: Stack, visitor: Visit) -> None:
    page = form(visitor, stack, "restauration-scolaire")
    ask(page, "impots", NUMBERS, agree=False)
    expect(page.get_by_text("Sans votre accord")).to_be_visible()
    expect(page.locator("#prix")).to_have_count(0)
    visitor.faults.clear()  # the browser logs the status of the refused form
    visitor.check("portail-sans-accord")


def test_unknown_numbers_get_a_message_for_parents(stack: Stack, visitor: Visit) -> None:
    page = form(visitor, stack, "restauration-scolaire")
    ask(page, "impots", NUMBERS | {"numeroFiscal": "2690000009999"})
    expect(page.get_by_text("Ces numéros ne correspondent à aucun dossier")).to_be_visible()
    visitor.faults.clear()
    visitor.check("portail-refus")


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_citizens_log_shows_the_call_of_the_portal(stack: Stack, chromium: Browser, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = form(visitor, stack, "restauration-scolaire")
        ask(page, "impots", NUMBERS)
        consent = page.locator("#accord").inner_text()
        page.get_by_role("link", name="Voir la trace de cette consultation").click()
        ask_the_log(page, "2690000009999")
        expect(page.get_by_text("Ces numéros ne correspondent à aucun dossier")).to_be_visible()
        visitor.faults.clear()  # the browser logs the status
        ask_the_log(page, NUMBERS["numeroFiscal"])
        row = page.locator("#acces tbody tr").first
        for text in (
            "Ville de Fictive",
            SERVICES["restauration-scolaire"].finalite,
            f"avec votre accord nº {consent}",
            "Revenu fiscal de référence",
            "Données transmises",
        ):
            expect(row).to_contain_text(text)
        assert not any(number in page.url for number in NUMBERS.values())
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        visitor.check("site-mes-acces-trace")


def ask_the_log(page: Page, number: str) -> None:
    page.locator("#numeroFiscal").fill(number)
    page.locator("#referenceAvis").fill(NUMBERS["referenceAvis"])
    page.get_by_role("button", name="Voir les consultations").click()
