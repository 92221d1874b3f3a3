"""What is deployed: the functions and the layer, built by SAM, less what no function uses, and compiled.

``python -m release.build`` builds for AWS in ``.aws-sam/build``, where ``sam deploy`` looks.
"""

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

ROOT = Path(__file__).parent.parent
AWS_ARCHITECTURE = "arm64"
KEPT: Final[Mapping[str, tuple[str, ...]]] = {
    # logs, metrics, traces and batches; not its router with Swagger's pages, nor what it offers besides
    "aws_lambda_powertools": (
        *("*.py", "exceptions", "logging", "metrics", "middleware_factory", "shared", "tracing", "warnings"),
        *("utilities/__init__.py", "utilities/batch", "utilities/data_classes", "utilities/jmespath_utils"),
        *("utilities/parser", "utilities/typing"),
    ),
    # the parser of HTTP; not its sources in Cython
    "httptools": ("*.py", "parser/*.py", "parser/*.so"),
    # the parser; not its sources in Cython and C, nor what cleans HTML or makes objects of XML
    "lxml": ("__init__.py", "etree.*.so", "_elementpath.*.so"),
    # certificates; not the 100 other standards
    "pyasn1_modules": ("__init__.py", "rfc5280.py"),
    # SIRETs; not the numbers of 100 other countries
    "stdnum": ("__init__.py", "exceptions.py", "luhn.py", "util.py", "fr"),
}
"""Of these packages, which are half of the layer, what is deployed; their licences are elsewhere, and stay."""


class ToolError(Exception):
    """A tool failed; says which, with the end of what it printed."""


def build(folder: Path, architecture: str) -> Path:
    """Build in ``folder`` and return the built template's path; ``ToolError`` when it fails.

    The layer's requirements are the whole closure less what the Lambda runtime ships, hence no resolution of
    dependencies (docs/decisions/0002-dependencies.md).
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.parent / "build.log"
    command = ["sam", "build", "--cached", "--build-dir", str(folder), "--cache-dir", str(ROOT / ".local/sam-cache")]
    run_tool([*command, "--parameter-overrides", f"Architecture={architecture}"], log, {"PIP_NO_DEPS": "1"})
    for package, kept in KEPT.items():
        prune(folder / "CommonLayer/python" / package, kept)
    # Half of a cold start is compiling. Unchecked: a deployment does not keep the dates that a check would compare.
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    run_tool(compiled, log, {})
    template = folder / "template.yaml"
    template.write_text(stamped(template.read_text(), datetime.now(UTC)))
    return template


def prune(package: Path, kept: tuple[str, ...]) -> None:
    """Remove the files of a package that no pattern names; ``ToolError`` for a pattern that names none."""
    named = {pattern: list(package.glob(pattern)) for pattern in kept}
    if stale := [pattern for pattern, found in named.items() if not found]:
        msg = f"release/build.py keeps what is not there: {package.name}/{', '.join(stale)}"
        raise ToolError(msg)
    roots = {path for found in named.values() for path in found}
    for path in sorted(package.rglob("*"), reverse=True):  # what a folder holds, before it
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
        elif path.is_file() and roots.isdisjoint({path, *path.parents}):
            path.unlink()


def zipped_bytes(*folders: Path) -> int:
    """Return how many bytes these folders are to who downloads them, compressed as SAM does."""
    with TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for folder in folders:
                for path in folder.rglob("*"):
                    archive.write(path, path.relative_to(folder.parent))
        return file.tell()


def stamped(template: str, moment: datetime) -> str:
    """Return a template that says when it was built, which publishes a version of every function.

    SAM publishes one when a function's own properties change, and not when the layer or a parameter's value does
    (docs/decisions/0019-deployments.md).
    """
    return template.replace("RELEASE: unbuilt", f"RELEASE: '{moment:%Y-%m-%dT%H:%M:%S}'", 1)


def run_tool(command: list[str], log: Path, environment: Mapping[str, str]) -> None:
    """Run a command of the tools that `make setup` installed, its output in ``log``; ``ToolError`` when it fails."""
    tools = f"{ROOT / '.local/tools/sam/bin'}{os.pathsep}{os.environ['PATH']}"
    with log.open("w+") as output:
        done = subprocess.run(  # noqa: S603 - commands of ours, with arguments of ours
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
    print(f"Built for {AWS_ARCHITECTURE}, {layer:.1f} MB of layer: {template}. Next: sam deploy")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
