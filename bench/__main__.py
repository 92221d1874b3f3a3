"""``make bench``: what a call of each dataset costs, beside a bare handler and a plain pass-through in the same run."""

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from platform import machine
from statistics import median
from typing import Any, Final

import click

from bench.upstreams import KEY
from ops.build import ROOT, ToolError, build

FOLDER: Final = ROOT / ".local/bench"
DATASETS: Final = (
    "avis_imposition",
    "revenu_fiscal_reference",
    "declarants",
    "adresse_fiscale",
    "quotient_familial",
    "composition_familiale",
    "adresse_caf",
)
_COLUMNS: Final = (
    ("cpu_ms", "CPU ms"),
    ("p50_ms", "p50 ms"),
    ("p99_ms", "p99 ms"),
    ("rss_mb", "RSS MB"),
    ("rss_growth_mb", "growth MB"),
    ("cold_ms", "cold ms"),
    ("imports_ms", "imports"),
    ("init_ms", "first call"),
    ("log_bytes", "log B"),
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


def _environment(upstreams: dict[str, str], built: Path, name: str) -> dict[str, str]:
    return upstreams | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{built / name}{os.pathsep}{built / 'CommonLayer/python'}",
        "BENCH_LOG": str(FOLDER / "function.log"),
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "AWS_EC2_METADATA_DISABLED": "true",
        "TOKENS_TABLE": "tokens",
        "AUDIT_TABLE": "audit",
        "STATS_TABLE": "stats",
        "PSEUDONYM_KEY_ID": "bench",
        "ENTRY_KEY_ID": "bench",
        "CAF_SECRET_ID": "bench",
        "DGFIP_AVAILABLE_YEARS": "99",
        # As Lambda tells of a request that is not sampled for X-Ray, which is 19 in 20.
        "LAMBDA_TASK_ROOT": "/var/task",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
    }


def _run(kind: str, calls: int, event: str, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(  # noqa: S603 - a script of ours
        [sys.executable, str(ROOT / "bench/worker.py"), kind, str(calls)],
        input=event,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(done.stderr.strip()[-2000:])
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def _measure(name: str, calls: int, cold_starts: int, upstreams: dict[str, str], built: Path) -> dict[str, float]:
    kind = name if name in {"floor", "passthrough"} else "app"
    event = "{}"
    if kind == "app":
        told = json.loads((ROOT / "events" / name / "v2.json").read_text())
        told["headers"]["X-API-Key"] = KEY
        event = json.dumps(told)
    environment = _environment(upstreams, built, name.title().replace("_", ""))
    runs = [_run(kind, 1, event, environment) for _ in range(cold_starts)]
    measured = _run(kind, calls, event, environment)
    if kind == "app" and not str(measured["layer"]).startswith(str(built)):
        raise click.ClickException("what ran is not what was built")
    for figure in ("imports_ms", "init_ms", "cold_ms", "cold_cpu_ms"):
        measured[figure] = median(run[figure] for run in runs)
    del measured["layer"]
    return {figure: round(value, 3) for figure, value in measured.items()}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--calls", default=1000, show_default=True, type=click.IntRange(min=1), help="Warm calls of each handler."
)
@click.option("--cold-starts", default=3, show_default=True, type=click.IntRange(min=1), help="Processes started cold.")
@click.option("--seed", type=int, help="Draws the people of the providers' pages; another one every run unless given.")
@click.option("--only", multiple=True, type=click.Choice(DATASETS), help="Measure these datasets alone.")
def main(*, as_json: bool, calls: int, cold_starts: int, seed: int | None, only: tuple[str, ...]) -> None:
    """Measure what is deployed: each handler in a process of its own, whose CPU the operating system counts.

    The handlers are called in process, with the encoding and decoding that Lambda's runtime does; the token, the
    pseudonym and the audit are asked of static endpoints on loopback.
    """
    seed = secrets.randbelow(2**32) if seed is None else seed
    try:
        built = build(FOLDER / "build", "arm64" if machine() in {"arm64", "aarch64"} else "x86_64").parent
    except ToolError as error:
        raise click.ClickException(str(error)) from None
    with _upstreams(seed) as upstreams:
        rows = {
            name: _measure(name, calls, cold_starts, upstreams, built)
            for name in ("floor", "passthrough", *(only or DATASETS))
        }
    if as_json:
        datasets = {name: row for name, row in rows.items() if name in DATASETS}
        told = {"seed": seed, "calls": calls, "mode": "process", "floor": rows["floor"]}
        click.echo(json.dumps(told | {"passthrough": rows["passthrough"], "datasets": datasets}))
        return
    click.echo(f"{calls} warm calls each, people drawn by seed {seed}\n")
    click.echo(f"{'':24}" + "".join(f"{title:>11}" for _, title in _COLUMNS))
    for name, row in rows.items():
        click.echo(f"{name:24}" + "".join(f"{row[figure]:11.2f}" for figure, _ in _COLUMNS))


if __name__ == "__main__":
    main(prog_name="make bench ARGS=")
