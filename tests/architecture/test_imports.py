"""What a dataset does not import before its first call: each of these costs a cold start tens of milliseconds."""

import pytest

from tests.architecture.test_snapshots import SNAPPED, said_at_start

DEAR = ("boto3", "botocore.client", "requests", "aws_xray_sdk", "stdnum", "pyasn1", "jinja2", "xml.dom.minidom")
LIST = f"import sys, app; print(*(name for name in {DEAR!r} if name in sys.modules))"


@pytest.mark.parametrize("function", SNAPPED)
def test_a_dataset_starts_without_what_its_calls_do_not_need(function: str) -> None:
    assert said_at_start(function, LIST).split() == []
