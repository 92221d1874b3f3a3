"""Call a handler in this process, without Lambda's runtime.

``python worker.py MODULE CALLS`` reads the event on standard input, calls the module's ``lambda_handler`` that many
times, warm, and prints the figures as JSON. The handler's log goes to the file ``BENCH_LOG``. This script imports no
module of the project.
"""

import json
import os
import resource
import sys
import time
from importlib import import_module
from pathlib import Path
from statistics import fmean

_WARM_UP = 50
_ROUND = 10
"""Calls of a round; the quickest round is the one that the rest of the machine disturbed least."""
_PAGE = os.sysconf("SC_PAGESIZE")


def _cpu_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def main() -> None:
    module, calls, event = sys.argv[1], int(sys.argv[2]), sys.stdin.read()
    output, log = sys.stdout, Path(os.environ["BENCH_LOG"])
    sys.stdout = log.open("w")
    started = time.perf_counter()
    handler = import_module(module).lambda_handler
    imported = time.perf_counter()

    def call() -> None:
        response = handler(json.loads(event), None)
        if response["statusCode"] != 200:  # noqa: PLR2004 - HTTP's own
            sys.exit(f"{module}: {response['statusCode']} {response['body']}")
        json.dumps(response)

    call()
    first = time.perf_counter()
    for _ in range(_WARM_UP):
        call()
    sys.stdout.flush()
    before, logged, rounds, times = _rss_mb(), log.stat().st_size, list[float](), list[float]()
    while len(times) < calls:
        used = _cpu_ms()
        for _ in range(_ROUND):
            at = time.perf_counter()
            call()
            times.append(time.perf_counter() - at)
        rounds.append((_cpu_ms() - used) / _ROUND)
    sys.stdout.flush()
    times.sort()
    half = len(rounds) // 2
    measured = {
        "cpu_ms": min(rounds),
        "cpu_mean_ms": fmean(rounds),
        "cpu_growth_ms": fmean(rounds[half:]) - fmean(rounds[:half] or rounds),
        "p50_ms": times[len(times) // 2] * 1000,
        "p99_ms": times[len(times) * 99 // 100] * 1000,
        "rss_mb": _rss_mb(),
        "rss_growth_mb": _rss_mb() - before,
        "start_ms": (imported - started) * 1000,
        "init_ms": (first - imported) * 1000,
        "cold_ms": (first - started) * 1000,
        "log_bytes": (log.stat().st_size - logged) / len(times),
    }
    print(json.dumps(measured), file=output)


if __name__ == "__main__":
    main()
