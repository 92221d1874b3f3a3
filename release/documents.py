"""Documents generated from the code: ``make docs`` writes them, a test compares them.

``python -m release.documents --check`` writes nothing, and exits with 1 when a document is out of date.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from ops.functions import datasets
from ops.template import ROOT
from release import capacity, collection, commands, local_stack, performance, scopes, usages
from release.openapi import generator

_PROVIDERS: Final = {"dgfip": "DGFIP", "caf": "CAF", "dss": "CNAF, MSA (API-SECU)"}


def readme() -> str:
    """Return the README with its table of datasets."""
    rows = ["| dataset | route | v1 route | provider | data |", "|---|---|---|---|---|"]
    for dataset in datasets():
        current = " ".join(f"`{route}`" for route in dataset.routes if route.startswith(("/api/v2/", "/v3/")))
        v1 = " ".join(f"`{route}`" for route in dataset.routes if not route.startswith(("/api/v2/", "/v3/")))
        model = next(iter(dataset.routes.values()))
        summary = (model.__doc__ or "").splitlines()[0]
        rows.append(f"| `{dataset.name}` | {current} | {v1} | {_PROVIDERS[dataset.provider]} | {summary} |")
    table = "\n".join(rows)
    page = (ROOT / "README.md").read_text()
    return re.sub(r"(<!-- datasets[^\n]*\n).*?(?=\n\n)", lambda mark: mark[1] + table, page, flags=re.DOTALL)


def providers() -> str:
    """Return the provider of each dataset in JSON, for ``/api/status``."""
    return json.dumps({dataset.name: dataset.provider for dataset in datasets()}, indent=2) + "\n"


def _guides() -> dict[str, Callable[[], str]]:
    """Return the function that writes what each guide asks for, by the guide's path."""
    paths = {f"docs/guides/{usage.guide}.md": usage.guide for usage in usages.usages()}
    return {path: partial(_guide, path, name) for path, name in paths.items()}


def _guide(path: str, name: str) -> str:
    return usages.guide((ROOT / path).read_text(), name)


DOCUMENTS: Final[Mapping[str, Callable[[], str]]] = {
    "layers/common/api_particulier/public/datasets.json": providers,
    "docs/scopes.md": scopes.page,
    "docs/capacity.md": capacity.page,
    "docs/operations/commands.md": commands.page,
    "docs/local-stack.md": local_stack.page,
    "docs/performance.md": performance.page,
    "README.md": readme,
    "docs/openapi.yaml": generator.document,
    "docs/collection.json": collection.document,
    **_guides(),
}
"""The function that returns the text of each document, by path."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the documents generated from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; list the documents out of date")
    check = parser.parse_args().check
    stale = {name: text for name, write in DOCUMENTS.items() if _read(name) != (text := write())}
    for name, text in () if check else stale.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        (ROOT / name).write_text(text)
    if check and stale:
        sys.exit(f"out of date, run `make docs`: {', '.join(stale)}")


def _read(name: str) -> str | None:
    path = ROOT / name
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    main()
