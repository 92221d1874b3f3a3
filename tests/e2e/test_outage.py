"""Outages of a provider on the deployed stack: calls, the other provider, the status page and the audit."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from ops import audit
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack, run_sandbox

FAMILY = {"numeroAllocataire": "2600001", "codePostal": "75011"}
CAF_ROUTE = "/v2/quotient-familial"


class Caller:
    """A caller with a key of its own, which keeps its responses."""

    def __init__(self, stack: Stack) -> None:
        issued = stack.issue_key("dgfip_revenu_fiscal_reference", "cnaf_quotient_familial")
        self._stack, self._key, self._id = stack, issued["key"], issued["id"]
        self.answers: list[requests.Response] = []

    def ask(self, route: str, **query: str) -> requests.Response:
        response = self._stack.get(route, key=self._key, **query)
        self.answers.append(response)
        return response

    def caf(self) -> requests.Response:
        return self.ask(CAF_ROUTE, **FAMILY)

    def dgfip(self) -> requests.Response:
        return self.ask(RFR_ROUTE, **NUMBERS)

    def audited(self) -> dict[str, int]:
        """Return the status of each audit record of this caller, by request id."""
        now = datetime.now(UTC)
        period = audit.Period(now - timedelta(hours=1), now + timedelta(hours=1))
        found = audit.of_token(self._stack.deployment, period, self._id)
        return {record["request_id"]: int(record["status"]) for record in found}


@contextmanager
def stopped(simulator: str) -> Iterator[None]:
    """Stop the server of a provider within a ``with`` block."""
    assert run_sandbox("stop", simulator).returncode == 0
    try:
        yield
    finally:
        assert run_sandbox("start", simulator).returncode == 0


@contextmanager
def faulty(simulator: str, fault: str) -> Iterator[None]:
    """Give the server of a provider this fault within a ``with`` block."""
    assert run_sandbox("start", simulator, "--fault", fault).returncode == 0
    try:
        yield
    finally:
        assert run_sandbox("start", simulator).returncode == 0


def failed_calls_to_the_caf(stack: Stack) -> int:
    """Return the number of calls to the CAF that failed, in the functions' log."""
    pages = (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=stack.deployment.outputs["FunctionsLogGroup"])
    )
    lines = [event["message"] for page in pages for event in page["events"]]
    return sum('"event":"provider_failed"' in line and '"provider":"caf"' in line for line in lines)


def status(stack: Stack) -> dict[str, Any]:
    """Return the status page's data from a new environment, which has no cache."""
    stack.new_environment("Status")
    found: dict[str, Any] = stack.get("/status", key="").json()
    return found


def probe(stack: Stack) -> None:
    done = stack.client("lambda").invoke(FunctionName=stack.function("ProviderProbes")["FunctionName"])
    assert "FunctionError" not in done, done["Payload"].read()


def test_an_outage_of_the_caf_from_its_first_failure_to_its_recovery(stack: Stack) -> None:
    town = Caller(stack)
    probe(stack)
    assert (town.caf().status_code, town.dgfip().status_code) == (200, 200)
    before = status(stack)
    assert before["etat"] == "disponible"
    with stopped("caf"):
        assert {town.caf().status_code for _ in range(5)} == {503}
        calls = failed_calls_to_the_caf(stack)
        refused = [town.caf() for _ in range(20)]
        assert {(response.status_code, response.json()["error"]) for response in refused} == {(503, "network_error")}
        assert all(0 < int(response.headers["Retry-After"]) <= 15 for response in refused)
        assert failed_calls_to_the_caf(stack) <= calls + 2  # one call probes every 15 s
        assert {town.dgfip().status_code for _ in range(5)} == {200}
        probe(stack)
        during = status(stack)
        assert (during["etat"], during["jeuxDeDonnees"]["quotient_familial"]["etat"]) == ("perturbe", "indisponible")
        assert during["jeuxDeDonnees"]["declarants"]["etat"] == "disponible"
        assert during["incidents"][0]["fournisseur"] == "caf"
        assert during["incidents"][0]["fin"] is None
    await_recovery(town.caf)
    probe(stack)
    after = status(stack)
    assert after["etat"] == "disponible"
    assert after["incidents"][0]["fin"] is not None
    for provider, days in after["historique"].items():
        probes, answered = (sum(day[name] for day in days) for name in ("sondes", "reussies"))
        assert after["fournisseurs"][provider]["disponibilite30j"] == round(100 * answered / probes, 3)
    probed = [sum(day["sondes"] for day in response["historique"]["caf"]) for response in (before, after)]
    failed = [
        sum(day["sondes"] - day["reussies"] for day in response["historique"]["caf"]) for response in (before, after)
    ]
    assert probed[1] - probed[0] >= 2
    assert failed[1] - failed[0] >= 1
    check_records_and_counters(stack, town)


def await_recovery(ask: Callable[[], requests.Response]) -> None:
    """Call until the circuit breaker of a provider that has recovered lets a call through."""
    until = time.monotonic() + 60
    while (response := ask()).status_code != 200 and time.monotonic() < until:
        assert response.json()["error"] == "network_error"
        time.sleep(0.5)
    assert response.status_code == 200


