"""``ops`` runs beside a deployment: it does not depend on the build, the sandbox, the bench or the tests."""

import ast
from pathlib import Path

import pytest

from tests.support.template import ROOT

OTHERS = {"bench", "load", "release", "sandbox", "tests"}


def imported(path: Path) -> set[str]:
    """Return the top-level packages that a module imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("path", sorted((ROOT / "ops").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_of_ops_imports_neither_release_nor_the_sandbox(path: Path) -> None:
    assert not imported(path) & OTHERS


def test_the_verifier_of_exports_imports_nothing_of_this_project() -> None:
    assert not imported(ROOT / "ops/verify_file.py") & (OTHERS | {"api_particulier", "ops", "boto3", "click"})
