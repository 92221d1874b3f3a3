"""Modules that a dataset must not import before its first call: each costs a cold start tens of milliseconds."""

import pytest

from tests.architecture.test_snapshots import SNAPPED, printed_at_start

pytestmark = pytest.mark.slow


SLOW = ("aws_xray_sdk", "stdnum", "pyasn1", "jinja2", "xml.dom.minidom")
PROGRAM = f"import sys, app; print(*(name for name in {SLOW!r} if name in sys.modules))"


@pytest.mark.parametrize("function", SNAPPED)
def test_a_dataset_starts_without_modules_that_its_calls_do_not_need(function: str) -> None:
    assert printed_at_start(function, PROGRAM).split() == []
