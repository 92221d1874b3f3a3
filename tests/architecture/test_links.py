"""Links between the project's documents, and from its code to them, lead to pages and sections that exist."""

import re
from pathlib import Path

import pytest

from tests.architecture.test_repository import files
from tests.support.template import ROOT

MARKDOWN = sorted(str(path.relative_to(ROOT)) for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
CITED = re.compile(r"(?<![\w/])(docs/[\w/-]+\.md)((?:#[\w-]+)?)")


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's titles, as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def is_found(page: Path, anchor: str) -> bool:
    return page.exists() and (not anchor or anchor.removeprefix("#") in anchors(page))


@pytest.mark.parametrize("name", MARKDOWN)
def test_the_links_of_a_page_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)\s:#]*)((?:#[\w-]+)?)\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL))
    lost = [f"{path}{anchor}" for path, anchor in links if not is_found(page.parent / path if path else page, anchor)]
    assert lost == []


@pytest.mark.parametrize("name", sorted(set(MARKDOWN) - {"docs/adding-a-dataset.md"}))
def test_the_files_that_a_page_names_exist(name: str) -> None:
    named = re.findall(
        r"`((?:bench|functions|layers|load|ops|release|sandbox|tests|website)/[\w./-]+)`", (ROOT / name).read_text()
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_a_page_that_the_code_cites_exists() -> None:
    cited = {
        f"{name}: {page}{anchor}"
        for name, text in files().items()
        if name.endswith((".py", ".yaml", ".toml", "Makefile"))
        for page, anchor in CITED.findall(text)
        if not is_found(ROOT / page, anchor)
    }
    assert cited == set()


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs/decisions/README.md").read_text()
    pages = [path.name for path in (ROOT / "docs/decisions").glob("0*.md")]
    assert [name for name in pages if f"({name})" not in index] == []
