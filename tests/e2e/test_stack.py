"""The local stack listens on loopback only, and ``run`` stops what it starts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import psutil
import pytest

from tests.support.stack import FOLDER, Stack
from tests.support.template import ROOT

ELSEWHERE = ".local/e2e-run"


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


def test_run_makes_the_example_calls_and_stops_every_process_on_ctrl_c() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "sandbox", "run"],
        cwd=ROOT,
        env=os.environ | {"LOCAL_STACK": ELSEWHERE},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stdout is not None
        printed = ""
        for line in running.stdout:
            printed += line
            if "Ctrl-C" in line:
                break
        started = _processes_of(ELSEWHERE) if running.poll() is None else []
        os.killpg(running.pid, signal.SIGINT)
        printed += running.communicate(timeout=60)[0]
    assert running.returncode == 0
    assert printed.count("→ 200") == 2
    assert '"revenuFiscalReference"' in printed
    assert started
    assert not [process for process in started if process.is_running()]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(re.findall(r"http://127\.0\.0\.1:(\d+)/", printed)[0])), timeout=5)
    assert not (ROOT / ELSEWHERE / "stack.json").exists()


def _processes_of(folder: str) -> list[psutil.Process]:
    """Return the processes of a stack, with their descendants."""
    file = ROOT / folder / "processes.json"
    started = [psutil.Process(process["pid"]) for process in json.loads(file.read_text()).values()]
    return [descendant for process in started for descendant in (process, *process.children(recursive=True))]
