"""One function in a container of Lambda's image, against the deployed stack; skipped where no container engine runs."""

import json
from typing import Any

import pytest

from sandbox.container.image import EngineMissing, check_engine
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack, run_sandbox

try:
    check_engine()
except EngineMissing:
    pytest.skip("no container engine answers: `make invoke` runs nowhere here", allow_module_level=True)


def invoke(function: str) -> Any:
    """Return the body of a function's answer to its example event, with the stack's key."""
    ran = run_sandbox("invoke", function)
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["statusCode"] == 200, answer
    return json.loads(answer["body"])


def test_a_container_answers_as_the_deployed_function(stack: Stack) -> None:
    assert invoke("RevenuFiscalReference") == stack.get(RFR_ROUTE, **NUMBERS).json()


@pytest.mark.usefixtures("stack")
def test_a_container_asks_the_caf_over_mutual_tls() -> None:
    assert "quotientFamilial" in invoke("QuotientFamilial")
