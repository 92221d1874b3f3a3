"""``make bench``: measure a call of each dataset, beside baselines."""

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
from bench.handler import BASELINES, DATASETS, FOLDER, Handler, build_for_this_machine, serve_upstreams
from bench.process import flame
from release.build import ROOT, ToolError, run_tool, zipped_bytes

_COLUMNS: Final = (
    ("cpu_ms", "CPU ms"),
    ("cpu_mean_ms", "mean CPU"),
    ("beyond_libraries_ms", "over libs"),
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


def _measure_all(handlers: list[Handler], mode: str, calls: int, cold_starts: int) -> dict[str, dict[str, float]]:
    """Return the figures of each handler; in Lambda's runtime they take turns, elsewhere one follows another."""
    if mode == "runtime":
        click.echo("Warm calls of all handlers in turns, then their cold starts: 2 minutes.", err=True)
        rows = runtime.measure(handlers, calls, cold_starts)
    else:
        rows = {}
        with click.progressbar(handlers, file=sys.stderr, item_show_func=lambda item: item.name if item else "") as bar:
            for handler in bar:
                if mode == "instructions":
                    rows[handler.name] = process.instructions(handler, calls)
                else:
                    rows[handler.name] = process.measure(handler, calls, cold_starts)
    compare(rows)
    return {name: {figure: round(value, 3) for figure, value in row.items()} for name, row in rows.items()}


def compare(rows: dict[str, dict[str, float]]) -> None:
    """Add to each row the differences with the baselines.

    ``imports_ms`` is the start beyond the bare handler's, ``beyond_libraries_ms`` the CPU beyond the libraries'.
    """
    for name, row in rows.items():
        if "start_ms" in row:
            row["imports_ms"] = row["start_ms"] - rows["floor"]["start_ms"]
        if "cpu_ms" in row and name not in BASELINES:
            row["beyond_libraries_ms"] = row["cpu_ms"] - rows["libraries"]["cpu_ms"]


def _figures(rows: dict[str, dict[str, float]]) -> dict[str, Any]:
    datasets = {name: row for name, row in rows.items() if name not in BASELINES}
    figures: dict[str, Any] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "cores": os.cpu_count()}
    return figures | {name: rows[name] for name in BASELINES} | {"datasets": datasets}


def _draw(figures: dict[str, Any]) -> Path:
    file, picture = FOLDER / "figures.json", FOLDER / "bench.svg"
    file.write_text(json.dumps(figures, indent=1) + "\n")
    command = [str(ROOT / ".local/tools/load/bin/python"), "-m", "bench.plot", str(file), str(picture)]
    run_tool(command, FOLDER / "plot.log", {"MPLCONFIGDIR": str(FOLDER)})
    return picture


def _save(picture: Path) -> None:
    """Keep the figures and the plot for ``docs/performance.md`` and the costs."""
    shutil.copy(FOLDER / "figures.json", ROOT / "bench/measured.json")
    shutil.copy(picture, ROOT / "docs/performance.svg")


def table(rows: dict[str, dict[str, float]]) -> str:
    """Return the figures in columns, a handler a line."""
    columns = [(figure, title) for figure, title in _COLUMNS if any(figure in row for row in rows.values())]
    lines = [f"{'':24}" + "".join(f"{title:>11}" for _, title in columns)]
    for name, row in rows.items():
        cells = (f"{row[figure]:11.2f}" if figure in row else f"{'':11}" for figure, _ in columns)
        lines.append(f"{name:24}" + "".join(cells))
    return "\n".join(lines)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--mode",
    type=click.Choice(["runtime", "process", "instructions", "flame"]),
    default="runtime",
    show_default=True,
    help="In Lambda's runtime interface; in a bare process; instructions counted by valgrind, which a busy machine does"
    " not disturb; or a profile by py-spy.",
)
@click.option("--calls", type=click.IntRange(min=2), help="Warm calls of each handler; 1000, or 100 when counting.")
@click.option("--cold-starts", default=3, show_default=True, type=click.IntRange(min=1), help="Processes started cold.")
@click.option("--seed", type=int, help="Draws the people of the providers' pages; a new one every run unless given.")
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
    """Measure each handler as deployed, in a process of its own.

    AWS and the providers are simulated on loopback, with responses prepared beforehand: the time that the real ones
    take is not in the figures.
    """
    if save and (only or mode != "runtime"):
        raise click.UsageError("--save keeps a whole run in Lambda's runtime")
    seed = secrets.randbelow(2**32) if seed is None else seed
    calls = calls or (100 if mode == "instructions" else 1000)
    try:
        built = build_for_this_machine()
        with serve_upstreams(seed) as upstreams:
            handlers = [Handler.of_dataset(name, built, upstreams) for name in only or DATASETS]
            if mode == "flame":
                for handler in handlers:
                    click.echo(flame(handler, calls).relative_to(ROOT))
                return
            baselines = [Handler.of_baseline(name, built, upstreams) for name in BASELINES]
            rows = _measure_all([*baselines, *handlers], mode, calls, cold_starts)
        layer_mb = round(zipped_bytes(built / "CommonLayer") / 1e6, 1)
        figures = _figures(rows) | {"layer_mb": layer_mb, "seed": seed, "calls": calls, "mode": mode}
        picture = _draw(figures) if mode != "instructions" else None
        if save and picture:
            _save(picture)
    except ToolError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(figures))
        return
    click.echo(f"{calls} warm calls each, people drawn by seed {seed}\n\n{table(rows)}")
    click.echo(f"\nThe layer, zipped: {layer_mb} MB")
    if picture:
        click.echo(f"\nPlot: {picture.relative_to(ROOT)}")


if __name__ == "__main__":
    main(prog_name="make bench ARGS=")
