"""Test the running local stack against ``docs/openapi.yaml``: ``python -m release.fuzz [SCHEMATHESIS OPTIONS]``."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ops.template import ROOT

_SECONDS: Final = 60
"""Duration of a run: the examples and the limits of the documentation first, then random requests."""


def command(*options: str) -> list[str]:
    """Return the command line of Schemathesis."""
    tool = str(Path(sys.executable).with_name("st"))
    return [tool, "run", str(ROOT / "docs/openapi.yaml"), "--max-time", str(_SECONDS), "--no-color", *options]


def environment(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables used by ``schemathesis.toml``, from the content of ``stack.json``."""
    return {"API_URL": str(stack["api_url"]).removesuffix("/api"), "API_KEY": str(stack["api_key"])}


def main() -> None:
    try:
        stack = json.loads((ROOT / ".local/stack.json").read_text())
    except OSError:
        sys.exit("There is no local stack: `make up` starts it.")
    words = command(*sys.argv[1:])
    os.execve(words[0], words, os.environ | environment(stack))  # noqa: S606 - a tool of this environment


if __name__ == "__main__":
    main()
