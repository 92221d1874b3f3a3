"""Measure a handler in Lambda's runtime interface, under AWS SAM's emulator.

The emulator logs how long a function took to start and how long each call took, as Lambda would bill them; the CPU and
the memory of the function's process are read from the operating system.
"""

import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from platform import machine
from statistics import fmean, median, quantiles
from typing import Final

import psutil
import requests

from bench.handler import FOLDER, PYTHON, WARM_UP, Handler
from release.build import ROOT, ToolError

_LOG: Final = FOLDER / "runtime.log"
_STARTED: Final = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
_CALL: Final = re.compile(r"INVOKE RTDONE\(.*duration: ([\d.]+)ms\)")


def _emulator() -> Path:
    kind = "arm64" if machine() in {"arm64", "aarch64"} else "x86_64"
    found = list((ROOT / ".local/tools/sam").glob(f"lib/*/site-packages/samcli/local/rapid/aws-lambda-rie-{kind}"))
    if not found:
        msg = f"aws-sam-cli has no Lambda runtime interface emulator for {kind}; `--mode process` needs none"
        raise ToolError(msg)
    return found[0]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@dataclass
class _Environment:
    """An execution environment: the emulator, and its child, the function."""

    url: str
    emulator: psutil.Process
    session: requests.Session
    event: bytes

    def call(self) -> None:
        response = self.session.post(self.url, data=self.event, timeout=60).json()
        if response.get("statusCode") != requests.codes.ok:
            msg = f"the handler returned {response.get('statusCode')}: {response.get('body', response)}"
            raise ToolError(msg)

    def calls(self, count: int) -> float:
        """Call ``count`` times; return the function's CPU time, in milliseconds."""
        before = self.cpu_ms()
        for _ in range(count):
            self.call()
        return self.cpu_ms() - before

    def cpu_ms(self) -> float:
        used = self.function().cpu_times()
        return (used.user + used.system) * 1000

    def rss_mb(self) -> float:
        return self.function().memory_info().rss / 1e6

    def function(self) -> psutil.Process:
        (process,) = self.emulator.children()
        return process


@contextmanager
def _environment(handler: Handler) -> Iterator[_Environment]:
    rie, api = (f"127.0.0.1:{_free_port()}" for _ in range(2))
    command = [str(_emulator()), "--runtime-interface-emulator-address", rie, "--runtime-api-address", api]
    command += [str(PYTHON), "-m", "awslambdaric", f"{handler.module}.lambda_handler"]
    with (
        _LOG.open("w") as log,
        subprocess.Popen(command, cwd=FOLDER, env=handler.environment, stdout=log, stderr=log) as emulator,  # noqa: S603 - tools that `make setup` installed
        requests.Session() as session,
    ):
        try:
            _wait(rie)
            url = f"http://{rie}/2015-03-31/functions/function/invocations"
            yield _Environment(url, psutil.Process(emulator.pid), session, handler.event.encode())
        finally:
            for process in psutil.Process(emulator.pid).children():
                process.kill()
            emulator.kill()


def _wait(address: str) -> None:
    host, _, port = address.partition(":")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    msg = f"Lambda's emulator did not start: {_LOG.read_text()[-1000:]}"
    raise ToolError(msg)


def read_log(log: str) -> tuple[float, list[float]]:
    """Return the durations of the start and of each call, from the emulator's log.

    Raise ``ToolError`` when the function did not start.
    """
    started = _STARTED.search(log)
    if started is None:
        msg = f"the function did not start: {log[-2000:]}"
        raise ToolError(msg)
    return float(started[1]), [float(duration) for duration in _CALL.findall(log)]


def cold(handler: Handler) -> tuple[float, float]:
    """Start a function and call it once; return both durations, in milliseconds."""
    with _environment(handler) as environment:
        environment.call()
    started, (first, *_) = read_log(_LOG.read_text())
    return started, first


def measure(handler: Handler, calls: int, cold_starts: int) -> dict[str, float]:
    """Return what a handler costs, warm and cold."""
    cold(handler)  # files are read and bytecode is compiled once, outside of the figures
    starts, firsts = zip(*(cold(handler) for _ in range(cold_starts)), strict=True)
    half = ceil(calls / 2)
    with _environment(handler) as environment:
        for _ in range(1 + WARM_UP):
            environment.call()
        before, logged = environment.rss_mb(), _LOG.stat().st_size
        first, second = environment.calls(half), environment.calls(half)
        resident = environment.rss_mb()
    log = _LOG.read_text()
    warm = read_log(log)[1][-2 * half :]
    return {
        "cpu_ms": (first + second) / (2 * half),
        "cpu_growth_ms": (second - first) / half,
        "p50_ms": median(warm),
        "p99_ms": quantiles(warm, n=100)[98],
        "billed_ms": fmean(ceil(duration) for duration in warm),
        "rss_mb": resident,
        "rss_growth_mb": resident - before,
        "start_ms": median(starts),
        "init_ms": median(firsts),
        "cold_ms": median(starts) + median(firsts),
        # The function's lines are JSON; the emulator's, which stand between them, are not.
        "log_bytes": sum(len(line) + 1 for line in log[logged:].splitlines() if line.startswith("{")) / (2 * half),
    }
