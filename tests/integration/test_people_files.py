"""A file of fictional people that cannot be read is named: which, and what is wrong, without what it holds."""

import shutil
from pathlib import Path

import pytest

from sandbox import simulators

SECRET = "2690000004242"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    folder = tmp_path / "people"
    shutil.copytree(simulators.PEOPLE, folder)
    return folder


def test_good_files_are_read(people: Path) -> None:
    assert simulators.unreadable(people) == []


@pytest.mark.parametrize("file", sorted(path.name for path in simulators.PEOPLE.glob("*.toml")))
@pytest.mark.parametrize(
    "text", [f'numero = "{SECRET}', f"[[personne]]\nnumeroFiscal = {SECRET}", "[[famille]]\nx = 1", ""]
)
def test_a_bad_file_is_named_without_what_it_holds(people: Path, file: str, text: str) -> None:
    (people / file).write_text(text)
    (sentence,) = simulators.unreadable(people)
    assert sentence.startswith(f"sandbox/people/{file} cannot be read: ")
    assert SECRET not in sentence
