"""The documents that follow from the code: ``make docs`` writes them, a test compares them.

``python -m ops.documents`` writes; ``--check`` only tells, with exit code 1, which are out of date.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Final

from api_particulier.dataset import Dataset
from api_particulier.parameters import Parameters
from api_particulier.scopes import BUNDLES, fields_of, is_opened

ROOT: Final = Path(__file__).parent.parent
_PROVIDERS: Final = {"dgfip": "DGFIP", "caf": "CAF"}


def datasets() -> list[Dataset[Parameters]]:
    """Return every dataset declared under ``functions/``, those of the tax service first."""
    found = [import_module(f"functions.{path.parent.name}.app") for path in ROOT.glob("functions/*/app.py")]
    declared: list[Dataset[Parameters]] = [module.DATASET for module in found if hasattr(module, "DATASET")]
    return sorted(declared, key=lambda one: (one.provider != "dgfip", min(one.routes)))


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
        stands_for = ", ".join(f"`{scope}`" for scope in sorted(opened) if is_opened(scope, [bundle]))
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


def documents() -> Iterator[tuple[Path, str]]:
    yield ROOT / "layers/common/api_particulier/datasets.json", providers()
    yield ROOT / "docs/scopes.md", scopes_page()
    yield ROOT / "README.md", readme()


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the documents that follow from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; tell which are out of date")
    check = parser.parse_args().check
    stale = [(path, text) for path, text in documents() if not path.exists() or path.read_text() != text]
    for path, text in [] if check else stale:
        path.write_text(text)
    if check and stale:
        sys.exit("out of date, run `make docs`: " + ", ".join(str(path.relative_to(ROOT)) for path, _ in stale))


if __name__ == "__main__":
    main()
