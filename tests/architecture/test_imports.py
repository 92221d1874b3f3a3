"""What a dataset does not import before its first call: each of these costs a cold start tens of milliseconds."""

import subprocess
import sys

import pytest

from tests.architecture.test_snapshots import SNAPPED
from tests.template import ROOT, resources

DEAR = ("boto3", "botocore.client", "requests", "aws_xray_sdk", "stdnum", "pyasn1", "jinja2", "xml.dom.minidom")
LIST = f"import sys, app; print(*(name for name in {DEAR!r} if name in sys.modules))"


@pytest.mark.parametrize("function", SNAPPED)
def test_a_dataset_starts_without_what_its_calls_do_not_need(function: str) -> None:
    folder = ROOT / resources("AWS::Serverless::Function")[function]["CodeUri"]
    done = subprocess.run(
        [sys.executable, "-c", LIST],
        env={"PYTHONPATH": f"{folder}:{ROOT / 'layers/common'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
