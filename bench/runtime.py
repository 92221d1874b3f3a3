"""Measure a handler in Lambda's runtime interface, under AWS SAM's emulator.

The emulator logs how long a function took to start and how long each call took, as Lambda would bill them; the CPU and
the memory of the function's process are read from the operating system.

The handlers take turns, a round of calls each. The CPU of a call is that of the quickest round, since whatever else the
machine does only adds to it (https://docs.python.org/3/library/timeit.html#timeit.Timer.repeat); the mean is beside it.
"""

import ctypes
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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

_ROUND: Final = 10
"""Calls that a handler makes in its turn: few, as the speed of a shared machine changes within a second."""
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
    log: Path

    def call(self) -> None:
        response = self.session.post(self.url, data=self.event, timeout=60).json()
        if response.get("statusCode") != requests.codes.ok:
            msg = f"the handler returned {response.get('statusCode')}: {response.get('body', response)}"
            raise ToolError(msg)

    def round(self) -> float:
        """Make the calls of a turn; return the CPU time that each took in the function, in milliseconds."""
        clock = cpu_clock(self.function().pid)
        before = time.clock_gettime(clock)
        for _ in range(_ROUND):
            self.call()
        return (time.clock_gettime(clock) - before) * 1000 / _ROUND

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
    path = FOLDER / f"runtime-{handler.name}.log"
    with (
        path.open("w") as log,
        subprocess.Popen(command, cwd=FOLDER, env=handler.environment, stdout=log, stderr=log) as emulator,  # noqa: S603 - tools that `make setup` installed
        requests.Session() as session,
    ):
        try:
            _wait(rie, path)
            url = f"http://{rie}/2015-03-31/functions/function/invocations"
            yield _Environment(url, psutil.Process(emulator.pid), session, handler.event.encode(), path)
        finally:
            for process in psutil.Process(emulator.pid).children():
                process.kill()
            emulator.kill()


def _wait(address: str, log: Path) -> None:
    host, _, port = address.partition(":")
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    msg = f"Lambda's emulator did not start: {log.read_text()[-1000:]}"
    raise ToolError(msg)


def cpu_clock(process_id: int) -> int:
    """Return the clock of a process's CPU time, all threads together; psutil counts in hundredths of a second."""
    clock = ctypes.c_int()
    if error := ctypes.CDLL(None).clock_getcpuclockid(process_id, ctypes.byref(clock)):
        raise OSError(error, os.strerror(error))
    return clock.value


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
    started, (first, *_) = read_log(environment.log.read_text())
    return started, first


def measure(handlers: Sequence[Handler], calls: int, cold_starts: int) -> dict[str, dict[str, float]]:
    """Return what each handler costs, warm and cold, by name."""
    with ExitStack() as stack:
        environments = [stack.enter_context(_environment(handler)) for handler in handlers]
        warm = _measure_warm(environments, ceil(calls / _ROUND / 2) * 2)
    return {
        handler.name: _measure_cold(handler, cold_starts) | figures
        for handler, figures in zip(handlers, warm, strict=True)
    }


def _measure_warm(environments: Sequence[_Environment], rounds: int) -> list[dict[str, float]]:
    """Return the figures of warm calls, made in turns; ``rounds`` is even."""
    for environment in environments:
        for _ in range(1 + WARM_UP):
            environment.call()
    before = [(environment.rss_mb(), environment.log.stat().st_size) for environment in environments]
    turns = [[environment.round() for environment in environments] for _ in range(rounds)]
    return [
        _warm_figures(environment, list(cpu), *start)
        for environment, cpu, start in zip(environments, zip(*turns, strict=True), before, strict=True)
    ]


def _warm_figures(
    environment: _Environment, cpu: Sequence[float], rss_before: float, logged_before: int
) -> dict[str, float]:
    """Return the figures of an environment; ``cpu`` has the milliseconds of a call in each round."""
    log = environment.log.read_text()
    calls = len(cpu) * _ROUND
    durations = read_log(log)[1][-calls:]
    half = len(cpu) // 2
    resident = environment.rss_mb()
    return {
        "cpu_ms": min(cpu),
        "cpu_mean_ms": fmean(cpu),
        "cpu_growth_ms": fmean(cpu[half:]) - fmean(cpu[:half]),
        "p50_ms": median(durations),
        "p99_ms": quantiles(durations, n=100)[98],
        "billed_ms": fmean(ceil(duration) for duration in durations),
        "rss_mb": resident,
        "rss_growth_mb": resident - rss_before,
        # The function's lines are JSON; the emulator's, which stand between them, are not.
        "log_bytes": sum(len(line) + 1 for line in log[logged_before:].splitlines() if line.startswith("{")) / calls,
    }


def _measure_cold(handler: Handler, cold_starts: int) -> dict[str, float]:
    """Return the medians of a few cold starts, in milliseconds; files are read once before."""
    cold(handler)
    starts, firsts = zip(*(cold(handler) for _ in range(cold_starts)), strict=True)
    start, first = median(starts), median(firsts)
    return {"start_ms": start, "init_ms": first, "cold_ms": start + first}
