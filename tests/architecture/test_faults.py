"""Each row of the table of faults (``docs/operations/faults.md``) is complete and names tests that exist."""

import re

import pytest

from tests.support.template import ROOT

PAGE = (ROOT / "docs/operations/faults.md").read_text()
(TABLE,) = re.findall(r"^\| fault \|.*\n\|-.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
FAULTS = {row.split("|")[1].strip(): row for row in TABLE.splitlines()}
REQUIRED = (
    *("gone", "slow", "half", "another certificate", "about to expire", "has expired", "throttles", "KMS"),
    *("Secrets Manager", "killed", "for an hour", "clock", "`/tmp`", "deployment"),
)
END_TO_END = ("gone", "drips", "half", "another certificate", "throttles", "KMS", "Secrets Manager", "killed")
"""Faults that an end-to-end test makes on the deployed stack."""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_effects_and_names_tests_that_exist(fault: str) -> None:
    _, _, received, lost, seen, tests, _ = FAULTS[fault].split("|")
    assert received.strip()
    assert lost.strip().startswith("nothing")
    assert seen.strip()
    named = re.findall(r"`([\w/]+\.py)::(test_\w+)`", tests)
    assert len(named) == tests.count("`") / 2 > 0
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / "tests" / file).read_text(), f"{file} has no {name}"


@pytest.mark.parametrize("fault", REQUIRED)
def test_every_required_fault_is_in_the_table(fault: str) -> None:
    assert any(fault in name for name in FAULTS)


@pytest.mark.parametrize("fault", END_TO_END)
def test_a_fault_has_an_end_to_end_test(fault: str) -> None:
    (row,) = (row for name, row in FAULTS.items() if fault in name)
    assert "`e2e/" in row


def test_every_alarm_of_the_table_is_in_the_template() -> None:
    template = (ROOT / "template.yaml").read_text()
    alarms = set(re.findall(r"`(\w+Alarm)`", TABLE))
    assert [name for name in alarms if f"\n  {name}:" not in template] == []
