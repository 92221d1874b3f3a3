"""The guides: one for each use case that the site shows, and one for vendors, each whole (tests/e2e runs them)."""

import re

import pytest

from tests.support.openapi import document
from tests.support.scopes import CNAF, DGFIP
from tests.support.template import ROOT

USE_CASES = [
    "portail-famille-tarif-restauration-scolaire",
    "portail-famille-tarif-activite-periscolaire",
    "portail-famille-petite-enfance",
    "portail-famille-pass-famille",
    "ccas",
]
GUIDES = {path.stem: path.read_text() for path in (ROOT / "docs/guides").glob("*.md")}
LANGUAGES = {"python": "timeout=", "javascript": "AbortSignal.timeout", "php": "CURLOPT_TIMEOUT", "shell": "--max-time"}
"""Each with what keeps its call from waiting for ever."""


def block(guide: str, language: str) -> str:
    found = re.findall(rf"^```{language}\n(.*?)^```$", GUIDES[guide], re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"docs/guides/{guide}.md has {len(found)} blocks of {language}"
    return str(found[0])


def test_there_is_a_guide_for_each_use_case_and_for_vendors() -> None:
    assert GUIDES.keys() == {*USE_CASES, "editeur"}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("guide", GUIDES)
def test_a_program_waits_for_a_time_and_reads_its_key_from_the_environment(guide: str, language: str) -> None:
    program = block(guide, language)
    assert LANGUAGES[language] in program
    assert "API_PARTICULIER_CLE" in program
    assert "API_PARTICULIER_URL" in program
    assert "http://" not in program
    assert "https://" not in program


@pytest.mark.parametrize("guide", GUIDES)
def test_a_guide_names_routes_and_scopes_that_exist(guide: str) -> None:
    routes = set(
        re.findall(r"[\"' `L](/(?:v2/[a-z-]+|introspect|status|keys/compromised|open-api\.yml))\b", GUIDES[guide])
    )
    assert routes
    assert {f"/api{route}" for route in routes} <= document()["paths"].keys()
    assert set(re.findall(r"`((?:dgfip|cnaf)_\w+)`", GUIDES[guide])) <= DGFIP.keys() | CNAF.keys()


@pytest.mark.parametrize("guide", USE_CASES)
@pytest.mark.parametrize(
    ("language", "end"), [("python", "    return reponse.json()\n"), ("javascript", "\n}\n"), ("php", "\n}\n")]
)
def test_the_client_is_the_same_in_every_use_case(guide: str, language: str, end: str) -> None:
    client = block(USE_CASES[0], language).split(end)[0]
    assert "demander" in client
    assert block(guide, language).startswith(client + end)


@pytest.mark.parametrize("guide", USE_CASES)
def test_the_rest_of_what_use_cases_share_is_the_same(guide: str) -> None:
    assert end_of(guide) == end_of(USE_CASES[0])


def end_of(guide: str) -> str:
    return GUIDES[guide].partition("\n## Quand l'API ne donne pas de réponse\n")[2]
