"""Each line of the threat model names its tests, and these exist."""

import re

from tests.support.template import ROOT

PAGE = (ROOT / "docs/threat-model.md").read_text()
NAMED = re.compile(r"`(test_\w+)`")


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
