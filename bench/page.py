"""Write the figures of the last saved run as ``docs/performance.md`` shows them."""

import json
from collections.abc import Iterator
from typing import Any, Final

from release.build import ROOT

_SERVER_OF_2020: Final = (
    "| *server of 2020, tax notice, no audit nor key, as measured then* | 5.4–6.2 | | | 5.5 | | | 240 | | | | |\n"
    "| *server of 2020, family file over TLS, the same* | 6.0 | | | 6.3 | | | 240 | | | | |\n"
)


def table() -> str:
    """Return the table in Markdown, under the conditions of the run."""
    run: dict[str, Any] = json.loads((ROOT / "bench/measured.json").read_text())
    conditions = f"{run['date']}, {run['cores']} cores, {run['calls']:,} warm calls a handler, seed {run['seed']}."
    return f"{conditions}\n\n{_HEAD}{''.join(_rows(run))}{_SERVER_OF_2020}"


_HEAD: Final = (
    "| | CPU ms | beyond the bare handler | CPU ms, mean | p50 ms | p99 ms | billed ms | resident MB | cold start ms"
    " | of which imports | first call | log, bytes |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
)


_BASELINES: Final = {
    "floor": "bare handler",
    "passthrough": "`requests` pass-through",
    "libraries": "`requests` and `boto3` alone: a page read, a record written",
}


def _rows(run: dict[str, Any]) -> Iterator[str]:
    floor: dict[str, float] = run["floor"]
    rows: dict[str, dict[str, float]] = {title: run[name] for name, title in _BASELINES.items() if name in run}
    rows |= {f"`{name}`": row for name, row in run["datasets"].items()}
    for title, row in rows.items():
        cells = [f"{row['cpu_ms']:.2f}", f"{row['cpu_ms'] - floor['cpu_ms']:.2f}"]
        cells += [f"{row[figure]:.2f}" for figure in ("cpu_mean_ms", "p50_ms", "p99_ms", "billed_ms")]
        cells += [f"{row[figure]:.0f}" for figure in ("rss_mb", "cold_ms", "imports_ms", "init_ms", "log_bytes")]
        yield f"| {title} | {' | '.join(cells)} |\n"
