"""Measure a call with less memory, and so with less CPU.

``python -m bench.power`` runs as root, on Linux.

Lambda gives a function a share of a CPU in proportion to its memory, in periods of 20 ms; a Linux control group does
the same. Calls follow each other without a pause, which is the worst case: a call that waits for its provider has its
whole share when the response arrives.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from bench import process
from bench.handler import Handler, build_for_this_machine, serve_upstreams
from ops.cost import FULL_MEMORY

MEMORIES: Final = (128, 256, 512, 1024, FULL_MEMORY)
_PERIOD_US: Final = 20_000
_CGROUPS: Final = Path("/sys/fs/cgroup")


@contextmanager
def _cpu_share_of(memory: int) -> Iterator[None]:
    """Limit this process and its children to the CPU that Lambda gives with a memory.

    ``memory`` is in MB.
    """
    is_v2 = (_CGROUPS / "cgroup.controllers").exists()
    root = _CGROUPS if is_v2 else _CGROUPS / "cpu"
    group = root / "api-particulier-bench"
    group.mkdir(exist_ok=True)
    quota = _PERIOD_US * memory // FULL_MEMORY
    if is_v2:
        (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}")
    else:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def main() -> None:
    """Print a table for a dataset of each provider, with a line for each memory size."""
    folder = build_for_this_machine()
    with serve_upstreams(secrets.randbelow(2**32)) as upstreams:
        for dataset in ("avis_imposition", "composition_familiale"):
            handler = Handler.of_dataset(dataset, folder, upstreams)
            click.echo(f"\n| {dataset} | of a CPU | p50 ms | p99 ms | first call ms | imports ms |\n|{'---:|' * 6}")
            for memory in MEMORIES:
                with _cpu_share_of(memory):
                    figures = process.measure(handler, calls=300, cold_starts=3)
                cells = " | ".join(f"{figures[name]:,.1f}" for name in ("p50_ms", "p99_ms", "init_ms", "start_ms"))
                click.echo(f"| {memory} MB | {memory / FULL_MEMORY:.0%} | {cells} |")


if __name__ == "__main__":
    main()
