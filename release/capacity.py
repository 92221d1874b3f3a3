"""Which quota of AWS a rate of calls meets first: ``docs/capacity.md``, on paper. ``make docs`` writes it."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from ops.cost import PROVIDER_MS
from ops.template import resources, template

RATES: Final = (10, 1_000, 100_000)
"""Calls a second."""

SECONDS_PER_CALL: Final = PROVIDER_MS / 1000
"""A supposition: nearly all of a call is the provider's."""
BUSIEST_SHARE: Final = 0.5
"""Of the calls, that ask the busiest dataset; a supposition."""
UNITS_PER_ENTRY: Final = 2
"""Write units of an audit entry at most: a whole tax notice's is more than 1 KB. Its index has a quota of its own."""
HEADROOM: Final = 2
"""What is asked for, as many times what is used."""


@dataclass(frozen=True)
class Quota:
    """A limit, what a rate uses of it, and whose word raises it."""

    name: str
    used: int
    limit: int
    ask: str

    @property
    def share(self) -> float:
        return self.used / self.limit

    @property
    def is_enough(self) -> bool:
        return self.used * HEADROOM <= self.limit


def quotas(rate: int) -> list[Quota]:
    """Return what a rate uses of each quota, the most used first; limits are AWS's defaults, of an account."""
    at_once = ceil(rate * SECONDS_PER_CALL)
    busiest = ceil(at_once * BUSIEST_SHARE)
    share = int(template()["Parameters"]["DatasetConcurrency"]["Default"])
    key = int(resources("AWS::ApiGateway::UsagePlan")["UsagePlan"]["Throttle"]["RateLimit"])
    found = [
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
        Quota("API Gateway, calls a second", rate, 10_000, "Service Quotas: *Throttle rate*"),
        Quota("API keys, each at its limit", ceil(rate / key), 10_000, "Service Quotas: *API keys*"),
        # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
        Quota("Lambda, calls at once", at_once, 1_000, "Service Quotas: *Concurrent executions*"),
        Quota("The busiest dataset's own share", busiest, share, "ourselves: `DatasetConcurrency`"),
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
        Quota(
            "The audit table, write units a second",
            rate * UNITS_PER_ENTRY,
            40_000,
            "Service Quotas: *table throughput*",
        ),
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
        Quota(
            "One key's partition of the audit, the same", min(rate, key) * UNITS_PER_ENTRY, 1_000, "nobody: it is AWS's"
        ),
    ]
    return sorted(found, key=lambda one: -one.share)


def page() -> str:
    """Return ``docs/capacity.md``."""
    return _INTRODUCTION + "".join(line for rate in RATES for line in _section(rate)) + _REST


def _section(rate: int) -> Iterator[str]:
    found = quotas(rate)
    first = found[0]
    breaks = "is the nearest, and holds" if first.share <= 1 else "breaks first"
    yield f"\n## {rate:,} calls a second\n\n*{first.name}* {breaks}, at {first.share:,.0%}.\n\n"
    yield "| | used | by default | | to ask for |\n|---|---:|---:|---:|---|\n"
    for one in found:
        asked = "" if one.is_enough else f"{one.used * HEADROOM:,}, of {one.ask}"
        yield f"| {one.name} | {one.used:,} | {one.limit:,} | {one.share:,.1%} | {asked} |\n"


_INTRODUCTION: Final = f"""# Capacity

On paper, and not measured on AWS: what a rate of calls uses of AWS's quotas, by default, in one account and region.
Written by `make docs` from `release/capacity.py`, where the suppositions are: a call lasts {SECONDS_PER_CALL:g} s,
{BUSIEST_SHARE:.0%} of the calls ask one dataset, an audit entry takes {UNITS_PER_ENTRY} write units. What is asked
for is {HEADROOM} times what is used. A new account may have less than the default. What it costs is in
[performance](performance.md#cost).
"""

_REST: Final = """
## What is not in the tables

- KMS: nothing for a call; an environment asks it once for the month's key ([0033](decisions/0033-pseudonyms.md)).
- Bursts: Lambda adds at most 1,000 environments of a function in 10 s; a peak that comes faster is refused, whatever
  the concurrency.
- A key cannot make its partition hot: its 20 calls a second are 4 % of one.
- The streams' consumers (statistics, seals) follow the audit, and may fall behind: how far at 100,000 calls a second is
  not modelled, nor are logs.
- The providers: ask them first.
"""
