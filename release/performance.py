"""``docs/performance.md``: a hand-written page in which ``make docs`` writes the tables.

A table is between ``<!-- name: written by `make docs` -->`` and ``<!-- end of name -->``.
"""

from collections.abc import Callable, Mapping
from typing import Final

from bench import page as figures
from release import cost_tables
from release.build import ROOT

_TABLES: Final[Mapping[str, Callable[[], str]]] = {"figures": figures.table, "cost": cost_tables.tables}


def page() -> str:
    """Return the page with its current tables."""
    text = (ROOT / "docs/performance.md").read_text()
    for name, table in _TABLES.items():
        start, _, rest = text.partition(f"<!-- {name}: written by `make docs` -->\n")
        _, end, rest = rest.partition(f"<!-- end of {name} -->")
        assert end, name  # noqa: S101 - a mark was removed from the page
        text = f"{start}<!-- {name}: written by `make docs` -->\n{table()}{end}{rest}"
    return text
