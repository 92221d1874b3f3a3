"""A provider goes and comes back: calls, the other provider and the status follow, and nothing is lost."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from ops import audit
from tests.support.stack import NUMBERS, RFR_ROUTE, Stack, sandbox

FAMILY = {"numeroAllocataire": "2600001", "codePostal": "75011"}
CAF_ROUTE = "/v2/quotient-familial"


class Caller:
    """A town that keeps every answer that it gets."""

    def __init__(self, stack: Stack) -> None:
        issued = stack.issue("dgfip_revenu_fiscal_reference", "cnaf_quotient_familial")
        self._stack, self._key, self._id = stack, issued["key"], issued["id"]
        self.answers: list[requests.Response] = []

    def ask(self, route: str, **query: str) -> requests.Response:
        answer = self._stack.get(route, key=self._key, **query)
        self.answers.append(answer)
        return answer

    def caf(self) -> requests.Response:
        return self.ask(CAF_ROUTE, **FAMILY)

    def dgfip(self) -> requests.Response:
        return self.ask(RFR_ROUTE, **NUMBERS)

    def audited(self) -> dict[str, int]:
        """Return the request id of each entry of the audit, with its status."""
        now = datetime.now(UTC)
        period = audit.Period(now - timedelta(hours=1), now + timedelta(hours=1))
        found = audit.of_token(self._stack.deployment, period, self._id)
        return {one["request_id"]: int(one["status"]) for one in found}


@contextmanager
def stopped(simulator: str) -> Iterator[None]:
    """Within, nobody listens at a provider's address."""
    assert sandbox("stop", simulator).returncode == 0
    try:
        yield
    finally:
        assert sandbox("start", simulator).returncode == 0


@contextmanager
def misbehaving(simulator: str, fault: str) -> Iterator[None]:
    """Within, a provider listens, and does not serve as it should."""
    assert sandbox("start", simulator, "--fault", fault).returncode == 0
    try:
        yield
    finally:
        assert sandbox("start", simulator).returncode == 0


def questions_to_the_caf(stack: Stack) -> int:
    """Return how many questions the functions' log says were put to the CAF."""
    pages = (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=stack.deployment.outputs["FunctionsLogGroup"])
    )
    lines = [event["message"] for page in pages for event in page["events"] if '"provider": "caf"' in event["message"]]
    return sum('"event": "provider_failed"' in line or '"event": "provider_answered"' in line for line in lines)


def status(stack: Stack) -> dict[str, Any]:
    """Return the status once no environment remembers an older one."""
    stack.forget("Status")
    found: dict[str, Any] = stack.get("/status", key="").json()
    return found


def probe(stack: Stack) -> None:
    done = stack.client("lambda").invoke(FunctionName=stack.function("ProviderProbes")["FunctionName"])
    assert "FunctionError" not in done, done["Payload"].read()


def test_an_outage_of_the_caf_from_its_first_failure_to_the_next_answer(stack: Stack) -> None:
    town = Caller(stack)
    probe(stack)
    assert (town.caf().status_code, town.dgfip().status_code) == (200, 200)
    before = status(stack)
    assert before["etat"] == "disponible"
    with stopped("caf"):
        assert {town.caf().status_code for _ in range(5)} == {503}
        asked = questions_to_the_caf(stack)
        refused = [town.caf() for _ in range(20)]
        assert {(one.status_code, one.json()["error"]) for one in refused} == {(503, "network_error")}
        assert all(0 < int(one.headers["Retry-After"]) <= 15 for one in refused)
        assert questions_to_the_caf(stack) <= asked + 2  # a turn may have come: one call tries every 15 s
        assert {town.dgfip().status_code for _ in range(5)} == {200}
        probe(stack)
        during = status(stack)
        assert (during["etat"], during["jeuxDeDonnees"]["quotient_familial"]["etat"]) == ("perturbe", "indisponible")
        assert during["jeuxDeDonnees"]["declarants"]["etat"] == "disponible"
        assert during["incidents"][0]["fournisseur"] == "caf"
        assert during["incidents"][0]["fin"] is None
    await_answer(town.caf)
    probe(stack)
    after = status(stack)
    assert after["etat"] == "disponible"
    assert after["incidents"][0]["fin"] is not None
    for provider, days in after["historique"].items():
        probes, answered = (sum(day[name] for day in days) for name in ("sondes", "reussies"))
        assert after["fournisseurs"][provider]["disponibilite30j"] == round(100 * answered / probes, 3)
    probed = [sum(day["sondes"] for day in one["historique"]["caf"]) for one in (before, after)]
    failed = [sum(day["sondes"] - day["reussies"] for day in one["historique"]["caf"]) for one in (before, after)]
    assert probed[1] - probed[0] >= 2
    assert failed[1] - failed[0] >= 1
    nothing_is_lost(stack, town)


def await_answer(ask: Callable[[], requests.Response]) -> None:
    """Ask until a provider that is back is asked again; nothing is deployed for it."""
    until = time.monotonic() + 60
    while (answer := ask()).status_code != 200 and time.monotonic() < until:
        assert answer.json()["error"] == "network_error"
        time.sleep(0.5)
    assert answer.status_code == 200


