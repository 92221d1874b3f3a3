"""Measure a handler in a process of its own, without Lambda's runtime.

It measures by the clock, counts instructions, or draws a profile. The number of instructions does not depend on the
machine's load: it shows a change of 1 %, where time shows 10 %.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

from bench.handler import FOLDER, PYTHON, Handler
from release.build import ROOT, ToolError

_WORKER: Final = str(ROOT / "bench/worker.py")
_COUNTED: Final = re.compile(r"I\s+refs:\s+([\d,]+)")
_FEW: Final = 20


def measure(handler: Handler, calls: int, cold_starts: int) -> dict[str, float]:
    """Return the figures of a handler, warm and cold.

    ``start_ms`` is its imports alone, with Python already started.
    """
    starts = [json.loads(_run(handler, [], 2).stdout) for _ in range(cold_starts)]
    warm: dict[str, float] = json.loads(_run(handler, [], calls).stdout)
    return warm | {name: median(start[name] for start in starts) for name in ("start_ms", "init_ms", "cold_ms")}


def instructions(handler: Handler, calls: int) -> dict[str, float]:
    """Return the millions of instructions of a warm call, counted by valgrind.

    They are the instructions of a run less those of a shorter run.
    """
    if not shutil.which("valgrind"):
        msg = "`--mode instructions` needs valgrind, which any Linux packages"
        raise ToolError(msg)
    counting = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    counted = []
    for count in (_FEW, _FEW + calls):
        found = _COUNTED.search(_run(handler, counting, count).stderr)
        assert found is not None  # noqa: S101 - what the tool always prints
        counted.append(int(found[1].replace(",", "")))
    return {"instructions_m": (counted[1] - counted[0]) / calls / 1e6}


def flame(handler: Handler, calls: int) -> Path:
    """Write a flame graph of the handler's calls, SVG; return its path."""
    picture = FOLDER / f"flame-{handler.name}.svg"
    _run(handler, ["py-spy", "record", "--rate", "500", "--function", "--output", str(picture), "--"], calls)
    # py-spy's title is the command, with the paths of this machine.
    titled = re.sub(r'(<text id="title"[^>]*>)[^<]*', rf"\1{handler.name}, {calls} calls", picture.read_text(), count=1)
    picture.write_text(titled)
    return picture


def _run(handler: Handler, wrapper: list[str], calls: int) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(  # noqa: S603 - a script of this project
        [*wrapper, str(PYTHON), _WORKER, handler.module, str(calls)],
        input=handler.event,
        env=handler.environment
        | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        | {"BENCH_LOG": str(FOLDER / "function.log"), "PYTHONHASHSEED": "0"},
        cwd=FOLDER,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise ToolError(done.stderr.strip()[-2000:])
    return done
