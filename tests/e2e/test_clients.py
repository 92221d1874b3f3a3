"""What callers start from: the collection of requests, and the Python client made from the documentation."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from release import client
from release.collection import collection
from tests.support.stack import NUMBERS, Stack
from tests.support.template import ROOT

NEWMAN = ROOT / ".local/newman/node_modules/newman/bin/newman.js"
JOURNEY = """
import sys
from api_particulier_client import AuthenticatedClient
from api_particulier_client.api.dgfip import revenu_fiscal_reference
from api_particulier_client.api.services import introspect
from api_particulier_client.models import Erreur

url, key, number, reference = sys.argv[1:]
def caller(key):
    return AuthenticatedClient(base_url=url, token=key, prefix="", auth_header_name="X-API-Key")
numbers = {"numero_fiscal": number, "reference_avis": reference}
with caller(key) as api:
    print(introspect.sync(client=api).name)
    notice = revenu_fiscal_reference.sync(client=api, **numbers, x_consent="cantine-42")
    print(notice.revenu_fiscal_reference, notice.nombre_parts)
with caller("0" * 64) as api:
    refused = revenu_fiscal_reference.sync_detailed(client=api, **numbers)
    print(int(refused.status_code), isinstance(refused.parsed, Erreur), refused.parsed.error)
"""


def base_url(stack: Stack) -> str:
    return stack.api_url.removesuffix("/api")


def test_the_generated_client_plays_the_journey_of_a_town(stack: Stack, tmp_path: Path) -> None:
    if not client.TOOLS.exists():
        pytest.skip("the generator of the client is not installed: make client")
    wheel = client.build()
    program = tmp_path / "journey.py"
    program.write_text(JOURNEY)
    done = subprocess.run(
        [client.TOOLS / "python", program, base_url(stack), stack.api_key, *NUMBERS.values()],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Ville de démonstration", "37960 3", "401 True access_denied"]


def test_the_collection_runs_by_its_own_runner(stack: Stack, tmp_path: Path) -> None:
    if not NEWMAN.exists():
        pytest.skip("newman is not installed: make client")
    report = tmp_path / "report.json"
    variables = [f"url={base_url(stack)}", f"url_v3={stack.description['v3_url']}", f"cle={stack.api_key}"]
    done = subprocess.run(
        [
            *(ROOT / ".local/tools/node/bin/node", NEWMAN, "run", ROOT / "docs/collection.json"),
            *(option for variable in variables for option in ("--env-var", variable)),
            *("--delay-request", "100", "--reporters", "cli,json", "--reporter-json-export", report),
        ],
        env={"PATH": os.environ["PATH"], "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    run = json.loads(report.read_text())["run"]
    assert run["stats"]["assertions"]["failed"] == 0
    assert run["stats"]["requests"]["total"] == sum(len(folder["item"]) for folder in collection()["item"]) > 20
