"""Statistics, on the deployed stack: what is called is counted, by the stream, and anyone reads how much."""

import time
from typing import Any

import pytest
import requests

from tests.support.stack import NUMBERS, RFR_ROUTE, Stack

_PATIENCE = 30.0
"""Seconds that a call may take to be counted, on a busy machine."""


def _shown(stack: Stack, route: str = "/stats") -> Any:
    """Ask without a key, of an environment that remembers nothing."""
    stack.forget("Stats")
    answer = requests.get(f"{stack.api_url}{route}", timeout=60)
    assert answer.status_code == 200
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Cache-Control"]) == ("*", "max-age=60")
    return answer.json()


@pytest.fixture(autouse=True)
def _exact(stack: Stack) -> None:
    """Start from what the audit says: other tests may have bent it."""
    stack.operate("stats", "rebuild")


def _all_counted(stack: Stack) -> dict[str, Any]:
    """Wait until every entry of the audit is counted, and return what a recount says."""
    until = time.monotonic() + _PATIENCE
    while True:
        found: dict[str, Any] = stack.operate("stats", "rebuild", "--check")
        if not found["uncounted"] or time.monotonic() > until:
            assert (found["uncounted"], found["differences"]) == (0, [])
            return found


def test_the_number_grows_by_exactly_the_answers_200_of_datasets(stack: Stack) -> None:
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
    assert stack.operate("stats") == after
    assert audited["audited"] > after["total"]  # refusals are counted too


def test_a_counter_that_somebody_bent_is_found_and_set_right(stack: Stack) -> None:
    stack.get(RFR_ROUTE, **NUMBERS)
    _all_counted(stack)
    whole = _shown(stack)
    table, client = stack.description["tables"]["stats"], stack.client("dynamodb")
    day = stack.operate("stats")["periode"]["fin"]
    client.update_item(
        TableName=table,
        Key={"pk": {"S": "counters"}, "sk": {"S": f"{day}#revenu_fiscal_reference#200"}},
        UpdateExpression="ADD calls :more",
        ExpressionAttributeValues={":more": {"N": "1000"}},
    )
    assert _shown(stack) == whole + 1000
    stack.operate("stats", "rebuild", "--check", expect=1)
    (found,) = stack.operate("stats", "rebuild")["differences"]
    assert (found["dataset"], found["status"], found["counted"] - found["audited"]) == (
        "revenu_fiscal_reference",
        200,
        1000,
    )
    assert _all_counted(stack)["differences"] == []
    assert _shown(stack) == whole
    replayed = stack.operate("stats", "replay")
    assert [replayed[name] for name in ("messages", "counted", "kept")] == [0, 0, False]


def test_what_could_not_be_counted_at_the_time_is_counted_by_a_rebuild(stack: Stack) -> None:
    _all_counted(stack)
    whole, began = _shown(stack), int(time.time() * 1000)
    with stack.without_statement("StatsStream", "CountOnce"):
        assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
        until = time.monotonic() + _PATIENCE
        while not _failures(stack, began):
            assert time.monotonic() < until
    assert _shown(stack) == whole
    stack.operate("stats", "rebuild")
    assert _shown(stack) == whole + 1


def _failures(stack: Stack, since: int) -> int:
    """Return how many times something could not be counted since a moment (milliseconds), as the log says."""
    pages = stack.client("logs").get_paginator("filter_log_events")
    group = stack.deployment.outputs["FunctionsLogGroup"]
    return sum(
        '"not_counted"' in event["message"]
        for page in pages.paginate(logGroupName=group, startTime=since)
        for event in page["events"]
    )


def test_who_may_not_read_the_counters_shows_none(stack: Stack) -> None:
    with stack.without_statement("Stats", "ReadCounters"):
        stack.forget("Stats")
        assert requests.get(f"{stack.api_url}/stats", timeout=60).status_code == 500
    assert _shown(stack) >= 0
