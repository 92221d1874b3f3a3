"""``docs/scopes.md``: the fields that each scope opens."""

from collections import defaultdict

from api_particulier.scopes import BUNDLES, fields_of, is_granted
from ops.functions import datasets


def page() -> str:
    """Return the page in Markdown."""
    opened = _opened()
    lines = [
        "# Scopes",
        "",
        "A key opens fields, not routes. Written by `make docs` from the declarations of datasets; a test compares.",
        "",
        "| scope | opens | on |",
        "|---|---|---|",
    ]
    for scope in sorted(opened, key=lambda scope: (not scope.startswith("dgfip"), scope)):
        fields = ", ".join(f"`{field}`" for field in opened[scope])
        routes = dict.fromkeys(route for routes in opened[scope].values() for route in routes)
        lines.append(f"| `{scope}` | {fields} | {', '.join(f'`{route}`' for route in routes)} |")
    lines += ["", "## Bundles of 2020, still accepted", "", "| bundle | stands for |", "|---|---|"]
    for bundle in BUNDLES:
        scopes = ", ".join(f"`{scope}`" for scope in sorted(opened) if is_granted(scope, [bundle]))
        lines.append(f"| `{bundle}` | {scopes} |")
    return "\n".join(lines) + "\n"


def _opened() -> dict[str, dict[str, list[str]]]:
    """Return the fields that each scope opens, with the routes of each field."""
    opened: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for dataset in datasets():
        for route, model in dataset.routes.items():
            for field, scope in fields_of(model):
                opened[scope][field].append(route)
    return opened
