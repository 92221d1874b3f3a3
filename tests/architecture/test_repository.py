"""The repository holds no path of a machine, no secret, no real person's number and no large file."""

import re
from functools import lru_cache
from pathlib import Path
from subprocess import run

import pytest

from tests.support.template import ROOT

HOME_FOLDER = re.compile(r"(?<![\w.$~}-])/(?:root|home|Users|work|workspace|mnt)/\w")
REGISTRY = re.compile(r"--(?:extra-)?index-url|--find-links|//[^/\s]+:[^/\s]+@")
SECRET_KEY = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----")


@lru_cache(maxsize=1)
def files() -> dict[str, str]:
    """Return the text of each file that git tracks, or would track, by its path."""
    listed = run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],  # noqa: S607 - git is where the machine has it
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout", allow_module_level=True)
    names = (name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file())
    return {name: (ROOT / name).read_bytes().decode(errors="replace") for name in names}


def mentions(pattern: re.Pattern[str]) -> list[str]:
    """Return the lines that match, with their place; this file, which has the patterns, is left out."""
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in files().items()
        for number, line in enumerate(text.splitlines(), 1)
        if pattern.search(line) and name != f"tests/architecture/{Path(__file__).name}"
    ]


@pytest.mark.parametrize("pattern", [HOME_FOLDER, REGISTRY, SECRET_KEY], ids=["home folder", "registry", "secret key"])
def test_no_file_has_a_home_folder_a_registry_or_a_secret_key(pattern: re.Pattern[str]) -> None:
    assert mentions(pattern) == []


def test_no_file_has_the_path_of_this_checkout_or_of_this_home_folder() -> None:
    for folder in {ROOT, Path.home()} - {Path("/")}:
        assert mentions(re.compile(re.escape(f"{folder}/"))) == []


def test_no_file_is_binary_or_larger_than_500_kb() -> None:
    for name in files():
        content = (ROOT / name).read_bytes()
        assert b"\0" not in content, name
        assert len(content) < 500_000, name


def test_the_13_digit_numbers_of_examples_are_fictional() -> None:
    """Tax numbers and references of examples start as no real one does."""
    others = [
        f"{name}: {found}"
        for name, text in files().items()
        if name.startswith(("sandbox/people/", "README.md", "docs/"))
        for found in re.findall(r"(?<![\d.-])\d{13}(?![\d.-])", text)
        if not re.match(r"[12][0-9]90000000", found)
    ]
    assert others == []


def test_every_lint_exception_has_a_reason() -> None:
    bare = re.compile(r"#\s*noqa(?!: [A-Z0-9, ]+ - \S)|#\s*type:\s*ignore(?!\[[\w, -]+\]\s+#\s+\S)")
    found = [line for line in mentions(bare) if line.split(":", 1)[0].endswith(".py")]
    assert found == []
