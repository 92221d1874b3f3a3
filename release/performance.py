"""``docs/performance.md``: what people wrote, with the tables that follow from figures; ``make docs`` writes those.

A table stands between ``<!-- name: written by `make docs` -->`` and ``<!-- end of name -->``.
"""

from collections.abc import Callable, Mapping
from typing import Final

from bench import page as figures
from release import cost_tables
from release.build import ROOT

_TABLES: Final[Mapping[str, Callable[[], str]]] = {"figures": figures.table, "cost": cost_tables.tables}


def page() -> str:
    """Return the page with its tables as they are now."""
    text = (ROOT / "docs/performance.md").read_text()
    for name, table in _TABLES.items():
        start, _, rest = text.partition(f"<!-- {name}: written by `make docs` -->\n")
        _, end, rest = rest.partition(f"<!-- end of {name} -->")
        assert end, name  # noqa: S101 - whoever takes a mark away is told here
        text = f"{start}<!-- {name}: written by `make docs` -->\n{table()}{end}{rest}"
    return text
