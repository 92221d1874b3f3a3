"""What the repository holds: nothing of the machine it was written on, no key, nobody's notice."""

import re
from functools import lru_cache
from pathlib import Path
from subprocess import run

import pytest

from tests.support.template import ROOT

A_HOME = re.compile(r"(?<![\w.$~}-])/(?:root|home|Users|work|workspace|mnt)/\w")
A_REGISTRY = re.compile(r"--(?:extra-)?index-url|--find-links|//[^/\s]+:[^/\s]+@")
AN_AWS_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


@lru_cache(maxsize=1)
def files() -> dict[str, str]:
    """Return what git keeps, or would: each path with its text."""
    listed = run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 - whichever git there is
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("no git here to say what is kept")
    here = (name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
    return {name: (ROOT / name).read_bytes().decode(errors="replace") for name in here}


def mentions(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in files().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line) and name != f"tests/architecture/{Path(__file__).name}"
    ]


@pytest.mark.parametrize("pattern", [A_HOME, A_REGISTRY, AN_AWS_KEY], ids=["a home", "a registry", "a key"])
def test_nothing_of_somebodys_machine_is_kept(pattern: re.Pattern[str]) -> None:
    assert mentions(pattern) == []


def test_the_checkouts_own_place_is_not_written_down() -> None:
    for place in {ROOT, Path.home()} - {Path("/")}:
        assert mentions(re.compile(re.escape(f"{place}/"))) == []


def test_nothing_large_nor_binary_is_kept() -> None:
    for name in files():
        content = (ROOT / name).read_bytes()
        assert b"\0" not in content, name
        assert len(content) < 500_000, name


def test_notices_of_examples_are_nobodys() -> None:
    """A reference of 13 digits that is not of this project's series could be somebody's."""
    written = [
        f"{name}: {found}"
        for name, text in files().items()
        if name.startswith(("sandbox/people/", "README.md", "docs/"))
        for found in re.findall(r"(?<![\d.-])\d{13}(?![\d.-])", text)
        if not re.match(r"[12][0-9]90000000", found)
    ]
    assert written == []


def test_every_lint_exception_has_its_reason() -> None:
    bare = re.compile(r"#\s*noqa(?!: [A-Z0-9, ]+ - \S)|#\s*type:\s*ignore(?!\[[\w, -]+\]\s+#\s+\S)")
    found = [line for line in mentions(bare) if line.split(":", 1)[0].endswith(".py")]
    assert found == []
