"""The guides: one for each use case of the site, one for vendors, and the page of programs that they share."""

import re
from collections import defaultdict

import pytest

from api_particulier.scopes import fields_of
from ops.functions import datasets
from release import website
from release.usages import Usage, donnees, jeux, usages
from sandbox.town.demarches import Demarche, demarches
from tests.support.guides import GUIDES as OWN
from tests.support.guides import SHARED, block
from tests.support.guides import TEXTS as GUIDES
from tests.support.openapi import document
from tests.support.scopes import CNAF, DGFIP, DSS

USE_CASES = {usage.guide for usage in usages()}
TIMEOUTS = {"python": "timeout=", "javascript": "AbortSignal.timeout", "php": "CURLOPT_TIMEOUT", "shell": "--max-time"}
"""Each language with the option that bounds its call in time."""


def test_there_is_a_guide_for_each_use_case_and_for_vendors() -> None:
    assert GUIDES.keys() == {*USE_CASES, "editeur", SHARED}


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


@pytest.mark.parametrize("guide", sorted(USE_CASES))
def test_the_programs_of_a_guide_ask_for_what_its_use_cases_need(guide: str) -> None:
    needed = {demande.route for usage in usages() if usage.guide == guide for demande in usage.demandes}
    for language in ("python", "javascript", "php"):
        assert set(re.findall(r"/v2/[a-z-]+", block(guide, language))) <= needed


@pytest.mark.parametrize("usage", usages(), ids=lambda usage: usage.id)
def test_a_use_case_needs_every_scope_that_it_asks_for(usage: Usage) -> None:
    """Each scope opens a field of the route that it is asked for, and no bundle is asked for."""
    for demande in usage.demandes:
        (opened,) = {
            frozenset(scope for _, scope in fields_of(dataset.routes[route]))
            for dataset in datasets()
            for route in dataset.routes
            if route == demande.chemin
        }
        assert set(demande.portees) <= opened


def test_every_scope_and_every_dataset_has_a_name_in_french() -> None:
    assert donnees().keys() == DGFIP.keys() | CNAF.keys() | DSS.keys()
    assert [name for name, french in jeux().items() if name == french] == []


@pytest.mark.parametrize("service", demarches(), ids=lambda service: service.chemin)
def test_the_town_asks_for_exactly_what_its_use_case_needs(service: Demarche) -> None:
    assert service.portees == set(service.cas.portees)
    assert {scope for source in service.sources for scope in service.portees_de(source)} == service.portees


def test_the_request_form_asks_for_exactly_what_each_use_case_needs() -> None:
    pages = dict(website.pages(defaultdict(str)))
    asked = re.findall(r'<option value="(.+?)" data-scopes="(.+?)">', pages["demande-acces"])
    assert asked == [(usage.id, ",".join(usage.portees)) for usage in usages()]
