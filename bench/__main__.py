"""``make bench``: what a call of each dataset costs, beside a bare handler and a plain pass-through in the same run."""

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from platform import machine
from typing import Final

import click

from bench import process, runtime
from bench.handler import COMPARED_WITH, DATASETS, FOLDER, Handler
from ops.build import ROOT, ToolError, build

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


@contextmanager
def _upstreams(seed: int) -> Iterator[dict[str, str]]:
    """Serve the answers, in a process of their own; yields the environment of a function that asks them."""
    command = [sys.executable, "-m", "bench.upstreams", str(FOLDER), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - a program of ours
        assert server.stdout is not None  # noqa: S101 - a pipe, as asked
        try:
            plain, tls = server.stdout.readline().split()
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{plain}",
                "DGFIP_SVAIR_URL": f"http://127.0.0.1:{plain}",
                "BAN_URL": f"http://127.0.0.1:{plain}",
                "CAF_URL": f"https://127.0.0.1:{tls}",
            }
        finally:
            server.terminate()


def _built() -> Path:
    return build(FOLDER / "build", "arm64" if machine() in {"arm64", "aarch64"} else "x86_64").parent


def _measure(handler: Handler, mode: str, calls: int, cold_starts: int) -> dict[str, float]:
    if mode == "instructions":
        return process.instructions(handler, calls)
    measure = runtime.measure if mode == "runtime" else process.measure
    return measure(handler, calls, cold_starts)


def _beside_the_floor(rows: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Say how much of a start is imports: what it takes beyond a bare handler's."""
    floor = rows["floor"]
    for row in rows.values():
        if "start_ms" in row:
            row["imports_ms"] = row["start_ms"] - floor["start_ms"]
    return {name: {figure: round(value, 3) for figure, value in row.items()} for name, row in rows.items()}


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
    type=click.Choice(["runtime", "process", "instructions"]),
    default="runtime",
    show_default=True,
    help="In Lambda's runtime interface; in a bare process; or instructions counted by valgrind, whatever else runs.",
)
@click.option("--calls", type=click.IntRange(min=2), help="Warm calls of each handler; 1000, or 100 when counting.")
@click.option("--cold-starts", default=3, show_default=True, type=click.IntRange(min=1), help="Processes started cold.")
@click.option("--seed", type=int, help="Draws the people of the providers' pages; another one every run unless given.")
@click.option("--only", multiple=True, type=click.Choice(DATASETS), help="Measure these datasets alone.")
def main(  # noqa: PLR0913 - one parameter an option
    *, as_json: bool, mode: str, calls: int | None, cold_starts: int, seed: int | None, only: tuple[str, ...]
) -> None:
    """Measure what is deployed: each handler in a process of its own, whose CPU the operating system counts.

    The token, the pseudonym and the audit are asked of static endpoints on loopback, as are the providers: what they
    would take is not in the figures.
    """
    seed = secrets.randbelow(2**32) if seed is None else seed
    calls = calls or (100 if mode == "instructions" else 1000)
    rows: dict[str, dict[str, float]] = {}
    try:
        built = _built()
        with _upstreams(seed) as upstreams:
            handlers = [Handler.to_compare_with(name, upstreams) for name in COMPARED_WITH]
            handlers += [Handler.of_dataset(name, built, upstreams) for name in only or DATASETS]
            with click.progressbar(
                handlers, file=sys.stderr, item_show_func=lambda one: one.name if one else ""
            ) as bar:
                for handler in bar:
                    rows[handler.name] = _measure(handler, mode, calls, cold_starts)
    except ToolError as error:
        raise click.ClickException(str(error)) from None
    rows = _beside_the_floor(rows)
    if as_json:
        compared = {name: rows.pop(name) for name in COMPARED_WITH}
        click.echo(json.dumps({"seed": seed, "calls": calls, "mode": mode} | compared | {"datasets": rows}))
    else:
        click.echo(f"{calls} warm calls each, people drawn by seed {seed}\n\n{table(rows)}")


if __name__ == "__main__":
    main(prog_name="make bench ARGS=")
