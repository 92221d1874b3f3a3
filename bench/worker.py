"""One handler in a process of its own, as an environment of Lambda is; run as a script, with nothing of ours imported.

``python worker.py HANDLER CALLS`` reads the event on standard input, calls the handler of ``app`` in the working
folder's package that many times, and prints what it cost as JSON. ``HANDLER`` is ``app``, ``floor`` or ``passthrough``.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WARM_UP = 50
_PAGE = os.sysconf("SC_PAGESIZE")


def _floor(_event: object, _context: object) -> dict[str, object]:
    return {"statusCode": 200, "headers": {}, "body": "{}"}


def _passthrough() -> Callable[[Any, Any], dict[str, object]]:
    import requests  # noqa: PLC0415 - what is measured

    session = requests.Session()
    url = f"{os.environ['DGFIP_SVAIR_URL']}/secavis/faces/commun/index.jsf"

    def handler(_event: object, _context: object) -> dict[str, object]:
        return {"statusCode": 200, "headers": {}, "body": session.post(url, data={"spi": "1"}, timeout=5).text}

    return handler


def _handler(name: str) -> Callable[[Any, Any], dict[str, Any]]:
    if name == "floor":
        return _floor
    if name == "passthrough":
        return _passthrough()
    from app import lambda_handler  # type: ignore[import-not-found]  # noqa: PLC0415 - what is measured, on the built path

    return lambda_handler  # type: ignore[no-any-return]  # the same


def _cpu_ms() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return (used.ru_utime + used.ru_stime) * 1000


def _rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def main() -> None:
    name, calls, told = sys.argv[1], int(sys.argv[2]), sys.stdin.read()
    answers, log = sys.stdout, Path(os.environ["BENCH_LOG"])
    sys.stdout = log.open("w")
    started, cpu = time.perf_counter(), _cpu_ms()
    handler = _handler(name)
    imported = time.perf_counter()

    def call() -> None:
        response = handler(json.loads(told), None)
        if response["statusCode"] != 200:  # noqa: PLR2004 - HTTP's own
            sys.exit(f"{name}: {response['statusCode']} {response['body']}")
        json.dumps(response)

    call()
    first, cold_cpu = time.perf_counter(), _cpu_ms() - cpu
    for _ in range(min(_WARM_UP, calls)):
        call()
    before_rss, times = _rss_mb(), []
    sys.stdout.flush()
    logged, cpu = log.stat().st_size, _cpu_ms()
    for _ in range(calls):
        at = time.perf_counter()
        call()
        times.append(time.perf_counter() - at)
    cpu = _cpu_ms() - cpu
    sys.stdout.flush()
    times.sort()
    measured = {
        "cpu_ms": cpu / calls,
        "p50_ms": times[calls // 2] * 1000,
        "p99_ms": times[calls * 99 // 100] * 1000,
        "rss_mb": _rss_mb(),
        "rss_growth_mb": _rss_mb() - before_rss,
        "imports_ms": (imported - started) * 1000,
        "init_ms": (first - imported) * 1000,
        "cold_ms": (first - started) * 1000,
        "cold_cpu_ms": cold_cpu,
        "log_bytes": (log.stat().st_size - logged) / calls,
    }
    told_layer = sys.modules.get("api_particulier")
    print(json.dumps(measured | {"layer": getattr(told_layer, "__file__", None)}), file=answers)


if __name__ == "__main__":
    main()
