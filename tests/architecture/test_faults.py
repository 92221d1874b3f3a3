"""The table of faults in ``docs/operations/faults.md``: each line is played by tests that exist."""

import re

import pytest

from tests.support.template import ROOT

PAGE = (ROOT / "docs/operations/faults.md").read_text()
(TABLE,) = re.findall(r"^\| fault \|.*\n\|-.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
FAULTS = {row.split("|")[1].strip(): row for row in TABLE.splitlines()}
MUST_BE_THERE = (
    *("gone", "slow", "half", "another certificate", "about to expire", "has expired", "throttles", "KMS"),
    *("Secrets Manager", "killed", "for an hour", "clock", "`/tmp`", "deployment"),
)
ON_THE_STACK = ("gone", "drips", "half", "another certificate", "throttles", "KMS", "Secrets Manager", "killed")
"""Played by the deployed stack, end to end."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_says_what_is_got_lost_and_seen_and_names_its_tests(fault: str) -> None:
    _, _, gets, lost, sees, tests, _ = FAULTS[fault].split("|")
    assert gets.strip()
    assert lost.strip().startswith("nothing")
    assert sees.strip()
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
    assert len(named) == tests.count("`") / 2 > 0
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), f"{file} has no {name}"


@pytest.mark.parametrize("fault", MUST_BE_THERE)
def test_the_faults_that_are_to_be_known_are(fault: str) -> None:
    assert any(fault in one for one in FAULTS)


@pytest.mark.parametrize("fault", ON_THE_STACK)
def test_a_fault_is_played_on_the_deployed_stack(fault: str) -> None:
    (row,) = (row for one, row in FAULTS.items() if fault in one)
    assert "`e2e/" in row


def test_an_alarm_that_the_table_speaks_of_exists() -> None:
    template = (ROOT / "template.yaml").read_text()
    alarms = set(re.findall(r"`(\w+Alarm)`", TABLE))
    assert [name for name in alarms if f"\n  {name}:" not in template] == []
