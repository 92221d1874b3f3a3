"""A key that enumerates citizens is slowed, suspended and resumed, on the deployed stack."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.support.stack import FAMILY_NUMBERS, NUMBERS, RFR_ROUTE, Stack

ENDED = 100
"""Calls before which an enumeration must be stopped."""
_PATIENCE = 60.0


def walk(stack: Stack, key: str, route: str, numbers: Iterable[dict[str, str]], at_once: int) -> list[int]:
    """Call the API for each citizen, several at once to use several environments, and return the statuses."""

    def ask(query: dict[str, str]) -> int:
        while True:
            response = stack.get(route, key=key, **query)
            # The gateway's own limit, of calls a second, is waited for, as a patient attacker does.
            if response.status_code != 429 or response.headers["Retry-After"] != "1":
                return response.status_code
            time.sleep(0.2)

    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(ask, numbers))


def shown(stack: Stack, token: str) -> Any:
    return stack.run_cli("keys", "show", token)["state"]


def test_a_walk_through_500_families_is_suspended_before_the_100th(stack: Stack) -> None:
    issued = stack.issue_key("cnaf_quotient_familial")
    numbers = [{"numeroAllocataire": f"{number:07}", "codePostal": "75011"} for number in range(2_700_000, 2_700_500)]
    statuses = walk(stack, issued["key"], "/v2/quotient-familial", numbers, at_once=4)
    assert len([status for status in statuses if status in {200, 404}]) < ENDED
    assert statuses.count(429) > 0
    until = time.monotonic() + _PATIENCE
    while shown(stack, issued["id"]) != "suspended":
        assert time.monotonic() < until
    assert stack.get("/introspect", key=issued["key"]).status_code == 401
    suspicions = [
        record for record in stack.run_cli("audit", "search", "--token", issued["id"]) if record.get("suspicion")
    ]
    assert {record["suspicion"] for record in suspicions} == {"slowed", "suspended"}
    # Two environments may report at the same moment: each report has its audit record, and one suspends the key.
    assert {record["dataset"] for record in suspicions if record["kind"] == "suspension"} == {"suspension"}

    stack.run_cli("keys", "resume", issued["id"])
    until = time.monotonic() + 2 * _PATIENCE  # an environment caches a token for a minute
    while (status := stack.get("/v2/quotient-familial", key=issued["key"], **FAMILY_NUMBERS).status_code) != 200:
        assert status in {401, 429}
        assert time.monotonic() < until
        time.sleep(1)
    assert "is not suspended" in stack.run_cli("keys", "resume", issued["id"], expect=1)


def test_a_walk_is_refused_even_when_it_cannot_be_reported(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_revenu_fiscal_reference")
    numbers = [
        {"numeroFiscal": f"{number:013}", "referenceAvis": NUMBERS["referenceAvis"]}
        for number in range(2_710_000_000_000, 2_710_000_000_165)
    ]
    with stack.without_statement("RevenuFiscalReference", "ReportSuspicions"):
        statuses = walk(stack, issued["key"], RFR_ROUTE, numbers, at_once=1)
    assert statuses.count(404) < ENDED
    assert statuses[-1] == 429
    assert shown(stack, issued["id"]) == "active"


@pytest.mark.parametrize("sid", ["WriteAudit", "ReadTokens", "FindTokens", "SuspendTokens", "DisableGatewayKeys"])
def test_each_statement_of_the_suspension_is_needed(stack: Stack, sid: str) -> None:
    issued = stack.issue_key("cnaf_quotient_familial")
    function = stack.function("TokenSuspension")["FunctionName"]
    suspicion = (
        f'{{"Records": [{{"body": "{{\\"token\\": \\"{issued["id"]}\\", \\"at\\": \\"2099-01-01T00:00:00Z\\"}}"}}]}}'
    )
    with stack.without_statement("TokenSuspension", sid):
        failed = stack.client("lambda").invoke(FunctionName=function, Payload=suspicion)
    assert "FunctionError" in failed
    assert shown(stack, issued["id"]) == "active"
    assert "FunctionError" not in stack.client("lambda").invoke(FunctionName=function, Payload=suspicion)
    assert shown(stack, issued["id"]) == "suspended"
    assert (
        requests.get(f"{stack.api_url}/introspect", headers={"X-API-Key": issued["key"]}, timeout=60).status_code == 401
    )
