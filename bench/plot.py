"""Draw the CPU of a warm call and the parts of a cold start.

``python -m bench.plot FIGURES SVG``, with a Python that has matplotlib: the JSON of ``make bench``, and the picture.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

_BLUE, _PALE, _ORANGE, _GREY = "#000091", "#8585f6", "#fc5d00", "#929292"
_SERVER_OF_2020: Final = {"the server of 2020, notice": 5.4, "the server of 2020, family": 6.0}
"""Milliseconds of CPU, as measured in 2020, without audit or key."""
_TARGET_CPU, _TARGET_COLD = 2.0, 450.0


_BASELINES: Final = {"floor": "bare handler", "passthrough": "requests alone", "libraries": "requests and boto3 alone"}


def draw(run: dict[str, Any], picture: Path) -> None:
    """Write the picture, SVG: the baselines, the datasets, and the server of 2020."""
    rows: dict[str, dict[str, float]] = {title: run[name] for name, title in _BASELINES.items()} | run["datasets"]
    names, colours = list(rows), [_GREY] * len(_BASELINES) + [_BLUE] * len(run["datasets"])
    figure, (cpu, cold) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    cpu.barh(names, [row["cpu_ms"] for row in rows.values()], color=colours)
    cpu.barh(list(_SERVER_OF_2020), list(_SERVER_OF_2020.values()), color=_PALE)
    cpu.axvline(_TARGET_CPU, color=_ORANGE, linestyle="--", label="target")
    cpu.set(title="CPU of a warm call, ms")
    runtime = [row["start_ms"] - row["imports_ms"] for row in rows.values()]
    started = [row["start_ms"] for row in rows.values()]
    cold.barh(names, runtime, color=_GREY, label="Python and Lambda's client")
    cold.barh(names, [row["imports_ms"] for row in rows.values()], left=runtime, color=_BLUE, label="imports")
    cold.barh(names, [row["init_ms"] for row in rows.values()], left=started, color=_PALE, label="first call")
    cold.axvline(_TARGET_COLD, color=_ORANGE, linestyle="--", label="target")
    cold.set(title="cold start without a snapshot, ms")
    cold.legend(frameon=False, loc="lower right")
    for axes in (cpu, cold):
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same figures are the same file
    figure.savefig(picture, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
