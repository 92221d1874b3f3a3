"""The guides' programs, run as they are written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sandbox.simulators import PEOPLE, caf, svair
from tests.support.template import ROOT

TEXTS: Final = {path.stem: path.read_text() for path in sorted((ROOT / "docs/guides").glob("*.md"))}
SHARED: Final = "programmes"
GUIDES: Final = [guide for guide in TEXTS if guide != SHARED]
"""The guides that call the shared client."""
NODE: Final = ROOT / ".local/tools/node/bin/node"
SUFFIXES: Final = {"python": ".py", "javascript": ".mjs", "php": ".php", "shell": ".sh"}


def block(guide: str, language: str) -> str:
    """Return the only block of a guide in a language."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[guide], re.MULTILINE | re.DOTALL)
    assert len(found) == 1, f"docs/guides/{guide}.md has {len(found)} blocks of {language}"
    return str(found[0])


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


def numbers() -> dict[str, str]:
    """Return the numbers of the first fictional citizen and family, by the programs' environment variables."""
    citizen, family = svair.people(PEOPLE / "avis.toml")[0], caf.familles(PEOPLE / "familles.toml")[0]
    return {
        "NUMERO_FISCAL": citizen.numero_fiscal,
        "REFERENCE_AVIS": citizen.reference_avis,
        "NUMERO_ALLOCATAIRE": family.numero_allocataire,
        "CODE_POSTAL": family.code_postal,
    }


def run(guide: str, language: str, folder: Path, url: str, key: str, **asked: str) -> subprocess.CompletedProcess[str]:
    """Run a program of a guide in a folder, with the numbers of ``asked`` in place of the first people's."""
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
            **numbers(),
            **asked,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
