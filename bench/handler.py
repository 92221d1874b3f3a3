"""Describe the handlers to measure: event, and environment of the process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from platform import machine
from typing import Final

from bench.upstreams import KEY
from ops.functions import datasets
from release.build import ROOT, build

FOLDER: Final = ROOT / ".local/bench"
PYTHON: Final = ROOT / ".local/tools/runtime/bin/python"
"""A Python that has what Lambda's runtime ships, and no package of this project."""
WARM_UP: Final = 50
DATASETS: Final = tuple(
    dataset.name for dataset in datasets() if dataset.provider != "dss" or dataset.name == "dss_quotient_familial"
)
"""The benefits of v3 are alike: the quotient, which has most to read, stands for them."""
BASELINES: Final = ("floor", "passthrough", "libraries")
"""The modules of ``bench/handlers``; the first is the bare handler."""


@dataclass(frozen=True)
class Handler:
    """A handler, its event, and the environment of its process."""

    name: str
    module: str
    event: str
    environment: dict[str, str]

    @classmethod
    def of_dataset(cls, name: str, built: Path, upstreams: dict[str, str]) -> "Handler":
        """Return a dataset as built in ``built``, with its event of ``events/<name>``."""
        file = "identite" if name.startswith("dss_") else "v2"
        event = json.loads((ROOT / "events" / name / f"{file}.json").read_text())
        event["headers"]["X-API-Key"] = KEY
        paths = [built / name.title().replace("_", ""), built / "CommonLayer/python"]
        return cls(name, "app", json.dumps(event), _environment(name, upstreams, paths))

    @classmethod
    def of_baseline(cls, name: str, built: Path, upstreams: dict[str, str]) -> "Handler":
        """Return a handler of ``BASELINES``, with the libraries of layer and runtime."""
        paths = [ROOT / "bench/handlers", built / "CommonLayer/python"]
        return cls(name, name, "{}", _environment(name, upstreams, paths))


def _environment(name: str, upstreams: dict[str, str], paths: list[Path]) -> dict[str, str]:
    return upstreams | {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(path) for path in paths),
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
        "API_SECU_SECRET_ID": "bench",
        "DGFIP_AVAILABLE_YEARS": "99",
        "LAMBDA_TASK_ROOT": str(paths[0]),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        # A request that X-Ray does not sample, as are all but one a second and one in 20.
        "_X_AMZN_TRACE_ID": "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=0",
    }


@contextmanager
def serve_upstreams(seed: int) -> Iterator[dict[str, str]]:
    """Serve the simulated upstreams in a process of their own.

    Yield the environment variables that hold their addresses.
    """
    command = [sys.executable, "-m", "bench.upstreams", str(FOLDER), str(seed)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603 - a program of this project
        assert server.stdout is not None  # noqa: S101 - a pipe, as asked
        try:
            plain, tls = server.stdout.readline().split()
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{plain}",
                "DGFIP_SVAIR_URL": f"http://127.0.0.1:{plain}",
                "BAN_URL": f"http://127.0.0.1:{plain}",
                "API_SECU_URL": f"http://127.0.0.1:{plain}",
                "CAF_URL": f"https://127.0.0.1:{tls}",
            }
        finally:
            server.terminate()


def build_for_this_machine() -> Path:
    """Build what would be deployed, for this machine's processor; return its folder.

    Raise ``ToolError`` when the build fails.
    """
    return build(FOLDER / "build", "arm64" if machine() in {"arm64", "aarch64"} else "x86_64").parent
