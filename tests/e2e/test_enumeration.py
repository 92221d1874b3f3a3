"""A key that enumerates citizens is slowed, suspended and resumed, on the deployed stack."""

import json
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import requests

from api_particulier.audit import mac
from tests.support.disarmed.countermeasures import attempt
from tests.support.stack import FAMILY_NUMBERS, NUMBERS, RFR_ROUTE, Stack
from tests.support.template import ROOT

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


def suspect(stack: Stack, token: str) -> list[Any]:
    """Deliver the suspicion of a token, with the MAC of a dataset's function; return the messages that failed."""
    at = datetime.now(UTC)
    sent = {"token": token, "at": at.isoformat(), "sanction": "suspend"}
    kms, key_id = stack.client("kms"), stack.deployment.outputs["EntryKeyId"]
    signed = sent | {mac.MAC: mac.compute(mac.derive_month_key(kms, key_id, f"{at:%Y-%m}"), sent)}
    event = json.loads((ROOT / "events/token_suspension/suspicion.json").read_text())
    event["Records"][0]["body"] = json.dumps(signed)
    invoked = stack.client("lambda").invoke(
        FunctionName=stack.function("TokenSuspension")["FunctionName"], Payload=json.dumps(event)
    )
    payload = json.loads(invoked["Payload"].read())
    return [payload] if "FunctionError" in invoked else list(payload["batchItemFailures"])


@pytest.mark.attack
def test_a_walk_through_families_is_stopped_before_the_100th_and_a_suspended_key_is_resumed(stack: Stack) -> None:
    issued = stack.issue_key("cnaf_quotient_familial")
    numbers = [{"numeroAllocataire": f"{number:07}", "codePostal": "75011"} for number in range(2_700_000, 2_700_120)]
    statuses = walk(stack, issued["key"], "/v2/quotient-familial", numbers, at_once=4)
    attempt("120 numbers of families in a row, by four environments", dict(Counter(statuses)))
    assert len([status for status in statuses if status in {200, 404}]) < ENDED
    assert statuses.count(429) > 0
    assert shown(stack, issued["id"]) == "active"  # it found no family: strangers may be typing in a town's form
    assert suspect(stack, issued["id"]) == []
    assert shown(stack, issued["id"]) == "suspended"
    assert stack.get("/introspect", key=issued["key"]).status_code == 401
    suspicions = [
        record for record in stack.run_cli("audit", "search", "--token", issued["id"]) if record.get("suspicion")
    ]
    assert {record["suspicion"] for record in suspicions} == {"slowed", "suspended"}
    assert {record["dataset"] for record in suspicions if record["kind"] == "suspension"} == {"suspension"}

    stack.run_cli("keys", "resume", issued["id"])
    until = time.monotonic() + 2 * _PATIENCE  # an environment caches a token for a minute
    while (status := stack.get("/v2/quotient-familial", key=issued["key"], **FAMILY_NUMBERS).status_code) != 200:
        assert status in {401, 429}
        assert time.monotonic() < until
        time.sleep(1)
    assert "is not suspended" in stack.run_cli("keys", "resume", issued["id"], expect=1)


@pytest.mark.attack
def test_a_walk_is_refused_even_when_it_cannot_be_reported(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_revenu_fiscal_reference")
    numbers = [
        {"numeroFiscal": f"{number:013}", "referenceAvis": NUMBERS["referenceAvis"]}
        for number in range(2_710_000_000_000, 2_710_000_000_110)
    ]
    with stack.without_statement("RevenuFiscalReference", "ReportSuspicions"):
        statuses = walk(stack, issued["key"], RFR_ROUTE, numbers, at_once=1)
    attempt("110 tax numbers in a row, while no suspicion can be sent", dict(Counter(statuses)))
    assert statuses.count(404) < ENDED
    assert statuses[-1] == 429
    assert shown(stack, issued["id"]) == "active"


# FindTokens is left out: it finds the tokens issued before each had an item of its own.
@pytest.mark.parametrize("sid", ["WriteAudit", "ReadTokens", "SuspendTokens", "DisableGatewayKeys"])
def test_each_statement_of_the_suspension_is_needed(stack: Stack, sid: str) -> None:
    issued = stack.issue_key("cnaf_quotient_familial")
    with stack.without_statement("TokenSuspension", sid):
        assert suspect(stack, issued["id"]) != []
    assert shown(stack, issued["id"]) == "active"
    assert suspect(stack, issued["id"]) == []
    assert shown(stack, issued["id"]) == "suspended"
    assert (
        requests.get(f"{stack.api_url}/introspect", headers={"X-API-Key": issued["key"]}, timeout=60).status_code == 401
    )
