"""The deployed packages: functions and layer built by SAM, without the unused parts of libraries, and compiled.

``python -m release.build`` builds for AWS in ``.aws-sam/build``, the folder that ``sam deploy`` reads.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile, mkdtemp
from typing import Final

ROOT = Path(__file__).parent.parent
AWS_ARCHITECTURE = "arm64"
KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    # logs, metrics, traces and utilities, without its router and Swagger's pages
    "aws_lambda_powertools": (
        *("*.py", "exceptions", "logging", "metrics", "middleware_factory"),
        *("shared", "tracing", "utilities", "warnings"),
    ),
    # the parser, without its sources in Cython and C, its HTML cleaner and its objectify module
    "lxml": ("__init__.py", "etree.*.so", "_elementpath.*.so"),
    # certificates and stamps, with the standards that they import, without the 90 others
    "pyasn1_modules": (
        *("__init__.py", "rfc2314.py", "rfc2315.py", "rfc2459.py", "rfc2511.py", "rfc3161.py", "rfc3280.py"),
        *("rfc3281.py", "rfc4210.py", "rfc5280.py", "rfc5652.py"),
    ),
    # SIRETs, without the numbers of 100 other countries
    "stdnum": ("__init__.py", "exceptions.py", "luhn.py", "util.py", "fr"),
}
"""The deployed files of four packages, half of the layer; their licences are in other folders, which stay."""


class ToolError(Exception):
    """A tool failed; the message has its name and the end of its output."""


def build(folder: Path, architecture: str) -> Path:
    """Build in ``folder`` and return the path of the built template; raise ``ToolError`` when a tool fails.

    A build that fails leaves the previous one as it was: the folder is replaced at the end.

    Dependencies are not resolved: the layer's requirements list all of them, except those of the Lambda runtime
    (docs/decisions/0002-dependencies.md).
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, since the built template has the website's layer by its path from there.
    beside = Path(mkdtemp(prefix="building-", dir=folder.parent))
    try:
        _build(beside, architecture, folder.parent / "build.log")
        with TemporaryDirectory(prefix="before-", dir=folder.parent) as before:
            if folder.exists():
                folder.rename(Path(before) / folder.name)
            beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder / "template.yaml"


def _build(folder: Path, architecture: str, log: Path) -> None:
    command = ["sam", "build", "--cached", "--build-dir", str(folder), "--cache-dir", str(ROOT / ".local/sam-cache")]
    run_tool([*command, "--parameter-overrides", f"Architecture={architecture}"], log, {"PIP_NO_DEPS": "1"})
    for package, kept in KEPT.items():
        prune(folder / "CommonLayer/python" / package, kept)
    # Without this, half of a cold start is compilation. A deployment loses the dates that a check would compare.
    compiled = [
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "-s",
        str(folder),
        "--invalidation-mode",
        "unchecked-hash",
        str(folder),
    ]
    run_tool(compiled, log, {})
    template = folder / "template.yaml"
    template.write_text(stamped(with_dashboard(deployable(template.read_text())), datetime.now(UTC)))


def prune(package: Path, kept: tuple[str, ...]) -> None:
    """Remove the files of a package that match no pattern; raise ``ToolError`` for a pattern without a file."""
    named = {pattern: list(package.glob(pattern)) for pattern in kept}
    if stale := [pattern for pattern, found in named.items() if not found]:
        msg = f"release/build.py keeps what is not there: {package.name}/{', '.join(stale)}"
        raise ToolError(msg)
    roots = {path for found in named.values() for path in found}
    for path in sorted(package.rglob("*"), reverse=True):  # the content of a folder before the folder
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and roots.isdisjoint({path, *path.parents}):
            path.unlink()


def zipped_bytes(*folders: Path) -> int:
    """Return the size of folders once compressed as SAM does, in bytes."""
    with TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for folder in folders:
                for path in folder.rglob("*"):
                    archive.write(path, path.relative_to(folder.parent))
        return file.tell()


def with_dashboard(template: str) -> str:
    """Return a built template with the dashboard's file in the place of its name."""
    body = json.dumps((ROOT / "dashboard.json").read_text())
    return template.replace("DashboardBody: dashboard.json", f"DashboardBody: {{'Fn::Sub': {body}}}", 1)


def deployable(template: str) -> str:
    """Return a built template without the rule by which CloudFormation refuses what `sam build` alone makes."""
    return re.sub(r"^  BuiltByMake:.*\n(?:    .*\n)+", "", template, count=1, flags=re.MULTILINE)


def stamped(template: str, moment: datetime) -> str:
    """Return a template with the time of its build, so that a deployment publishes a version of every function.

    By itself, SAM publishes a version when the properties of a function change, and not for a change of the layer or
    of a parameter (docs/decisions/0019-deployments.md).
    """
    return template.replace("RELEASE: unbuilt", f"RELEASE: '{moment:%Y-%m-%dT%H:%M:%S}'", 1)


def run_tool(command: list[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run a tool installed by `make setup`, with its output in ``log``; raise ``ToolError`` when it fails."""
    tools = f"{ROOT / '.local/tools/sam/bin'}{os.pathsep}{os.environ['PATH']}"
    with log.open("w+") as output:
        done = subprocess.run(  # noqa: S603 - a tool of this project, without input from outside
            command,
            cwd=ROOT,
            env={**os.environ, "PATH": tools, "SAM_CLI_TELEMETRY": "0", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
    if done.returncode:
        msg = f"`{' '.join(command[:2])}` failed; the end of {log}:\n{log.read_text()[-3000:]}"
        raise ToolError(msg)


def main() -> None:
    try:
        template = build(ROOT / ".aws-sam/build", AWS_ARCHITECTURE)
    except ToolError as error:
        sys.exit(str(error))
    layer = zipped_bytes(template.parent / "CommonLayer") / 1e6
    print(f"Built for {AWS_ARCHITECTURE}, {layer:.1f} MB of layer: {template}. Next: make deploy")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
