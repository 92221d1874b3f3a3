"""What the local stack leaves out or bridges is listed from what it does, and nothing else is."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from sandbox import bridges
from sandbox.__main__ import main
from sandbox.bridges import BRIDGES, Deployed, deployable, left_out, listed, summary
from sandbox.stack import LocalStack
from tests.support.template import ROOT, template

BUILT: dict[str, dict[str, Any]] = {
    "Globals": {"Function": {"DeploymentPreference": {"Type": "Canary"}, "Timeout": 28}},
    "Resources": {
        "Page": {"Type": "AWS::CloudWatch::CompositeAlarm"},
        "Share": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": []}},
        "Count": {"Type": "AWS::CloudWatch::Alarm", "Properties": {"MetricName": "Count"}},
        "Table": {"Type": "AWS::DynamoDB::Table"},
    },
}


def test_what_is_left_out_is_what_is_not_deployed(tmp_path: Path) -> None:
    built = tmp_path / "template.yaml"
    built.write_text(yaml.safe_dump(BUILT))
    written = yaml.safe_load(deployable(built).read_text())
    assert BUILT["Resources"].keys() - written["Resources"].keys() == left_out(BUILT).keys() == {"Page", "Share"}
    assert written["Globals"] == {"Function": {"Timeout": 28}}


def test_every_function_that_changes_what_was_deployed_is_a_bridge_with_its_reason() -> None:
    changing = {
        function
        for name, function in vars(bridges).items()
        if inspect.isfunction(function) and list(inspect.signature(function).parameters.values())
        if next(iter(inspect.signature(function).parameters.values())).annotation in {Deployed, "Deployed"}
    }
    assert changing - {bridges.bridge} == set(BRIDGES)
    assert [name for name, how, reason in listed() if not (how and reason)] == []


def test_the_page_and_the_line_of_make_up_name_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = left_out(template())
    assert {"Dashboard", "PageAlarm"} <= absent.keys()
    page = (ROOT / "docs/local-stack.md").read_text()
    assert [name for name in absent if f"| `{name}` | left out |" not in page or name not in summary()] == []
    assert [apply.__name__ for apply in BRIDGES if f"| `{apply.__name__}` |" not in page] == []
    assert "\n" not in summary()
    described = {"api_url": "http://127.0.0.1:1", "site_url": "", "portal_url": ""}
    monkeypatch.setattr(LocalStack, "up", lambda _: described)
    assert summary() in CliRunner().invoke(main, ["up"]).output.splitlines()
