"""Pages of the website in Debian's Chromium, around an API that is played: what no stack shows at will."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request
from playwright.sync_api import Browser, Page, expect

from tests.support.browser import DESKTOP, PHONE, visit
from tests.support.site import build_site, serve_site

KEY, SECRET = "0123456789abcdef" * 4, "s" * 43
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
