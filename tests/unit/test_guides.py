"""The guides: one for each use case of the site, one for vendors, and the page of programs that they share."""

import re

import pytest

from tests.support.openapi import document
from tests.support.scopes import CNAF, DGFIP
from tests.support.template import ROOT

SHARED = "programmes"
USE_CASES = [
    "portail-famille-tarif-restauration-scolaire",
    "portail-famille-tarif-activite-periscolaire",
    "portail-famille-petite-enfance",
    "portail-famille-pass-famille",
    "ccas",
]
GUIDES = {path.stem: path.read_text() for path in (ROOT / "docs/guides").glob("*.md")}
OWN = [*USE_CASES, "editeur"]
"""The guides that call the shared client."""
TIMEOUTS = {"python": "timeout=", "javascript": "AbortSignal.timeout", "php": "CURLOPT_TIMEOUT", "shell": "--max-time"}
"""Each language with the option that bounds its call in time."""


def block(guide: str, language: str) -> str:
    """Return the only block of a guide in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", GUIDES[guide], re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"docs/guides/{guide}.md has {len(found)} blocks of {language}"
    return str(found[0])


def test_there_is_a_guide_for_each_use_case_and_for_vendors() -> None:
    assert GUIDES.keys() == {*OWN, SHARED}


@pytest.mark.parametrize("language", TIMEOUTS)
def test_the_client_has_a_timeout_and_reads_its_key_from_the_environment(language: str) -> None:
    client = block(SHARED, language)
    assert TIMEOUTS[language] in client
    assert "API_PARTICULIER_CLE" in client
    assert "API_PARTICULIER_URL" in client


@pytest.mark.parametrize("language", TIMEOUTS)
@pytest.mark.parametrize("guide", GUIDES)
def test_a_program_contains_no_address(guide: str, language: str) -> None:
    assert not re.search("https?://", block(guide, language))


@pytest.mark.parametrize("language", TIMEOUTS)
@pytest.mark.parametrize("guide", OWN)
def test_a_guide_calls_the_shared_client_and_has_none_of_its_own(guide: str, language: str) -> None:
    program = block(guide, language)
    assert "demander" in program
    assert "api_particulier" in program
    assert "X-API-Key" not in program


@pytest.mark.parametrize("guide", OWN)
def test_a_guide_leads_to_the_page_of_programs(guide: str) -> None:
    assert "](programmes.md)" in GUIDES[guide]


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_names_routes_and_scopes_that_exist(guide: str) -> None:
    routes = set(
        re.findall(r"[\"' `L](/(?:v2/[a-z-]+|introspect|status|keys/compromised|open-api\.yml))\b", GUIDES[guide])
    )
    assert routes
    assert {f"/api{route}" for route in routes} <= document()["paths"].keys()
    assert set(re.findall(r"`((?:dgfip|cnaf)_\w+)`", GUIDES[guide])) <= DGFIP.keys() | CNAF.keys()
