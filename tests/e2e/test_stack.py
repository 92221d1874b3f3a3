"""The local stack listens on loopback only, and ``run`` stops what it starts."""

import json
import socket
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from tests.support.stack import FOLDER, Run, Stack
from tests.support.template import ROOT, resources

CALLS = {
    f"{path.parent.name}-{path.stem}": json.loads(path.read_text())
    for function in resources("AWS::Serverless::Function").values()
    if "SnapStart" in function and function["CodeUri"] != "functions/key_authorizer/"  # the datasets
    for path in sorted((ROOT / "events" / Path(function["CodeUri"]).name).glob("*.json"))
}


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    assert stack.api_url.startswith("http://127.0.0.1:")
    listening = [
        connection.laddr.ip
        for process in _processes_of(FOLDER)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert set(listening) == {"127.0.0.1"}


def test_run_makes_the_example_calls(run: Run) -> None:
    assert run.printed.count("→ 200") == 2
    assert '"revenuFiscalReference"' in run.printed


@pytest.mark.parametrize("example", CALLS)
def test_the_example_event_of_a_dataset_is_a_call_that_the_demonstration_key_opens(stack: Stack, example: str) -> None:
    call = CALLS[example]
    is_v3 = call["path"].startswith("/v3/")
    base = stack.description["v3_url"] if is_v3 else stack.api_url.removesuffix("/api")
    response = requests.get(
        f"{str(base).rstrip('/')}{call['path']}",
        call["multiValueQueryStringParameters"],
        headers={"X-API-Key": stack.api_key, "Accept": "application/json"},
        timeout=60,
    )
    assert response.status_code == 200, response.text


@pytest.mark.order(3)  # there is no stack after it
def test_ctrl_c_stops_every_process(run: Run, stack: Stack) -> None:
    started = _processes_of(FOLDER)
    assert run.stop() == 0
    assert started
    assert not [process for process in started if process.is_running()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", urlsplit(stack.api_url).port or 0), timeout=5)
    assert not (ROOT / FOLDER / "stack.json").exists()


def _processes_of(folder: str) -> list[psutil.Process]:
    """Return the processes of a stack, with their descendants."""
    file = ROOT / folder / "processes.json"
    started = [psutil.Process(process["pid"]) for process in json.loads(file.read_text()).values()]
    return [descendant for process in started for descendant in (process, *process.children(recursive=True))]
