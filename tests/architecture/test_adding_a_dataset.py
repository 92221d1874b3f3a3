"""The steps of ``docs/adding-a-dataset.md``, run in a copy of the project, add a dataset."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.template import ROOT

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/adding-a-dataset.md").read_text()
COPIED = ("clients", "bench", "docs", "events", "functions", "layers", "ops", "release", "sandbox", "tests", "website")
FILES = ("README.md", "contract.md", "dashboard.json", "pyproject.toml", "template.yaml")
OF_OTHER_THINGS = ("adding_a_dataset", "imports", "layer", "operator_policies")
"""Tests of what a dataset does not touch, which take a third of the time."""
AFTER_THE_DATASETS = "\n  # ── What several functions may do"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in COPIED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def _run(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", *command],
        cwd=copy,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{copy}:{copy / 'layers/common'}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_steps_of_the_page_add_a_dataset_without_a_change_in_the_layer(copy: Path) -> None:
    files = re.findall(r"^`([\w/.]+\.py)`\n\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert [path for path, _ in files] == [
        "functions/taille_foyer/app.py",
        "tests/integration/test_taille_foyer.py",
    ]
    for path, code in files:
        (copy / path).parent.mkdir(exist_ok=True)
        (copy / path).write_text(code)
    (resource,) = _blocks("yaml")
    template = (
        (copy / "template.yaml").read_text().replace(f"\n{resource}", "")
    )  # where the page was followed, it is there
    (copy / "template.yaml").write_text(template.replace(AFTER_THE_DATASETS, f"\n{resource}{AFTER_THE_DATASETS}"))
    (name,) = _blocks("toml")
    table = (copy / "website/usages.toml").read_text()
    (copy / "website/usages.toml").write_text(table.replace("[jeux]\n", f"[jeux]\n{name}"))
    (console,) = _blocks("console")
    for line in console.splitlines():
        subprocess.run(["/bin/sh", "-c", line.removeprefix("$ ")], cwd=copy, check=True)
    _run(copy, "-m", "release.documents")
    passed = _run(
        copy,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        *("tests/integration/test_taille_foyer.py", "tests/architecture", "tests/unit/test_documents.py"),
        *(f"--ignore=tests/architecture/test_{other}.py" for other in OF_OTHER_THINGS),
    )
    assert passed.returncode == 0, passed.stdout + passed.stderr
