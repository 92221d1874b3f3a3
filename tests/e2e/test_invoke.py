"""One function in a container of Lambda's image, against the deployed stack; skipped where no container engine runs."""

import json

import pytest

from sandbox.container.image import EngineMissing, check_engine
from tests.support.stack import CITIZEN, Stack, run_sandbox

try:
    check_engine()
except EngineMissing:
    pytest.skip("no container engine answers: `make invoke` runs nowhere here", allow_module_level=True)


def test_a_notice_is_asked_in_a_container(stack: Stack) -> None:
    assert stack.description
    ran = run_sandbox("invoke", "RevenuFiscalReference")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["statusCode"] == 200, answer
    assert json.loads(answer["body"])["revenuFiscalReference"] == CITIZEN.revenu_fiscal_reference


def test_a_family_is_asked_in_a_container_over_mutual_tls(stack: Stack) -> None:
    assert stack.description
    ran = run_sandbox("invoke", "QuotientFamilial")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.splitlines()[-1])
    assert answer["statusCode"] == 200, answer
    assert "quotientFamilial" in json.loads(answer["body"])
