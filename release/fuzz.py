"""Test the running local stack against ``docs/openapi.yaml``: ``python -m release.fuzz [SCHEMATHESIS OPTIONS]``."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ops.template import ROOT

_SECONDS: Final = 30
"""Duration of a run: the examples and the limits of the documentation first, then random requests."""
RUNS: Final = ("v1 and v2", "v3")
"""One run for each of the two REST APIs, which have their own addresses."""


def command(api: str, *options: str) -> list[str]:
    """Return the command line of Schemathesis for one of ``RUNS``."""
    tool = str(Path(sys.executable).with_name("st"))
    chosen = "--include-path-regex" if api == "v3" else "--exclude-path-regex"
    document = str(ROOT / "docs/openapi.yaml")
    return [tool, "run", document, chosen, "^/v3/", "--max-time", str(_SECONDS), "--no-color", *options]


def environment(stack: Mapping[str, Any], api: str) -> dict[str, str]:
    """Return the variables used by ``schemathesis.toml``, from the content of ``stack.json``."""
    url = stack["v3_url"] if api == "v3" else stack["api_url"]
    return {"API_URL": str(url).removesuffix("/").removesuffix("/api"), "API_KEY": str(stack["api_key"])}


def main() -> None:
    try:
        stack = json.loads((ROOT / ".local/stack.json").read_text())
    except OSError:
        sys.exit("There is no local stack: `make up` starts it.")
    codes = [
        subprocess.run(command(api, *sys.argv[1:]), env=os.environ | environment(stack, api), check=False).returncode  # noqa: S603 - a tool of this environment
        for api in RUNS
    ]
    sys.exit(max(codes))


if __name__ == "__main__":
    main()
