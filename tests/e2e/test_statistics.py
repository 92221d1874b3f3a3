"""Statistics on the deployed stack: calls are counted from the audit's stream and the total is public."""

import time
from typing import Any

import pytest
import requests

from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

pytestmark = pytest.mark.order(-1)  # reads the whole audit, which the other tests fill
_PATIENCE = 60.0
"""Seconds within which a call must be counted, on a busy machine."""


def _shown(stack: Stack, route: str = "/stats") -> Any:
    """Return the public statistics from a new environment, which has no cache."""
    stack.new_environment("Stats")
    response = requests.get(f"{stack.api_url}{route}", timeout=60)
    assert response.status_code == 200
    assert (response.headers["Access-Control-Allow-Origin"], response.headers["Cache-Control"]) == ("*", "max-age=5")
    return response.json()


@pytest.fixture(autouse=True, scope="module")
def _exact(stack: Stack) -> None:
    """Rebuild the counters from the seals: other tests may have changed them."""
    stack.run_cli("stats", "rebuild")


def _all_counted(stack: Stack) -> dict[str, Any]:
    """Wait until every audit record is sealed and counted, and return the report of a recount."""
    until = time.monotonic() + _PATIENCE
    while stack.run_cli("audit", "verify", "--no-wait")["pending"] and time.monotonic() < until:
        time.sleep(1)
    while True:
        found: dict[str, Any] = stack.run_cli("stats", "rebuild", "--check")
        if not found["uncounted"] or time.monotonic() > until:
            assert (found["uncounted"], found["differences"]) == (0, [])
            return found


def test_the_total_grows_by_exactly_the_successful_calls_of_datasets(stack: Stack) -> None:
    _all_counted(stack)
    before = _shown(stack, "/stats/details")
    statuses = [stack.get(RFR_ROUTE, **NUMBERS).status_code for _ in range(12)]
    statuses += [stack.get("/v2/declarants", **NUMBERS).status_code for _ in range(3)]
    refused = [
        stack.get(RFR_ROUTE, numeroFiscal="x", referenceAvis="x").status_code,
        stack.get("/introspect").status_code,
    ]
    assert (statuses, refused) == ([200] * 15, [400, 200])
    audited = _all_counted(stack)
    after = _shown(stack, "/stats/details")
    assert after["total"] == before["total"] + 15
    for dataset, calls in (("revenu_fiscal_reference", 12), ("declarants", 3)):
        assert after["parJeuDeDonnees"][dataset] == before["parJeuDeDonnees"].get(dataset, 0) + calls
    assert _shown(stack) == _shown(stack, "/stats/") == after["total"]
    assert stack.run_cli("stats") == after
    assert audited["audited"] > after["total"]  # which includes the refused calls


def test_a_rebuild_finds_and_corrects_a_wrong_counter(stack: Stack) -> None:
    stack.get(RFR_ROUTE, **NUMBERS)
    _all_counted(stack)
    whole = _shown(stack)
    table, client = stack.description["tables"]["stats"], stack.client("dynamodb")
    day = stack.run_cli("stats")["periode"]["fin"]
    client.update_item(
        TableName=table,
        Key={"pk": {"S": "counters"}, "sk": {"S": f"{day}#revenu_fiscal_reference#200"}},
        UpdateExpression="ADD calls :more",
        ExpressionAttributeValues={":more": {"N": "1000"}},
    )
    assert _shown(stack) == whole + 1000
    stack.run_cli("stats", "rebuild", "--check", expect=1)
    (found,) = stack.run_cli("stats", "rebuild")["differences"]
    assert (found["dataset"], found["status"], found["counted"] - found["audited"]) == (
        "revenu_fiscal_reference",
        200,
        1000,
    )
    assert _all_counted(stack)["differences"] == []
    assert _shown(stack) == whole


def test_without_the_right_to_count_sealing_goes_on_and_the_next_batch_counts(stack: Stack) -> None:
    _all_counted(stack)
    whole, began = _shown(stack), int(time.time() * 1000)
    with stack.without_statement("AuditSeals", "CountSeals"):
        assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
        until = time.monotonic() + _PATIENCE
        while not _failures(stack, began):
            assert time.monotonic() < until
            time.sleep(1)
    assert _shown(stack) == whole
    assert stack.get("/introspect").status_code == 200  # another batch
    _all_counted(stack)
    assert _shown(stack) == whole + 1


def test_the_public_figures_are_proven_by_the_seals(stack: Stack) -> None:
    stack.get(RFR_ROUTE, **NUMBERS)
    _all_counted(stack)
    proven = stack.run_cli("audit", "verify-figures")
    assert (proven["ok"], proven["figures"]) == (True, stack.run_cli("stats"))
    assert proven["figures"]["total"] == _shown(stack)


def _failures(stack: Stack, since: int) -> int:
    """Return the number of failures to count in the log since this time, in milliseconds since the epoch."""
    pages = stack.client("logs").get_paginator("filter_log_events")
    group = stack.deployment.outputs["FunctionsLogGroup"]
    return sum(
        '"not_counted"' in event["message"]
        for page in pages.paginate(logGroupName=group, startTime=since)
        for event in page["events"]
    )


def test_without_the_right_to_read_counters_the_statistics_fail(stack: Stack) -> None:
    with stack.without_statement("Stats", "ReadCounters"):
        stack.new_environment("Stats")
        assert requests.get(f"{stack.api_url}/stats", timeout=60).status_code == 500
    assert _shown(stack) >= 0