def check_records_and_counters(stack: Stack, town: Caller) -> None:
    """Check that each response has its audit record, with its status, and that the counters match the records."""
    assert town.audited() == {response.headers["X-Request-Id"]: response.status_code for response in town.answers}
    assert stack.run_cli("stats", "rebuild", "--check")["differences"] == []


@pytest.mark.parametrize(
    ("simulator", "fault", "expected"),
    [
        ("caf", "slow", (503, "network_error")),
        ("caf", "half", (502, "invalid_response")),
        ("caf", "certificate", (503, "network_error")),
        ("svair", "half", (502, "invalid_response")),
    ],
)
def test_a_failing_provider_has_its_error_and_the_other_provider_works(
    stack: Stack, simulator: str, fault: str, expected: tuple[int, str]
) -> None:
    town = Caller(stack)
    ask, ask_the_other = (town.caf, town.dgfip) if simulator == "caf" else (town.dgfip, town.caf)
    assert (ask().status_code, ask_the_other().status_code) == (200, 200)
    with faulty(simulator, fault), ThreadPoolExecutor(3) as pool:
        failing = [pool.submit(ask) for _ in range(3)]
        others = [ask_the_other().status_code for _ in range(5)]
        responses = [future.result() for future in failing]
        assert {(response.status_code, response.json()["error"]) for response in responses} == {expected}
        assert {int(response.headers.get("Retry-After", 0)) > 0 for response in responses} == {expected[0] == 503}
        assert [*others, ask_the_other().status_code] == [200] * 6
    await_recovery(ask)
    check_records_and_counters(stack, town)


def test_an_announced_maintenance_and_its_withdrawal_apply_within_seconds(stack: Stack) -> None:
    town = Caller(stack)
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = now - timedelta(minutes=1), now + timedelta(hours=2)
    announced = stack.run_cli(
        *("status", "announce", "--provider", "caf", "--from", start.isoformat(), "--to", end.isoformat()),
        *("--message", "essai"),
    )
    try:
        assert [maintenance["fin"] for maintenance in announced] == [end.isoformat()]
        time.sleep(1.1)  # an environment caches maintenances for a second
        response = town.caf()
        assert response.status_code == 503
        assert response.json()["message"].endswith("heure de Paris : essai")
        assert 0 < int(response.headers["Retry-After"]) <= 7200
        assert status(stack)["fournisseurs"]["caf"]["etat"] == "maintenance"
        assert stack.run_cli("status")["maintenances"] == announced
    finally:
        assert stack.run_cli("status", "withdraw", "--provider", "caf", "--from", start.isoformat()) == []
    time.sleep(1.1)
    assert town.caf().status_code == 200
    error = stack.run_cli("status", "withdraw", "--provider", "caf", "--from", start.isoformat(), expect=1)
    assert "no maintenance" in error


def test_without_the_right_to_read_the_circuit_breaker_calls_go_on(stack: Stack) -> None:
    with stack.without_statement("QuotientFamilial", "TrackCaf"):
        time.sleep(1.1)
        assert stack.get(CAF_ROUTE, **FAMILY).status_code == 200


# WriteHistory is left out, and all circuit breakers go together: MiniStack ignores conditions on keys.
@pytest.mark.parametrize("sids", [("TrackDgfip", "TrackCaf", "TrackDss"), ("ReadIdentities",)])
def test_without_a_statement_a_probe_fails(stack: Stack, sids: tuple[str, ...]) -> None:
    with stack.without_statement("ProviderProbes", *sids):
        stack.new_environment("ProviderProbes")
        failed = stack.client("lambda").invoke(FunctionName=stack.function("ProviderProbes")["FunctionName"])
        assert "FunctionError" in failed
    probe(stack)


@pytest.mark.parametrize("sid", ["ReadHealth", "ReadHistory"])
def test_without_a_statement_the_status_fails(stack: Stack, sid: str) -> None:
    with stack.without_statement("Status", sid):
        stack.new_environment("Status")
        assert stack.get("/status", key="").status_code == 500
    assert status(stack)["etat"] == "disponible"


def test_a_dataset_without_capacity_refuses_and_the_others_work(stack: Stack) -> None:
    """MiniStack ignores the template's reserved concurrency, and enforces only that of ``$LATEST``."""
    town = Caller(stack)
    name = stack.function("QuotientFamilial")["FunctionName"]
    client = stack.client("lambda")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    try:
        full = town.ask(CAF_ROUTE, **FAMILY)
        assert full.status_code in {429, 500}  # 429 from MiniStack, 500 from API Gateway
        assert town.dgfip().status_code == 200
        assert town.ask("/v2/adresse", **FAMILY).status_code == 403  # another function of the same provider
    finally:
        client.delete_function_concurrency(FunctionName=name)
        stack.new_environment("QuotientFamilial")
    assert town.caf().status_code == 200
