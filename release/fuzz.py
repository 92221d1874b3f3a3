"""Hold the running local stack against its documentation: ``python -m release.fuzz [OPTIONS OF SCHEMATHESIS]``."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ops.functions import ROOT

_SECONDS: Final = 60
"""That it takes, of which what the documentation's examples and limits leave is spent on what nobody thought of."""


def command(*options: str) -> list[str]:
    tool = str(Path(sys.executable).with_name("st"))
    return [tool, "run", str(ROOT / "docs/openapi.yaml"), "--max-time", str(_SECONDS), "--no-color", *options]


def environment(stack: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``schemathesis.toml`` refers to, of a local stack's ``stack.json``."""
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