def nothing_is_lost(stack: Stack, town: Caller) -> None:
    """Each answer has its audit entry, with its status, and counters say the same."""
    assert town.audited() == {one.headers["X-Request-Id"]: one.status_code for one in town.answers}
    assert stack.operate("stats", "rebuild", "--check")["differences"] == []


@pytest.mark.parametrize(
    ("simulator", "fault", "expected"),
    [
        ("caf", "slow", (503, "network_error")),
        ("caf", "half", (502, "invalid_response")),
        ("caf", "certificate", (503, "network_error")),
        ("svair", "half", (502, "invalid_response")),
    ],
)
def test_a_provider_that_misbehaves_is_told_of_and_the_other_answers(
    stack: Stack, simulator: str, fault: str, expected: tuple[int, str]
) -> None:
    town = Caller(stack)
    ask, ask_the_other = (town.caf, town.dgfip) if simulator == "caf" else (town.dgfip, town.caf)
    assert (ask().status_code, ask_the_other().status_code) == (200, 200)
    with misbehaving(simulator, fault), ThreadPoolExecutor(3) as pool:
        failing = [pool.submit(ask) for _ in range(3)]  # meanwhile, and then:
        others = [ask_the_other().status_code for _ in range(5)]
        answers = [one.result() for one in failing]
        assert {(one.status_code, one.json()["error"]) for one in answers} == {expected}
        assert {int(one.headers.get("Retry-After", 0)) > 0 for one in answers} == {expected[0] == 503}
        assert [*others, ask_the_other().status_code] == [200] * 6
    await_answer(ask)
    nothing_is_lost(stack, town)


def test_an_announced_maintenance_is_answered_within_seconds_and_so_is_its_end(stack: Stack) -> None:
    town = Caller(stack)
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = now - timedelta(minutes=1), now + timedelta(hours=2)
    announced = stack.operate(
        *("status", "announce", "--provider", "caf", "--from", start.isoformat(), "--to", end.isoformat()),
        *("--message", "essai"),
    )
    try:
        assert [one["fin"] for one in announced] == [end.isoformat()]
        time.sleep(1.1)  # what an environment remembers
        answer = town.caf()
        assert answer.status_code == 503
        assert answer.json()["message"].endswith("heure de Paris : essai")
        assert 0 < int(answer.headers["Retry-After"]) <= 7200
        assert status(stack)["fournisseurs"]["caf"]["etat"] == "maintenance"
        assert stack.operate("status")["maintenances"] == announced
    finally:
        assert stack.operate("status", "withdraw", "--provider", "caf", "--from", start.isoformat()) == []
    time.sleep(1.1)
    assert town.caf().status_code == 200
    told = stack.operate("status", "withdraw", "--provider", "caf", "--from", start.isoformat(), expect=1)
    assert "no maintenance" in told


def test_without_its_statement_a_circuit_is_not_consulted_and_calls_go_on(stack: Stack) -> None:
    with stack.without_statement("QuotientFamilial", "TrackCaf"):
        time.sleep(1.1)
        assert stack.get(CAF_ROUTE, **FAMILY).status_code == 200


# Not WriteHistory, and circuits together: MiniStack looks at no condition on keys.
@pytest.mark.parametrize("sids", [("TrackDgfip", "TrackCaf"), ("ReadIdentities",)])
def test_without_a_statement_no_probe_is_written_down(stack: Stack, sids: tuple[str, ...]) -> None:
    with stack.without_statement("ProviderProbes", *sids):
        stack.forget("ProviderProbes")
        failed = stack.client("lambda").invoke(FunctionName=stack.function("ProviderProbes")["FunctionName"])
        assert "FunctionError" in failed
    probe(stack)


@pytest.mark.parametrize("sid", ["ReadHealth", "ReadHistory"])
def test_without_a_statement_there_is_no_status(stack: Stack, sid: str) -> None:
    with stack.without_statement("Status", sid):
        stack.forget("Status")
        assert stack.get("/status", key="").status_code == 500
    assert status(stack)["etat"] == "disponible"


def test_a_full_dataset_refuses_and_the_other_provider_does_not_notice(stack: Stack) -> None:
    """MiniStack leaves the template's share out, and enforces what it is told of what is no published version."""
    town = Caller(stack)
    name = stack.function("QuotientFamilial")["FunctionName"]
    client = stack.client("lambda")
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    client.update_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    try:
        full = town.ask(CAF_ROUTE, **FAMILY)
        assert full.status_code in {429, 500}  # MiniStack's; API Gateway's is 500, in the body of every error
        assert town.dgfip().status_code == 200
        assert town.ask("/v2/adresse", **FAMILY).status_code == 403  # its own function, which still answers
    finally:
        client.delete_function_concurrency(FunctionName=name)
        stack.forget("QuotientFamilial")
    assert town.caf().status_code == 200
