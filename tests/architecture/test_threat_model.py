"""Each line of the threat model names its tests, and these exist; each attack that is played can succeed."""

import importlib
import re

import pytest

from tests.support.disarmed.countermeasures import STOPPED_BY
from tests.support.template import ROOT

PAGE = (ROOT / "docs/threat-model.md").read_text()
NAMED = re.compile(r"`(test_\w+)`")
SOURCES = {file: file.read_text() for file in (ROOT / "tests/e2e").glob("test_*.py")}
WHOLE = "\npytestmark = pytest.mark.attack\n"
ATTACKS = {
    name
    for source in SOURCES.values()
    for name in re.findall(
        r"^def (test_\w+)" if WHOLE in source else r"^@pytest\.mark\.attack\n(?:@.*\n)*def (test_\w+)",
        source,
        re.MULTILINE,
    )
}
"""The tests marked ``attack``."""


def test_the_tests_of_the_threat_model_exist() -> None:
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert set(NAMED.findall(PAGE)) - written == set()


def test_each_line_of_the_threat_model_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| attack ")]
    assert [row for row in rows if not NAMED.search(row)] == []
    assert len(rows) > 30


def test_each_attack_that_is_played_is_in_the_threat_model_and_in_the_table_of_counter_measures() -> None:
    assert ATTACKS - set(NAMED.findall(PAGE)) == set()
    assert STOPPED_BY.keys() == ATTACKS


@pytest.mark.parametrize("attack", STOPPED_BY)
def test_what_stops_an_attack_is_a_function_of_the_product_or_its_test_takes_it_away(attack: str) -> None:
    for place in STOPPED_BY[attack]:
        module, _, name = place.partition(":")
        if module == "app":
            assert any(f"\ndef {name}(" in file.read_text() for file in (ROOT / "functions").glob("*/app.py"))
        else:
            found = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
    body = next(source for source in SOURCES.values() if f"\ndef {attack}(" in source).partition(f"\ndef {attack}(")[2]
    assert STOPPED_BY[attack] or "with disarmed(" in body.partition("\ndef ")[0]
