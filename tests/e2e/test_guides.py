"""The guides' programs and the client that they share, run as they are written, against the deployed stack."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.guides import GUIDES, SUFFIXES, block, run
from tests.support.stack import Stack
from tests.support.template import ROOT

DATED: Final = {"_id", "annee", "anneeImpots", "anneeRevenus", "dateReference", "mois", "foyerFiscal"}
"""Fields that depend on the date, or on the stack."""


@pytest.mark.parametrize("language", ["python", "javascript", "php"])
@pytest.mark.parametrize("guide", GUIDES)
def test_a_program_prints_the_result_shown_in_its_guide(
    stack: Stack, tmp_path: Path, guide: str, language: str
) -> None:
    done = run(guide, language, tmp_path, stack.api_url, stack.api_key)
    assert (done.returncode, done.stdout, done.stderr) == (0, block(guide, "text"), "")


@pytest.mark.parametrize("guide", GUIDES)
def test_curl_gets_the_response_shown_in_the_guide(stack: Stack, tmp_path: Path, guide: str) -> None:
    done = run(guide, "shell", tmp_path, stack.api_url, stack.api_key)
    assert (done.returncode, done.stderr) == (0, "")
    assert undated(json.loads(done.stdout)) == undated(json.loads(block(guide, "json")))


def undated(answer: dict[str, Any]) -> dict[str, Any]:
    assert isinstance(answer, dict)
    return {name: "" if name in DATED else value for name, value in answer.items()}


@pytest.mark.parametrize("language", SUFFIXES)
@pytest.mark.parametrize("guide", ["ccas", "editeur"])
def test_a_refusal_prints_the_message_of_the_api_and_not_the_key(
    stack: Stack, tmp_path: Path, guide: str, language: str
) -> None:
    key = "0" * 64
    done = run(guide, language, tmp_path, stack.api_url, key)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    assert "Votre jeton d'API n'a pas été trouvé ou n'est pas actif" in printed
    assert key not in printed


@pytest.mark.parametrize("page", ["cantine", "creche"])
def test_curl_gets_by_identity_the_data_that_the_page_shows(stack: Stack, page: str) -> None:
    text = (ROOT / f"docs/identite/{page}.md").read_text()
    (program,), (shown,) = (re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL) for kind in ("shell", "json"))
    address = {"API_PARTICULIER_V3_URL": stack.description["v3_url"], "API_PARTICULIER_CLE": stack.api_key}
    done = subprocess.run(
        ["/bin/sh", "-c", program], env=os.environ | address, capture_output=True, text=True, check=True, timeout=60
    )
    ((name, expected),) = json.loads(shown)["data"].items()
    received = json.loads(done.stdout)["data"][name]
    changing = {"annee", "mois", "annee_calcul", "mois_calcul"} if page == "cantine" else set[str]()
    assert received.keys() == expected.keys()
    assert {key: value for key, value in received.items() if key not in changing} == {
        key: value for key, value in expected.items() if key not in changing
    }
