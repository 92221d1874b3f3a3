"""``docs/capacity.md``: the AWS quotas that a rate of calls reaches, computed from the template."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil
from typing import Final

from ops.cost import PROVIDER_MS
from ops.template import resources, template

RATES: Final = (10, 1_000, 10_000)
"""Calls a second."""

SECONDS_PER_CALL: Final = PROVIDER_MS / 1000
"""An assumption: nearly all of a call is spent waiting for the provider."""
BUSIEST_SHARE: Final = 0.5
"""Share of the calls to the busiest dataset; an assumption."""
UNITS_PER_RECORD: Final = 2
"""Write units of an audit record at most: that of a whole tax notice is over 1 KB. The index has its own quota."""
HEADROOM: Final = 2
"""The quota to request, as a multiple of the use."""


@dataclass(frozen=True)
class Quota:
    """A limit, its use at a rate of calls, and the way to raise it."""

    name: str
    used: int
    limit: int
    raised_by: str

    @property
    def share(self) -> float:
        return self.used / self.limit

    @property
    def is_enough(self) -> bool:
        return self.used * HEADROOM <= self.limit


def quotas(rate: int) -> list[Quota]:
    """Return the use of each quota at a rate in calls a second, the most used first; limits are AWS's defaults."""
    concurrent = ceil(rate * SECONDS_PER_CALL)
    busiest = ceil(concurrent * BUSIEST_SHARE)
    share = int(template()["Parameters"]["DatasetConcurrency"]["Default"])
    route = int(template()["Parameters"]["RouteRateLimit"]["Default"])
    key = int(resources("AWS::ApiGateway::UsagePlan")["UsagePlan"]["Throttle"]["RateLimit"])
    found = [
        # https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
        Quota("API Gateway, calls a second", rate, 10_000, "Service Quotas: *Throttle rate*"),
        Quota("The busiest route's limit", ceil(rate * BUSIEST_SHARE), route, "the parameter `RouteRateLimit`"),
        Quota("API keys, each at its limit", ceil(rate / key), 10_000, "Service Quotas: *API keys*"),
        # https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
        Quota("Lambda, calls at once", concurrent, 1_000, "Service Quotas: *Concurrent executions*"),
        Quota("The busiest dataset's own share", busiest, share, "the parameter `DatasetConcurrency`"),
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
        Quota(
            "The audit table, write units a second",
            rate * UNITS_PER_RECORD,
            40_000,
            "Service Quotas: *table throughput*",
        ),
        # https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
        Quota(
            "One key's partition of the audit, the same",
            min(rate, key) * UNITS_PER_RECORD,
            1_000,
            "AWS, which does not raise it",
        ),
    ]
    return sorted(found, key=lambda quota: -quota.share)


def page() -> str:
    """Return ``docs/capacity.md``."""
    return _INTRODUCTION + "".join(line for rate in RATES for line in _section(rate)) + _REST


def _section(rate: int) -> Iterator[str]:
    found = quotas(rate)
    first = found[0]
    breaks = "is the nearest, and holds" if first.share <= 1 else "breaks first"
    yield f"\n## {rate:,} calls a second\n\n*{first.name}* {breaks}, at {first.share:,.0%}.\n\n"
    yield "| | used | by default | | to request |\n|---|---:|---:|---:|---|\n"
    for quota in found:
        request = "" if quota.is_enough else f"{quota.used * HEADROOM:,}, of {quota.raised_by}"
        yield f"| {quota.name} | {quota.used:,} | {quota.limit:,} | {quota.share:,.1%} | {request} |\n"


_INTRODUCTION: Final = f"""# Capacity

The use of AWS's default quotas, in one account and region, at three rates of calls: computed, not measured on AWS.
Written by `make docs` from `release/capacity.py`. Assumptions: a call lasts {SECONDS_PER_CALL:g} s,
{BUSIEST_SHARE:.0%} of the calls are to one dataset, an audit record takes {UNITS_PER_RECORD} write units. The quota to
request is {HEADROOM} times the use. A new account may have less than the default. Costs are in
[performance](performance.md#cost).
"""

_REST: Final = """
## Not in the tables

- KMS: no request in a call; an environment reads the month's key once ([0033](decisions/0033-pseudonyms.md)).
- Bursts: Lambda adds at most 1,000 environments of a function in 10 s; a faster peak is refused, even under the
  concurrency quota.
- One key cannot overload its partition: its 20 calls a second are 4 % of the limit.
- Seals. Each shard of the stream (four at first, more above 4,000 write units a second) has batches of at most 2,000
  records, and a seal takes its number from one chain: two objects, a
  signature and a transaction, 0.3 s, of which 0.1 exclude another seal. At 10 calls a second a seal holds 76 records,
  every 30 s a shard. At 1,000 a batch is full every 8 s a shard: one seal in 2 s. At 10,000 it is five
  seals a second: one chain takes no more, and breaks first after the quotas above. What comes then, on paper: a chain
  for each shard, whose heads a signed root names every second; the counters are the sum of the chains.
- Played on a clock of its own (`python -m tests.load.sealing_rate`, 2026-11-27): 2,000 records a second for three
  minutes, four deliverers, a window of 30 s, 512 MB, AWS at 15 and 60 ms: 360,000 counted in 180 seals; the longest
  wait is 7 s.
- The authoriser: a call of v3 invokes it too, for some 10 ms, so 1 % more calls at once; on v1 and v2 the gateway
  remembers its answer for a minute ([0045](decisions/0045-secrets-drawn-when-shown.md)).
- The providers: ask them about their own limits first.
"""
