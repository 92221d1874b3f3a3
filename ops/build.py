"""What is deployed: the functions and the layer, built by SAM, with compiled bytecode in them.

``python -m ops.build`` builds for AWS in ``.aws-sam/build``, where ``sam deploy`` looks.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent
AWS_ARCHITECTURE = "arm64"


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
    # Half of a cold start is compiling. Unchecked: a deployment does not keep the dates that a check would compare.
    compiled = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(folder)]
    run_tool(compiled, log, {})
    template = folder / "template.yaml"
    template.write_text(stamped(template.read_text(), datetime.now(UTC)))
    return template


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
    print(f"Built for {AWS_ARCHITECTURE}: {template}. Next: sam deploy")  # noqa: T201 - a command


if __name__ == "__main__":
    main()
