"""Pages of the website in Debian's Chromium, around an API that is played: what no stack shows at will."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, jsonify, request
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import DESKTOP, PHONE, visit
from tests.support.site import build_site, serve_site
from tests.support.template import ROOT

KEY, SECRET = "0123456789abcdef" * 4, "s" * 43
pytestmark = pytest.mark.slow
WIDTHS = pytest.mark.parametrize("width", [DESKTOP, PHONE])


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


class Api(Flask):
    """The routes that pages call, with their responses by path."""

    def __init__(self) -> None:
        super().__init__("api")
        self.links = [SECRET]
        self.add_url_rule("/api/cles/remise", view_func=self.redeem, methods=["POST"])

    def redeem(self) -> Response:
        """Show the key once."""
        secret = request.get_json()["lien"]
        if not secret:
            return _json(400, message='Le corps de la requête doit être {"lien": "…"}, en JSON.')
        if secret not in self.links:
            return _json(410, message="Ce lien a déjà été ouvert : une autre personne a peut-être votre clé.")
        self.links.remove(secret)
        return _json(200, cle=KEY, jeton="1", organisation="Ville de Fictive", expire=None)


class Documented(Flask):
    """The public routes, with a response of each."""

    def __init__(self, *, kept: bool | None = True) -> None:
        super().__init__("documented")
        provider = {"etat": "disponible", "verifieA": "2026-11-25T08:58:00Z", "disponibilite30j": 99.9}
        status = {
            "genereA": "2026-11-25T09:00:00Z",
            "etat": "disponible",
            "fournisseurs": {"dgfip": provider},
            "engagement": {"seuil": 95, "tenu": kept},
            "jeuxDeDonnees": {},
            "historique": {},
            "incidents": [],
            "maintenances": [],
        }
        days = [{"date": f"2026-11-{day:02}", "total": 1234 * day} for day in range(1, 31)]
        figures = {"periode": {"debut": "2026-11-01", "fin": "2026-11-30"}, "total": 9, "parJour": days}
        access = {
            "date": "2026-11-24T09:12:31+00:00",
            "administration": "Ville de Fictive",
            "siret": "21000015400018",
            "finalite": "Cantine",
            "accord": "cantine-42",
            "jeuDeDonnees": "revenu_fiscal_reference",
            "champs": ["revenuFiscalReference", "nombreParts"],
            "statut": 200,
            "nombre": 3,
        }
        refused = access | {"champs": [], "statut": 503, "accord": None, "nombre": 1}
        log = {"periode": figures["periode"], "total": 4, "acces": [access, refused], "suivant": None}
        bodies = {
            "api/status": status,
            "api/stats": 9,
            "api/stats/details": figures | {"parJeuDeDonnees": {}},
            "api/citoyen/acces": log,
        }
        for path, body in bodies.items():
            self.add_url_rule(f"/{path}", path, lambda body=body: jsonify(body))
        document = (ROOT / "docs/openapi.yaml").read_text()
        self.add_url_rule("/documentation-open-api.yaml", "document", lambda: Response(document))


def _json(status: int, **body: Any) -> Response:
    return Response(json.dumps(body), status, {"Content-Type": "application/json"})


@pytest.fixture
def url(built: Path) -> Iterator[str]:
    with serve_site(built, Api()) as served:
        yield served


def displayed(page: Page, selector: str) -> bool:
    """Return whether the browser gives an element a place, whatever its attributes say."""
    style = page.locator(selector).evaluate("element => getComputedStyle(element).display")
    return bool(style != "none")


# ── The page that shows a key ─────────────────────────────────────────────────────────────────────────────────────────


@WIDTHS
def test_the_key_stays_in_its_page_and_its_button_goes_away(chromium: Browser, url: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(f"{url}api/cles/remise#{SECRET}")
        assert displayed(page, "#montrer")
        page.locator("#montrer").click()
        expect(page.locator("#cle")).to_have_text(KEY)
        assert not displayed(page, "#montrer")
        page.evaluate("document.getElementById('montrer').click()")  # a second click that was already on its way
        page.wait_for_load_state("networkidle")
        expect(page.locator("#cle")).to_have_text(KEY)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        visitor.check("site-cle")


@WIDTHS
def test_a_reload_before_the_key_is_shown_changes_nothing(chromium: Browser, url: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(f"{url}api/cles/remise#{SECRET}")
        page.reload()
        page.locator("#montrer").click()
        expect(page.locator("#cle")).to_have_text(KEY)


@WIDTHS
def test_a_reload_after_the_key_was_shown_says_what_to_do(chromium: Browser, url: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(f"{url}api/cles/remise#{SECRET}")
        page.locator("#montrer").click()
        expect(page.locator("#cle")).to_have_text(KEY)
        assert SECRET not in page.url
        page.reload()
        expect(page.locator("#message")).to_contain_text("demandez un nouveau lien")
        assert not displayed(page, "#montrer")
        visitor.check("site-cle-rechargee")


@WIDTHS
@pytest.mark.parametrize("end", ["", "#", f"#{SECRET[:20]}"])
def test_a_link_that_was_cut_says_so(chromium: Browser, url: str, width: int, end: str) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(f"{url}api/cles/remise{end}")
        expect(page.locator("#message")).to_contain_text("ouvrez le lien du courriel en entier")
        assert not displayed(page, "#montrer")
        visitor.check("site-cle-coupee")


def test_a_link_opened_by_another_person_alerts_its_reader(chromium: Browser, url: str) -> None:
    with visit(chromium) as visitor:
        page = visitor.open(f"{url}api/cles/remise#{'t' * 43}")
        page.locator("#montrer").click()
        expect(page.locator("#message")).to_contain_text("une autre personne a peut-être votre clé")
        assert not displayed(page, "#montrer")


# ── What the style must not undo ──────────────────────────────────────────────────────────────────────────────────────


@WIDTHS
@pytest.mark.parametrize("path", ["demande-acces", "mes-acces", "statistiques", "statut", "guide/ccas"])
def test_what_is_hidden_has_no_place_in_the_page(chromium: Browser, url: str, path: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(f"{url}{path}")
        hidden = page.locator("[hidden]")
        styles = hidden.evaluate_all("all => all.map((element) => getComputedStyle(element).display)")
        assert set(styles) <= {"none"}


@WIDTHS
def test_the_steps_of_the_home_page_are_numbered(chromium: Browser, url: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(url)
        shown = page.locator(".ap-step").evaluate_all(
            "all => all.map((element) => getComputedStyle(element, '::before').content)"
        )
        number = page.locator(".ap-step").evaluate_all("all => all.map((element) => element.dataset.step)")
        assert number == ["1", "2", "3"]
        assert all("data-step" in content or content.strip('"') in number for content in shown)


@WIDTHS
def test_a_guide_has_tabs_and_copies_its_programs(chromium: Browser, url: str, width: int) -> None:
    with visit(chromium, width) as visitor:
        page = visitor.open(f"{url}guide/ccas")
        assert page.get_by_role("tab").all_inner_texts() == ["Python", "JavaScript", "PHP"]
        page.get_by_role("tab", name="PHP").click()
        assert page.get_by_role("tabpanel").inner_text().startswith("<?php")
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("tabpanel").get_by_role("button", name="Copier").click()
        expect(page.get_by_role("tabpanel").get_by_role("button")).to_have_text("Copié")
        assert "function commune" in page.evaluate("navigator.clipboard.readText()")
        visitor.check("site-guide-ccas-onglets")


@WIDTHS
def test_the_reference_is_in_french_from_its_first_word(chromium: Browser, built: Path, width: int) -> None:
    with serve_site(built, Documented()) as url, visit(chromium, width) as visitor:
        page = visitor.open(f"{url}documentation")
        expect(page.locator("#chargement")).to_be_hidden()
        operation = page.locator(".opblock", has=page.locator('[data-path="/api/v2/revenu-fiscal-reference"]'))
        operation.locator(".opblock-summary-control").click()
        expect(operation.get_by_role("button", name="Interroger")).to_be_visible()
        words = set(page.locator("#reference").inner_text().split("\n"))
        assert not words & {
            "Authorize",
            "Execute",
            "Parameters",
            "Responses",
            "Name",
            "Example Value",
            "Schema",
            "Links",
        }
        visitor.check("site-documentation-francais")


@WIDTHS
def test_the_access_log_names_data_and_refusals_for_a_citizen(chromium: Browser, built: Path, width: int) -> None:
    with serve_site(built, Documented()) as url, visit(chromium, width) as visitor:
        page = visitor.open(f"{url}mes-acces")
        page.locator("#numeroFiscal").fill("2690000000001")
        page.locator("#referenceAvis").fill("2690000000001")
        page.get_by_role("button", name="Voir les consultations").click()
        rows = page.locator("#acces tbody tr")
        expect(rows.first).to_contain_text("avec votre accord nº cantine-42")
        expect(rows.first).to_contain_text("Revenu fiscal de référence")
        expect(rows.first).to_contain_text("et 2 fois de plus ce jour-là")
        expect(rows.nth(1)).to_contain_text("le service ne répondait pas")
        text = page.locator("#acces").inner_text()
        assert not any(word in text for word in ("revenuFiscalReference", "503", "quotientFamilial"))
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        cells = rows.first.locator("td").evaluate_all("all => all.map((cell) => cell.getBoundingClientRect().right)")
        assert max(cells) <= width  # nothing of a row is out of sight
        visitor.check("site-mes-acces-jeu")


@WIDTHS
@pytest.mark.parametrize(("kept", "text"), [("oui", "% : tenu sur"), ("non", "non tenu sur"), ("", "pas encore")])
def test_the_status_says_whether_the_promise_was_kept(
    chromium: Browser, built: Path, width: int, kept: str, text: str
) -> None:
    with (
        serve_site(built, Documented(kept={"oui": True, "non": False}.get(kept))) as url,
        visit(chromium, width) as visitor,
    ):
        page = visitor.open(f"{url}statut")
        expect(page.locator("#engagement")).to_contain_text(text)
        visitor.check(f"site-statut-engagement-{kept or 'inconnu'}")


@WIDTHS
def test_the_labels_of_the_chart_can_be_read(chromium: Browser, built: Path, width: int) -> None:
    with serve_site(built, Documented()) as url, visit(chromium, width) as visitor:
        page = visitor.open(f"{url}statistiques")
        expect(page.locator("#graphique text").first).to_be_visible()
        heights = page.locator("#graphique text").evaluate_all(
            "all => all.map((label) => label.getBoundingClientRect().height)"
        )
        assert min(heights) >= 9
        visitor.check("site-statistiques-graphique")
