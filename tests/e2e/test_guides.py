"""The guides' programs and the client that they share, run as they are written, against the deployed stack."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from flask import Flask, Response
from flask import request as asked

from sandbox.simulators import PEOPLE, caf, svair
from tests.support.stack import Stack
from tests.support.template import ROOT
from tests.support.wire import serve

TEXTS: Final = {path.stem: path.read_text() for path in sorted((ROOT / "docs/guides").glob("*.md"))}
SHARED: Final = "programmes"
GUIDES: Final = [guide for guide in TEXTS if guide != SHARED]
NODE: Final = ROOT / ".local/tools/node/bin/node"
SUFFIXES: Final = {"python": ".py", "javascript": ".mjs", "php": ".php", "shell": ".sh"}
DATED: Final = {"_id", "annee", "anneeImpots", "anneeRevenus", "dateReference", "mois"}
"""Fields that depend on the date, or on the stack."""


def block(guide: str, language: str) -> str:
    """Return the only block of a guide in a language."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[guide], re.MULTILINE | re.DOTALL)
    assert isinstance(found, str)
    return found


def interpreter(language: str) -> list[str]:
    """Return the command that runs a program; skip, visibly, where it is not installed."""
    match language:
        case "python":
            return [sys.executable]
        case "javascript":
            return [str(NODE)]
        case "php":
            php = shutil.which("php")
            if (
                php is None
                or "curl" not in subprocess.run([php, "-m"], capture_output=True, text=True, check=True).stdout
            ):
                pytest.skip("php, with its curl extension, is not installed here (Debian: php-cli php-curl)")
            return [php]
    return ["/bin/sh"]


def run(guide: str, language: str, folder: Path, url: str, key: str) -> subprocess.CompletedProcess[str]:
    citizen, family = svair.people(PEOPLE / "avis.toml")[0], caf.familles(PEOPLE / "familles.toml")[0]
    program = (folder / guide).with_suffix(SUFFIXES[language])
    program.write_text(block(guide, language))
    (folder / "api_particulier").with_suffix(SUFFIXES[language]).write_text(block(SHARED, language))
    return subprocess.run(
        [*interpreter(language), program],
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "API_PARTICULIER_URL": url,
            "API_PARTICULIER_CLE": key,
            "NUMERO_FISCAL": citizen.numero_fiscal,
            "REFERENCE_AVIS": citizen.reference_avis,
            "NUMERO_ALLOCATAIRE": family.numero_allocataire,
            "CODE_POSTAL": family.code_postal,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


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


@pytest.mark.parametrize("language", ["python", "javascript", "php"])
def test_a_program_without_a_response_prints_no_personal_data(tmp_path: Path, language: str) -> None:
    done = run("ccas", language, tmp_path, "http://127.0.0.1:9", "0" * 64)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == "API Particulier ne répond pas, réessayez plus tard"


@pytest.mark.parametrize("language", ["python", "javascript", "php"])
def test_a_program_waits_for_retry_after_and_calls_again(tmp_path: Path, language: str) -> None:
    calls: list[str] = []
    api = Flask(__name__)

    @api.get("/<path:_>")
    def answer(_: str) -> Response:
        calls.append(asked.headers["X-User"])
        if len(calls) == 1:
            busy = {"error": "network_error", "reason": "", "message": "occupé"}
            return Response(json.dumps(busy), 503, {"Retry-After": "1"})
        return Response(json.dumps({"name": "Ville de Fictive", "revenuFiscalReference": 1}))

    with serve(api) as url:
        done = run("editeur", language, tmp_path, url, "0" * 64)
    assert done.stdout == "Ville de Fictive : revenu fiscal de référence 1 €\n", done.stderr
    assert calls == ["agent-42"] * 3
