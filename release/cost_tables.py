"""The tables of cost in ``docs/performance.md``, which ``make docs`` writes."""

from collections.abc import Iterator
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
"""Milliseconds of a provider."""
MILLION: Final = 1_000_000


def tables() -> str:
    """Return the tables of cost as they follow from the figures and the prices."""
    return "\n".join((*_bills(), "", *_waits(), ""))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _bills() -> Iterator[str]:
    memory = memory_of_datasets()
    months = [Calls(number, memory) for number in VOLUMES]
    bills = [bill(month) for month in months]
    yield f"Euros for a million calls; datasets of {memory} MB, a provider that answers in {PROVIDER_MS:,.0f} ms,"
    yield f"{EUROS_PER_DOLLAR:.2f} € a dollar, supposed."
    yield ""
    yield _row("calls a month", *(f"{number:,}" for number in VOLUMES))
    yield _row("---", *("---:" for _ in VOLUMES))
    for name in bills[0]:
        yield _row(name, *(_per_million(one[name], number) for one, number in zip(bills, VOLUMES, strict=True)))
    totals = [sum(one.values()) for one in bills]
    yield _row("**all**", *(f"**{_per_million(*one)}**" for one in zip(totals, VOLUMES, strict=True)))
    old = [bill_of_2020(number) for number in VOLUMES]
    yield _row("the server of 2020", *(_per_million(*one) for one in zip(old, VOLUMES, strict=True)))
    yield _row("all, a month", *(f"{total:,.0f} €" for total in totals))
    told = (f"{euros:,.0f} € ({machines_of_2020(number)})" for euros, number in zip(old, VOLUMES, strict=True))
    yield _row("the server of 2020, a month (machines)", *told)
    yield ""
    yield f"What is kept is that of {KEPT_MONTHS} months of such calls; the first month costs a {KEPT_MONTHS}th of it."
    yield "Prices that were not found for Paris, and what stands in for them, are in `ops/prices.toml`:"
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


def _per_million(euros: float, calls: float) -> str:
    return f"{euros / calls * MILLION:,.2f}"
