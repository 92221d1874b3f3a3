"""``make load`` on the deployed stack for a few seconds: its report, its plot and its keys."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from load.plan import for_fictional_people
from tests.support.stack import FOLDER, NUMBERS, RFR_ROUTE, Stack
from tests.support.template import ROOT

pytestmark = pytest.mark.skipif(
    not (ROOT / ".local/tools/load/.ready").exists(), reason="Locust is not installed: `make test` and `make load` do"
)

V3 = "/v3/dss/quotient_familial/identite"


def load(*options: str) -> dict[str, Any]:
    """Run two towns at their limit for two seconds, and return the report."""
    process = subprocess.run(
        [sys.executable, "-m", "load", "--json", "--scenario", "limit", "--seconds", "2", "--in-flight", "2", *options],
        cwd=ROOT,
        env=os.environ | {"LOCAL_STACK": FOLDER},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    report: dict[str, Any] = json.loads(process.stdout)
    assert (ROOT / report["plot"]).read_text().startswith("<?xml")
    assert not (ROOT / FOLDER / "load/plan.json").exists()  # it has the keys in clear
    assert (report["calls"], report["errors"]) == (80, 0)
    assert report["fairness"] == {"keysWithinLimit": 2, "theirCalls": 80, "theirThrottled": 0}
    return report


def test_all_calls_of_towns_at_their_limit_succeed_and_their_keys_are_revoked_afterwards(stack: Stack) -> None:
    report = load("--towns", "2")
    assert [route["statuses"] for route in report["routes"]] == [{"200": 80}]
    issued = [key for key in stack.run_cli("keys", "list") if key["organisation"].startswith("Essai de charge")]
    assert {key["state"] for key in issued} == {"revoked"}
    assert len(issued) >= 2


def test_a_load_with_given_keys_and_questions_uses_them_and_leaves_the_keys_active(
    stack: Stack, tmp_path: Path
) -> None:
    keys, questions = tmp_path / "keys", tmp_path / "questions"
    scopes = ("dgfip_revenu_fiscal_reference", "cnaf_quotient_familial")
    keys.write_text("".join(f"{stack.issue_key(*scopes)['key']}\n" for _ in range(2)))
    asked = {
        route: next(each for each in for_fictional_people() if each["route"] == route) for route in (RFR_ROUTE, V3)
    }
    questions.write_text("".join(json.dumps(each) + "\n" for each in asked.values()))
    deployed = ("--url", stack.api_url, "--v3-url", str(stack.description["v3_url"]))
    report = load(*deployed, "--keys", str(keys), "--questions", str(questions))
    assert {route["route"] for route in report["routes"]} == {RFR_ROUTE, V3}
    assert all(route["statuses"].keys() == {"200"} for route in report["routes"])
    assert stack.get(RFR_ROUTE, key=keys.read_text().split()[0], **NUMBERS).status_code == 200  # not revoked
