"""The documents that follow from the code: ``make docs`` writes them, a test compares them.

``python -m release.documents`` writes; ``--check`` only tells, with exit code 1, which are out of date.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Final

from api_particulier.scopes import BUNDLES, fields_of, is_granted
from ops.functions import ROOT, datasets
from release import capacity, performance
from release.openapi import generator

_PROVIDERS: Final = {"dgfip": "DGFIP", "caf": "CAF"}


def scopes_page() -> str:
    """Return ``docs/scopes.md``: which scope opens which field of which dataset."""
    opened: dict[str, dict[str, list[str]]] = {}
    for dataset in datasets():
        for route, model in dataset.routes.items():
            for path, scope in fields_of(model):
                opened.setdefault(scope, {}).setdefault(path, []).append(route)
    lines = [
        "# Scopes",
        "",
        "A key opens fields, not routes. Written by `make docs` from the datasets' own declarations; a test compares.",
        "",
        "| scope | opens | on |",
        "|---|---|---|",
    ]
    for scope in sorted(opened, key=lambda one: (not one.startswith("dgfip"), one)):
        fields = ", ".join(f"`{path}`" for path in opened[scope])
        routes = ", ".join(f"`{route}`" for route in dict.fromkeys(chain.from_iterable(opened[scope].values())))
        lines.append(f"| `{scope}` | {fields} | {routes} |")
    lines += ["", "## Bundles of 2020, still accepted", "", "| bundle | stands for |", "|---|---|"]
    for bundle in BUNDLES:
        stands_for = ", ".join(f"`{scope}`" for scope in sorted(opened) if is_granted(scope, [bundle]))
        lines.append(f"| `{bundle}` | {stands_for} |")
    return "\n".join(lines) + "\n"


def readme() -> str:
    """Return the README with its table of datasets as they are declared."""
    rows = ["| dataset | route | v1 | asks | what it answers |", "|---|---|---|---|---|"]
    for dataset in datasets():
        v2, v1 = ([f"`{one}`" for one in dataset.routes if ("/v2/" in one) is is_v2] for is_v2 in (True, False))
        answers = next(iter(dataset.routes.values())).__doc__ or ""
        provider = _PROVIDERS[dataset.provider]
        rows.append(f"| `{dataset.name}` | {' '.join(v2)} | {' '.join(v1)} | {provider} | {answers.splitlines()[0]} |")
    table = "\n".join(rows)
    written = (ROOT / "README.md").read_text()
    return re.sub(r"(<!-- datasets[^\n]*\n).*?(?=\n\n)", lambda start: start[1] + table, written, flags=re.DOTALL)


def providers() -> str:
    """Return each dataset with its provider, for ``/api/status``."""
    return json.dumps({dataset.name: dataset.provider for dataset in datasets()}, indent=2) + "\n"


DOCUMENTS: Final[Mapping[str, Callable[[], str]]] = {
    "layers/common/api_particulier/public/datasets.json": providers,
    "docs/scopes.md": scopes_page,
    "docs/capacity.md": capacity.page,
    "docs/performance.md": performance.page,
    "README.md": readme,
    "docs/openapi.yaml": generator.document,
}
"""Each document, by its place, with what writes it."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the documents that follow from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; tell which are out of date")
    check = parser.parse_args().check
    stale = {name: text for name, write in DOCUMENTS.items() if _read(name) != (text := write())}
    for name, text in () if check else stale.items():
        (ROOT / name).write_text(text)
    if check and stale:
        sys.exit(f"out of date, run `make docs`: {', '.join(stale)}")


def _read(name: str) -> str | None:
    path = ROOT / name
    return path.read_text() if path.exists() else None


if __name__ == "__main__":
    main()
