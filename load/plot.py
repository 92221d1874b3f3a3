"""Draw the calls, the statuses and the latency of each second of a run.

``python -m load.plot CALLS SVG TITLE HOURS``, with a Python that has matplotlib: the file of calls, the picture, its
title, and the hours of the day that the run stands for (0 to draw seconds).
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

_KINDS: Final[tuple[tuple[str, str, Callable[[int], bool]], ...]] = (
    ("2xx", "#000091", lambda status: 200 <= status < 300),  # noqa: PLR2004 - HTTP's own
    ("4xx", "#6a6af4", lambda status: 400 <= status < 500 and status != 429),  # noqa: PLR2004 - HTTP's own
    ("429", "#fc5d00", lambda status: status == 429),  # noqa: PLR2004 - HTTP's own
    ("5xx, none", "#c9191e", lambda status: status == 0 or status >= 500),  # noqa: PLR2004 - HTTP's own
)


def draw(calls: Sequence[dict[str, Any]], picture: Path, title: str, hours: float) -> None:
    """Write the picture, SVG; the seconds of the run appear as hours of the day."""
    lasted = int(max(call["at"] for call in calls)) + 1
    scale = [hours * second / lasted for second in range(lasted)]
    figure, (rate, latency) = plt.subplots(2, 1, sharex=True, figsize=(11, 7), layout="constrained")
    per_second = []
    for _, _, is_kind in _KINDS:
        counts = [0] * lasted
        for call in calls:
            counts[int(call["at"])] += is_kind(call["status"])
        per_second.append(counts)
    names, colours = [kind[0] for kind in _KINDS], [kind[1] for kind in _KINDS]
    rate.stackplot(scale, *per_second, labels=names, colors=colours, step="post")
    rate.set(title=title, ylabel="calls a second")
    rate.legend(loc="upper left", ncols=len(names), frameon=False)
    for part, style in ((0.5, "-"), (0.95, "--"), (0.99, ":")):
        latency.plot(
            scale, [_percentile(calls, second, part) for second in range(lasted)], style, label=f"p{part * 100:.0f}"
        )
    latency.set(xlabel="hour" if hours else "second", ylabel="ms, throttled calls left out", yscale="log")
    latency.legend(loc="upper left", ncols=3, frameon=False)
    figure.savefig(picture)


def _percentile(calls: Sequence[dict[str, Any]], second: int, part: float) -> float:
    times = sorted(call["ms"] for call in calls if int(call["at"]) == second and call["status"] != 429)  # noqa: PLR2004 - HTTP's own
    return times[min(len(times) - 1, int(part * len(times)))] if times else float("nan")


if __name__ == "__main__":
    written = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    draw(written, Path(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
