"""``make bench``: what a call of each dataset costs, beside a bare handler and a plain pass-through in the same run."""

import json
import os
import secrets
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from bench import process, runtime
from bench.handler import COMPARED_WITH, DATASETS, FOLDER, Handler, answering, built_here
from bench.process import flame
from release.build import ROOT, ToolError, run_tool

_COLUMNS: Final = (
    ("cpu_ms", "CPU ms"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("billed_ms", "billed ms"),
    ("rss_mb", "RSS MB"),
    ("rss_growth_mb", "growth MB"),
    ("cold_ms", "cold ms"),
    ("start_ms", "start"),
    ("imports_ms", "imports"),
    ("init_ms", "first call"),
    ("log_bytes", "log B"),
    ("instructions_m", "M instr."),
)


def _measure(handler: Handler, mode: str, calls: int, cold_starts: int) -> dict[str, float]:
    if mode == "instructions":
        return process.instructions(handler, calls)
    measure = runtime.measure if mode == "runtime" else process.measure
    return measure(handler, calls, cold_starts)


def _rows(handlers: list[Handler], mode: str, calls: int, cold_starts: int) -> dict[str, dict[str, float]]:
    """Measure each handler; what a start takes beyond the bare handler's, which is the first, is its imports."""
    rows: dict[str, dict[str, float]] = {}
    with click.progressbar(handlers, file=sys.stderr, item_show_func=lambda one: one.name if one else "") as bar:
        for handler in bar:
            rows[handler.name] = _measure(handler, mode, calls, cold_starts)
    for row in rows.values():
        if "start_ms" in row:
            row["imports_ms"] = row["start_ms"] - rows["floor"]["start_ms"]
    return {name: {figure: round(value, 3) for figure, value in row.items()} for name, row in rows.items()}


def _told(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    datasets = {name: row for name, row in rows.items() if name not in COMPARED_WITH}
    told: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count()}
    return told | {name: rows[name] for name in COMPARED_WITH} | {"datasets": datasets}


def _drawn(told: dict[str, Any]) -> Path:
    figures, picture = FOLDER / "figures.json", FOLDER / "bench.svg"
    figures.write_text(json.dumps(told, indent=1) + "\n")
    command = [str(ROOT / ".local/tools/load/bin/python"), "-m", "bench.plot", str(figures), str(picture)]
    run_tool(command, FOLDER / "plot.log", {"MPLCONFIGDIR": str(FOLDER)})
    return picture


def _save(picture: Path) -> None:
    """Keep what was measured, where ``docs/performance.md`` and the costs read it."""
    shutil.copy(FOLDER / "figures.json", ROOT / "bench/measured.json")
    shutil.copy(picture, ROOT / "docs/performance.svg")


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the figures in columns, a handler a line."""
    columns = [(figure, title) for figure, title in _COLUMNS if figure in rows["floor"]]
    lines = [f"{'':24}" + "".join(f"{title:>11}" for _, title in columns)]
    lines += [f"{name:24}" + "".join(f"{row[figure]:11.2f}" for figure, _ in columns) for name, row in rows.items()]
    return "\n".join(lines)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--mode",
    type=click.Choice(["runtime", "process", "instructions", "flame"]),
    default="runtime",
    show_default=True,
    help="In Lambda's runtime interface; in a bare process; instructions counted by valgrind, whatever else runs; or a"
    " profile by py-spy.",
)
@click.option("--calls", type=click.IntRange(min=2), help="Warm calls of each handler; 1000, or 100 when counting.")
@click.option("--cold-starts", default=3, show_default=True, type=click.IntRange(min=1), help="Processes started cold.")
@click.option("--seed", type=int, help="Draws the people of the providers' pages; another one every run unless given.")
@click.option("--only", multiple=True, type=click.Choice(DATASETS), help="Measure these datasets alone.")
@click.option("--save", is_flag=True, help="Keep the figures and the plot for docs/performance.md; then `make docs`.")
def main(  # noqa: PLR0913 - one parameter an option
    *,
    as_json: bool,
    mode: str,
    calls: int | None,
    cold_starts: int,
    seed: int | None,
    only: tuple[str, ...],
    save: bool,
) -> None:
    """Measure what is deployed: each handler in a process of its own, whose CPU the operating system counts.

    The token, the pseudonym and the audit are asked of static endpoints on loopback, as are the providers: what they
    would take is not in the figures.
    """
    if save and (only or mode != "runtime"):
        raise click.UsageError("--save keeps a whole run in Lambda's runtime")
    seed = secrets.randbelow(2**32) if seed is None else seed
    calls = calls or (100 if mode == "instructions" else 1000)
    try:
        built = built_here()
        with answering(seed) as upstreams:
            measured = [Handler.of_dataset(name, built, upstreams) for name in only or DATASETS]
            if mode == "flame":
                for handler in measured:
                    click.echo(flame(handler, calls).relative_to(ROOT))
                return
            compared = [Handler.to_compare_with(name, upstreams) for name in COMPARED_WITH]
            rows = _rows([*compared, *measured], mode, calls, cold_starts)
        told = _told(rows) | {"seed": seed, "calls": calls, "mode": mode}
        picture = _drawn(told) if mode != "instructions" else None
        if save and picture:
            _save(picture)
    except ToolError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(f"{calls} warm calls each, people drawn by seed {seed}\n\n{table(rows)}")
    if picture:
        click.echo(f"\nPlot: {picture.relative_to(ROOT)}")


if __name__ == "__main__":
    main(prog_name="make bench ARGS=")
