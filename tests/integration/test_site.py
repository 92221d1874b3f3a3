"""The site's function: pages, what they are made of, and what is not there."""

import re
from typing import Any

import pytest

from tests.support.function import Response, event, invoke
from tests.support.site import decode_page
from tests.support.template import ROOT

pytestmark = pytest.mark.usefixtures("site")


def read(name: str, *, path: str | None = None, **headers: str) -> Response:
    made = event(f"site/{name}", headers=headers)
    if path is not None:
        made |= {"path": path}
    return decode_page(invoke(made, "site"))


def test_the_home_page_is_a_page_that_loads_nothing_from_elsewhere() -> None:
    page = read("home")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert not re.findall(r"<style|style=|\bon\w+=|<script(?![^>]* src=)", page.text)
    for address in re.findall(r'(?:src|<link[^>]* href)="([^"]*)"', page.text):
        assert address.startswith("assets/")


def test_every_asset_of_a_page_exists_and_may_be_kept_for_ever() -> None:
    assets = set(re.findall(r'"(assets/[^"]+)"', read("home").text))
    assert assets
    for path in assets:
        asset = read("asset", path=f"/{path}")
        assert asset.status == 200
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("name", sorted(page.stem for page in (ROOT / "website/pages").glob("*.html")))
def test_no_two_elements_of_a_page_have_the_same_id(name: str) -> None:
    page = read("page", path="/" if name == "accueil" else f"/{name}")
    ids = re.findall(r'\bid="([^"]*)"', page.text)
    assert page.status == 200
    assert len(ids) == len(set(ids))


def test_a_browser_without_gzip_gets_the_same_page() -> None:
    plain = read("home", **{"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers
    assert plain.text == read("home").text
    assert plain.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize(("name", "path"), [("page", "/nulle-part"), ("guide", "/guide/nulle-part"), ("asset", None)])
def test_an_unknown_path_is_answered_404_by_a_page_whose_links_work(name: str, path: str | None) -> None:
    page = read(name, path=path)
    assert (page.status, page.headers["Cache-Control"]) == (404, "no-store")
    up = "../" if name == "guide" else ""
    assert f'href="{up}assets/' in page.text
    assert "nulle-part" not in page.text


@pytest.mark.parametrize(
    "path", ["/table.json", "/../table.json", "/__init__.py", "/assets/../table.json", "/openapi.yaml"]
)
def test_only_files_of_the_site_are_served(path: str) -> None:
    assert read("page", path=path).status == 404


def test_the_home_page_without_its_slash_sends_to_it() -> None:
    made: dict[str, Any] = event("site/home")
    made["requestContext"]["path"] = "/live"
    answer = invoke(made, "site")
    assert (answer.status, answer.headers["Location"]) == (302, "live/")


def test_nothing_about_the_reader_is_logged(capfd: pytest.CaptureFixture[str]) -> None:
    read("page", path="/numero-2690000000001")
    logged = capfd.readouterr().out
    assert '"route":"/{page}"' in logged
    assert "2690000000001" not in logged
    assert "203.0.113.7" not in logged
