"""AWS prices in Paris, from ``prices.toml``, in euros."""

import tomllib
from functools import cache
from typing import Any, Final

from ops.template import ROOT

EUROS_PER_DOLLAR: Final = 0.90
"""An assumption."""


@cache
def _prices() -> dict[str, dict[str, Any]]:
    return tomllib.loads((ROOT / "ops/prices.toml").read_text())


def price(name: str, quantity: float) -> float:
    """Return the price in euros of a quantity, in the unit of ``prices.toml``."""
    entry = _prices()[name]
    if "tiers" not in entry:
        return float(entry["usd"]) * quantity * EUROS_PER_DOLLAR
    dollars, start = 0.0, 0
    for end, usd in entry["tiers"]:
        dollars += max(min(quantity * 1e6, end) - start, 0) / 1e6 * usd
        start = end
    return dollars * EUROS_PER_DOLLAR


def prices_not_found() -> list[str]:
    """Return the names of the prices assumed from another region, because none was found for Paris."""
    return [name for name, entry in _prices().items() if "assumed" in entry]
