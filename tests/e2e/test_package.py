"""The packages built for the stack are small and have every module that they import."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from release.build import zipped_bytes
from tests.support.stack import FOLDER
from tests.support.template import ROOT, resources

BUILT = ROOT / FOLDER / "build"
LAYER = BUILT / "CommonLayer"
FUNCTIONS = tuple(resources("AWS::Serverless::Function"))
RUNTIME_PACKAGES = ("boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3")
"""Packages of Lambda's Python, which the layer leaves out."""
IMPORT_ALL = """
import ast, sys
from pathlib import Path

class Run(ast.NodeVisitor):
    # Every import of a file, also those inside functions.
    def visit_If(self, node):
        if ast.unparse(node.test) != "TYPE_CHECKING":
            self.generic_visit(node)
    def visit_Import(self, node):
        exec(ast.unparse(node), {})
        print(ast.unparse(node))
    visit_ImportFrom = visit_Import

for folder in sys.argv[1:]:
    for source in Path(folder).rglob("*.py"):
        Run().visit(ast.parse(source.read_text()))
"""
pytestmark = pytest.mark.usefixtures("stack")


def test_a_function_and_its_layer_are_at_most_12_mb() -> None:
    heaviest = max(zipped_bytes(BUILT / function) for function in FUNCTIONS)
    assert heaviest > 0
    assert zipped_bytes(LAYER) + heaviest <= 12_000_000


def test_everything_that_the_functions_import_is_in_the_package(tmp_path: Path) -> None:
    for name in RUNTIME_PACKAGES:
        found = importlib.util.find_spec(name)
        assert found
        assert found.origin
        place = Path(found.origin) if not found.submodule_search_locations else Path(found.origin).parent
        (tmp_path / place.name).symlink_to(place)
    (tmp_path / "snapshot_restore_py.py").write_text("register_after_restore = None")  # Lambda's runtime has it
    folders = [LAYER / "python/api_particulier", *(BUILT / function for function in FUNCTIONS)]
    done = subprocess.run(
        [sys.executable, "-S", "-c", IMPORT_ALL, *map(str, folders)],
        env={"PYTHONPATH": f"{LAYER / 'python'}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Some imports that are inside functions, and some of packages that are deployed in part.
    for line in (
        *("from stdnum.fr import siret as sirets", "from pyasn1_modules.rfc5280 import Certificate"),
        "from pyasn1_modules.rfc5652 import SignedData",
    ):
        assert line in done.stdout
    for line in ("from lxml import etree", "from aws_lambda_powertools import Logger, Tracer"):
        assert line in done.stdout


def test_the_built_template_has_no_error_for_cloudformation() -> None:
    # With the checks that are still experimental; of the template as deployed, anchors and dashboard written out.
    checked = subprocess.run(
        [ROOT / ".local/tools/sam/bin/cfn-lint", "-e", "-t", BUILT / "template.yaml", "-r", "eu-west-3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.stdout, checked.returncode) == ("", 0)
