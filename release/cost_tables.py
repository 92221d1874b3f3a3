"""The tables of costs in ``docs/performance.md``."""

from collections.abc import Iterable, Iterator
from typing import Final

from ops.cost import (
    KEPT_MONTHS,
    PROVIDER_MS,
    Calls,
    bill,
    bill_of_2020,
    machines_of_2020,
    memory_of_datasets,
)
from ops.prices import EUROS_PER_DOLLAR, prices_not_found

VOLUMES: Final = (100_000, 1_000_000, 10_000_000, 100_000_000)
"""Calls a month."""
WAITS: Final = (100, 300, 1000, 3000)
"""Response times of a provider, in milliseconds."""
MILLION: Final = 1_000_000


def tables() -> str:
    """Return the tables in Markdown."""
    return "\n".join((*_bills(), "", *_waits(), ""))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _bills() -> Iterator[str]:
    memory = memory_of_datasets()
    months = [Calls(number, memory) for number in VOLUMES]
    bills = [bill(month) for month in months]
    yield f"Euros for a million calls; datasets of {memory} MB, a provider that answers in {PROVIDER_MS:,.0f} ms,"
    yield f"{EUROS_PER_DOLLAR:.2f} € a dollar, assumed."
    yield ""
    yield _row("calls a month", *(f"{number:,}" for number in VOLUMES))
    yield _row("---", *("---:" for _ in VOLUMES))
    for name in bills[0]:
        yield _row(name, *_per_million(parts[name] for parts in bills))
    totals = [sum(parts.values()) for parts in bills]
    yield _row("**all**", *(f"**{euros}**" for euros in _per_million(totals)))
    bills_of_2020 = [bill_of_2020(number) for number in VOLUMES]
    yield _row("the server of 2020", *_per_million(bills_of_2020))
    yield _row("all, a month", *(f"{total:,.0f} €" for total in totals))
    months_of_2020 = (
        f"{euros:,.0f} € ({machines_of_2020(number)})" for euros, number in zip(bills_of_2020, VOLUMES, strict=True)
    )
    yield _row("the server of 2020, a month (machines)", *months_of_2020)
    yield ""
    yield f"Storage is that of {KEPT_MONTHS} months of such calls; in the first month it costs a {KEPT_MONTHS}th of it."
    yield "These prices were not found for Paris; `ops/prices.toml` has the prices used instead:"
    yield f"{', '.join(f'`{name}`' for name in prices_not_found())}."


def _waits() -> Iterator[str]:
    yield "The same at a million calls a month, by how long the provider takes, in euros:"
    yield ""
    memories = (128, 256, 512, 1024, 1769)
    yield _row("provider, ms", *(f"{memory} MB" for memory in memories))
    yield _row("---:", *("---:" for _ in memories))
    for wait in WAITS:
        totals = (sum(bill(Calls(MILLION, memory, wait)).values()) for memory in memories)
        yield _row(f"{wait:,}", *(f"{total:,.2f}" for total in totals))


def _per_million(euros: Iterable[float]) -> Iterator[str]:
    """Yield the cost of a million calls, from the cost of each volume."""
    for total, number in zip(euros, VOLUMES, strict=True):
        yield f"{total / number * MILLION:,.2f}"
