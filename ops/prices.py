"""What AWS asks in Paris, from ``prices.toml``, in euros."""

import tomllib
from functools import cache
from typing import Any, Final

from ops.template import ROOT

EUROS_PER_DOLLAR: Final = 0.90
"""A supposition."""


@cache
def _prices() -> dict[str, dict[str, Any]]:
    return tomllib.loads((ROOT / "ops/prices.toml").read_text())


def price(name: str, quantity: float) -> float:
    """Return the euros of so much of something."""
    one = _prices()[name]
    if "tiers" not in one:
        return float(one["usd"]) * quantity * EUROS_PER_DOLLAR
    dollars, start = 0.0, 0
    for end, usd in one["tiers"]:
        dollars += max(min(quantity * 1e6, end) - start, 0) / 1e6 * usd
        start = end
    return dollars * EUROS_PER_DOLLAR


def prices_not_found() -> list[str]:
    """Return the names of the prices that are supposed, because none was found for Paris."""
    return [name for name, one in _prices().items() if "supposed" in one]
