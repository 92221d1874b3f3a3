"""The pages of the website, in Debian's Chromium, on the deployed stack."""

import re
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from playwright.sync_api import Browser, expect

from ops.functions import datasets
from release.usages import usages
from release.website import DATAPASS, guides
from tests.support.browser import DESKTOP, PHONE, Visit, save_figures, visit
from tests.support.datapass import VENDOR_SIRET
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

GUIDES = sorted(guides())
PAGES = [
    *("", "documentation", "statistiques", "statut", "demande-acces", "mes-acces"),
    *("accessibilite", "mentions-legales", "donnees-personnelles", *GUIDES),
]


def site(stack: Stack, path: str = "") -> str:
    return f"{stack.description['site_url']}{path}"


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path or "accueil")
def test_a_page_opens_without_a_fault_or_a_request_to_another_host(
    stack: Stack, chromium: Browser, path: str, width: int
) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(site(stack, path))
        assert page.title().endswith(" - API Particulier")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        visitor.check(f"site-{path.replace('/', '-') or 'accueil'}")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path or "accueil")
def test_every_link_within_the_site_leads_somewhere(stack: Stack, path: str) -> None:
    page = requests.get(site(stack, path), timeout=60)
    links = {link for link in re.findall(r'href="([^"#]+)', page.text) if not urlsplit(link).scheme}
    dead = [link for link in links if requests.get(urljoin(page.url, link), timeout=60).status_code != 200]
    assert dead == []


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_home_page_transfers_less_than_200_kb(stack: Stack, chromium: Browser, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(site(stack))
        expect(page.locator("#nombre")).to_have_text(re.compile(r"^\d"))
        page.wait_for_load_state("networkidle")
        interactive = page.evaluate("performance.getEntriesByType('navigation')[0].domInteractive")
        save_figures(
            f"budget-{width}", {"transferred_bytes": visitor.transferred, "interactive_ms": round(interactive)}
        )
        assert 0 < visitor.transferred < 200_000


def test_the_keyboard_reaches_the_content_first_and_opens_the_menu_of_a_phone(stack: Stack, chromium: Browser) -> None:
    with visit(chromium, PHONE) as visitor:
        page = visitor.open(site(stack))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.getAttribute('href')") == "#contenu"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "contenu"
        page.locator("#ouvrir-menu").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("link", name="Statistiques", exact=True)).to_be_visible()
        visitor.check("site-menu")
        page.keyboard.press("Escape")
        expect(page.get_by_role("link", name="Statistiques", exact=True)).to_be_hidden()


def test_the_documentation_calls_the_api_that_serves_it(stack: Stack, visitor: Visit) -> None:
    page = visitor.open(site(stack, "documentation"))
    page.get_by_role("button", name="S’identifier").click()
    page.locator("#api_key_value").fill(stack.api_key)
    visitor.check("site-documentation-cle")
    page.locator(".auth-btn-wrapper .authorize").first.click()
    page.locator(".btn-done").first.click()
    operation = page.locator(".opblock", has=page.locator('[data-path="/api/v2/revenu-fiscal-reference"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Interroger").click()
    response = operation.locator(".live-responses-table")
    expect(response.locator("pre").filter(has_text="revenuFiscalReference").first).to_be_visible()
    visitor.check("site-documentation-essai")


def test_the_statistics_show_30_days_and_download_as_csv(stack: Stack, visitor: Visit) -> None:
    assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
    page = visitor.open(site(stack, "statistiques"))
    figures = stack.get("/stats/details", key="").json()
    expect(page.locator("#nombre")).to_have_text(re.compile(r"^\d"))
    assert len(page.locator("#graphique rect").all()) == len(figures["parJour"]) == 30
    page.locator("summary").click()
    assert len(page.locator("#par-jour tbody tr").all()) == 30
    with page.expect_download() as downloading:
        page.get_by_text("Télécharger les chiffres par jour").click()
    lines = downloading.value.path().read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "date;reponses"
    assert [line.split(";")[0] for line in lines[1:]] == [day["date"] for day in figures["parJour"]]
    visitor.check("site-statistiques-tableau")


def test_the_status_page_shows_every_provider_and_dataset(stack: Stack, visitor: Visit) -> None:
    page = visitor.open(site(stack, "statut"))
    status = stack.get("/status", key="").json()
    expect(page.locator("#fournisseurs h3")).to_have_text(
        ["DGFIP (données fiscales)", "CAF (données familiales)", "API-SECU (CNAF et MSA, par l’identité)"]
    )
    assert len(page.locator("#jeux tbody tr").all()) == len(status["jeuxDeDonnees"]) == len(datasets())


# ── Requesting access ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_only_an_administration_may_request_access(stack: Stack, visitor: Visit) -> None:
    page = visitor.open(site(stack, "demande-acces"))
    page.get_by_text("Un particulier ou une entreprise").first.click()
    expect(page.get_by_role("heading", name="Vous n’êtes pas éligible")).to_be_visible()
    expect(page.locator("#preparer")).to_be_hidden()
    visitor.check("site-demande-acces-particulier")


@pytest.mark.parametrize(
    ("kind", "applicant", "response"),
    [
        ("administration", "Une collectivité ou une administration", "Vous êtes éligible"),
        ("editeur", "Un éditeur de logiciel", "Vous êtes éligible sous conditions"),
    ],
)
def test_an_administration_and_a_vendor_get_a_prefilled_datapass_request(
    stack: Stack, visitor: Visit, kind: str, applicant: str, response: str
) -> None:
    page = visitor.open(site(stack, "demande-acces"))
    page.get_by_role("radio", name=applicant).check(force=True)
    expect(page.get_by_role("heading", name=response, exact=True)).to_be_visible()
    page.get_by_role("button", name="Préparer ma demande").click()
    expect(page.get_by_text("Choisissez une démarche.")).to_be_visible()
    page.locator("#usage").select_option(label="Tarification de la restauration scolaire")
    page.locator("#siret").fill(
        "210 000 000 00013"
    )  # the check digit of the SIRET is right, that of its SIREN is wrong
    page.get_by_role("button", name="Préparer ma demande").click()
    expect(page.locator("#siret-messages")).to_contain_text("Ce numéro n’est pas un SIRET")
    visitor.check(f"site-demande-acces-{kind}-erreur")
    page.locator("#siret").fill("210 000 154 00018")
    more: dict[str, list[str]] = {}
    if kind == "editeur":
        page.get_by_role("button", name="Préparer ma demande").click()
        expect(page.get_by_text("Justifiez votre demande")).to_be_visible()
        expect(page.locator("#prete")).to_be_hidden()
        page.locator("#siret-editeur").fill(VENDOR_SIRET)
        page.locator("#justification").fill("La ville nous confie sa cantine.")
        more = {"siret_editeur": [VENDOR_SIRET], "justification": ["La ville nous confie sa cantine."]}
    else:
        expect(page.locator("#siret-editeur")).to_be_hidden()
    page.get_by_role("button", name="Préparer ma demande").click()
    link = urlsplit(page.get_by_role("link", name="Remplir une demande sur DataPass").get_attribute("href") or "")
    assert f"{link.scheme}://{link.netloc}{link.path}" == f"{DATAPASS}/api-particulier"
    assert (
        parse_qs(link.query)
        == {
            "demandeur": [kind],
            "siret": ["21000015400018"],
            "intitule": ["Tarification de la restauration scolaire"],
            "scopes": [",".join(usages()[0].portees)],
        }
        | more
    )
    visitor.check(f"site-demande-acces-{kind}")
