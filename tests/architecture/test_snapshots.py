"""SnapStart keeps what initialisation left: nothing that ages, nor that two environments must not share."""

import json
import random
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from api_particulier import aws
from tests.support.template import ROOT, resources

pytestmark = pytest.mark.slow


SNAPPED = [name for name, function in resources("AWS::Serverless::Function").items() if "SnapStart" in function]
INITIALISE = """
import json, socket, sys
def refuse(*_): raise AssertionError("a connection is made while a function initialises")
socket.socket.connect = refuse
import app
print(json.dumps(sorted(
    f"{module}.{name}"
    for module, loaded in list(sys.modules.items()) if module.startswith("api_particulier")
    for name, value in vars(loaded).items()
    if getattr(value, "__module__", None) == module and hasattr(value, "cache_info") and value.cache_info().currsize
)))
"""


def printed_at_start(function: str, program: str) -> str:
    """Run a program in a process that has only what a function has, and return what it prints."""
    folder = ROOT / resources("AWS::Serverless::Function")[function]["CodeUri"]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": f"{folder}:{ROOT / 'layers/common'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_every_dataset_starts_from_a_snapshot() -> None:
    functions = resources("AWS::Serverless::Function")
    on_each_call = {name for name, function in functions.items() if "DatasetConcurrency" in str(function)}
    assert set(SNAPPED) == on_each_call
    assert on_each_call


@pytest.mark.parametrize("function", SNAPPED)
def test_a_snapshot_holds_no_connection_no_key_and_no_setting(function: str) -> None:
    assert json.loads(printed_at_start(function, INITIALISE)) == []


def test_two_environments_of_a_snapshot_draw_other_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    restored: list[Any] = []
    runtime = SimpleNamespace(register_after_restore=restored.append)
    monkeypatch.setitem(sys.modules, "snapshot_restore_py", runtime)  # Lambda's runtime has it
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "a dataset")
    aws.prepare()
    snapshot = random.getstate()

    def draw() -> float:
        random.setstate(snapshot)
        for hook in restored:
            hook()
        return random.random()  # noqa: S311 - a pause is no secret

    assert draw() != draw()
