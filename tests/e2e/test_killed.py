"""Processes of a function are killed (SIGKILL) during calls, and every successful response has its audit record."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice

import psutil

from ops import audit
from sandbox.processes import Processes
from tests.support.stack import FOLDER, NUMBERS, RFR_ROUTE, Stack
from tests.support.template import ROOT

CALLS = 1000
KEYS = 10
"""Each key allows 20 calls a second."""


def processes_of(function: str) -> Iterator[psutil.Process]:
    """Yield the processes that run a function, which the local cloud starts."""
    running = Processes(ROOT / FOLDER).running("cloud")
    assert running is not None
    for process in psutil.Process(running.pid).children(recursive=True):
        try:
            if process.environ().get("AWS_LAMBDA_FUNCTION_NAME") == function:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it has just ended
            continue


def test_every_successful_response_has_an_audit_record_when_processes_are_killed(stack: Stack) -> None:
    issued = [stack.issue_key("dgfip_revenu_fiscal_reference") for _ in range(KEYS)]
    function = stack.function("RevenuFiscalReference")["FunctionName"]
    killed = 0
    answered: set[str] = set()
    statuses: dict[int, int] = {}
    with ThreadPoolExecutor(8) as pool:
        keys = islice(cycle(token["key"] for token in issued), CALLS)
        for number, response in enumerate(pool.map(lambda key: stack.get(RFR_ROUTE, key=key, **NUMBERS), keys)):
            statuses[response.status_code] = statuses.get(response.status_code, 0) + 1
            if response.status_code == 200:  # other responses are the gateway's own
                answered.add(response.headers["X-Request-Id"])
            if number % 50 == 49:
                for process in islice(processes_of(function), 1):
                    process.kill()
                    killed += 1
    assert killed >= 10
    assert len(answered) > CALLS / 2, statuses
    assert set(statuses) <= {200, 429, 500, 502, 504}, statuses
    now = datetime.now(UTC)
    period = audit.Period(now - timedelta(hours=1), now + timedelta(hours=1))
    records = [record for token in issued for record in audit.of_token(stack.deployment, period, token["id"])]
    # A killed process may leave a record without a response, and never a response without a record.
    assert answered <= {record["request_id"] for record in records if record["status"] == 200}
    assert stack.run_cli("stats", "rebuild", "--check")["differences"] == []
