"""What callers start from: the collection of requests, and the Python client made from the documentation."""

import json
import os
import subprocess
import tarfile
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


JOURNEY_IN_JAVASCRIPT = """
import { connect } from "api-particulier-client";

declare const process: { argv: string[] };
const [url, v3, key, numeroFiscal, referenceAvis] = process.argv.slice(2) as [string, string, string, string, string];
const api = connect(url, key);
const query = { numeroFiscal, referenceAvis };
const me = await api.GET("/api/introspect");
console.log(me.data?.name);
const header = { "x-consent": "cantine-42" };
const notice = await api.GET("/api/v2/revenu-fiscal-reference", { params: { query, header } });
console.log(notice.data?.revenuFiscalReference, notice.data?.nombreParts);
const person = {
  recipient: "21000015400018", nomNaissance: "DELMAS", "prenoms[]": ["AMINATA", "ROSE"], sexeEtatCivil: "F" as const,
  anneeDateNaissance: "1988", moisDateNaissance: "3", jourDateNaissance: "12",
  codeCogInseeCommuneNaissance: "75111", codeCogInseePaysNaissance: "99100",
};
const family = await connect(v3, key).GET("/v3/dss/quotient_familial/identite", { params: { query: person } });
console.log(family.data?.data.quotient_familial?.valeur);
const refused = await connect(url, "0".repeat(64)).GET("/api/v2/revenu-fiscal-reference", { params: { query } });
console.log(refused.response.status, refused.error?.error);
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


def test_the_javascript_client_plays_the_journey_of_a_town(stack: Stack, tmp_path: Path) -> None:
    if not client.PACKAGES.exists():
        pytest.skip("the generator of the client is not installed: make client")
    modules = tmp_path / "node_modules"
    modules.mkdir()
    with tarfile.open(client.build_javascript()) as package:
        package.extractall(tmp_path, filter="data")
    (tmp_path / "package").rename(modules / "api-particulier-client")
    for dependency in ("openapi-fetch", "openapi-typescript-helpers"):
        (modules / dependency).symlink_to(client.PACKAGES / dependency)
    (tmp_path / "journey.mts").write_text(JOURNEY_IN_JAVASCRIPT)
    strict = ("--noEmit", "--strict", "--module", "nodenext", "--target", "es2022", "--lib", "es2022,dom")
    run_in(tmp_path, str(client.PACKAGES / ".bin/tsc"), *strict, "journey.mts")
    addresses = (base_url(stack), str(stack.description["v3_url"]))
    printed = run_in(tmp_path, "node", "journey.mts", *addresses, stack.api_key, *NUMBERS.values())
    assert printed.splitlines() == ["Ville de démonstration", "37960 3", "842", "401 access_denied"]


def run_in(folder: Path, *command: str) -> str:
    """Run a command with Node in a folder, and return what it prints."""
    path = {"PATH": f"{client.NODE}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


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
