"""What calls cost on AWS, in euros a month, beside machines that run the server of 2020: ``api-particulier cost``.

From what is measured (``bench/measured.json``), what AWS asks (``ops/prices.toml``), what ``template.yaml`` deploys and
the suppositions below. ``make docs`` writes the tables of ``docs/performance.md``. What AWS gives for free is not taken
off.
"""

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil
from statistics import mean
from typing import Any, Final

from ops.capacity import SECONDS_PER_CALL
from ops.template import ROOT, resources, template

EUROS_PER_DOLLAR: Final = 0.90
"""A supposition."""
PROVIDER_MS: Final = SECONDS_PER_CALL * 1000
"""What a call waits for a provider, and Lambda bills: the supposition that matters most."""
AWS_MS: Final = 6.0
"""What a call waits for DynamoDB to write its entry; a supposition."""
FULL_MEMORY: Final = 1769
"""MB with which Lambda gives a whole CPU; with less, a part in proportion."""
BUSY_SECONDS: Final = 22 * 10 * 3600
"""Of a month, in which the calls come: working days, ten hours each."""
PEAK: Final = 3
"""The busiest second, in times the mean of these."""
COLD: Final = 0.01
"""Of the calls, that start an environment; a supposition."""

READS: Final = 1.5
"""Units of a call at most: half a unit for the token, one for the circuit that an environment reads once a second."""
WRITES: Final = {"avis_imposition": 2}
"""Units of an audit entry that opens every field, where it is more than one: it is more than 1 KB."""
ENTRY_BYTES: Final = 820
"""Of an audit entry with what DynamoDB adds to it, 100 bytes: the mean of the datasets, every field opened."""
KEPT_MONTHS: Final = 36
COUNT_WINDOW, COUNT_BATCH = 1, 100
"""Seconds that the statistics' stream gathers entries, and how many of them at most; as in the template."""
SEAL_WINDOW, SEAL_BATCH = 15, 500
"""The same of the seals."""
BATCH_MS: Final = 300
"""Of a batch of either; a supposition."""
SEALED_BYTES: Final = 160
"""Of an entry in its seal."""

LAMBDA_LOG_BYTES: Final = 560
"""What Lambda itself says of a call, its start and its report; from the examples of its documentation."""
GATEWAY_LOG_BYTES: Final = 330
COMPRESSED: Final = 0.15
"""Of the logs, once they are kept."""
SENT_BYTES: Final = 3000
"""To the caller and to the provider, headers included."""
STATUSES, OUTCOMES, PROVIDERS, SERVICES = 4, 3, 3, 6
"""With which metrics there are: of a dataset, of a provider, and how many of these and of the other functions."""

SERVER_CALLS_A_SECOND: Final = 168
"""Of one process of the server of 2020, as it was measured, and as much memory as a small machine has."""
DISK_GB: Final = 20
HOURS: Final = 730
"""Of a month."""


@dataclass(frozen=True)
class Calls:
    """A month of calls, and how they are answered."""

    number: float
    memory_mb: int
    """Of a dataset's function."""
    provider_ms: float = PROVIDER_MS

    @property
    def a_second(self) -> float:
        return self.number / BUSY_SECONDS

    def batches(self, window: float, at_most: int) -> float:
        """Return how many batches a stream makes of the calls' entries."""
        return self.number / min(max(self.a_second * window, 1), at_most)

    @property
    def traced(self) -> float:
        """Return the part that X-Ray records: of each function one a second, and one in 20 of the others."""
        of_a_function = self.a_second / len(_measured())
        return (min(of_a_function, 1) + 0.05 * max(of_a_function - 1, 0)) / of_a_function


@cache
def _prices() -> dict[str, dict[str, Any]]:
    return tomllib.loads((ROOT / "ops/prices.toml").read_text())


@cache
def _measured() -> dict[str, dict[str, float]]:
    """Return what ``make -s bench ARGS=--json`` printed of each dataset."""
    found: dict[str, dict[str, float]] = json.loads((ROOT / "bench/measured.json").read_text())["datasets"]
    return found


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


def memory_of_datasets() -> int:
    """Return the MB of a dataset's function, as the template says."""
    (found,) = {one["MemorySize"] for one in resources("AWS::Serverless::Function").values() if "SnapStart" in one}
    return int(found)


def own_ms(memory_mb: int) -> float:
    """Return what our code takes of a call with so much memory, and so of a CPU: a model, of which 0029 tells more."""
    share = min(memory_mb / FULL_MEMORY, 1)
    return mean(max(one.get("billed_ms", one["p50_ms"]), one["cpu_ms"] / share) for one in _measured().values())


def lines(calls: Calls) -> Iterator[tuple[str, float]]:
    """Yield each part of a month's bill, in euros."""
    millions, gb = calls.number / 1e6, calls.memory_mb / 1024
    of_batches = int(template()["Globals"]["Function"]["MemorySize"]) / 1024
    counted, sealed = calls.batches(COUNT_WINDOW, COUNT_BATCH), calls.batches(SEAL_WINDOW, SEAL_BATCH)
    yield (
        "The gateway, and what is sent",
        price("gateway_requests", millions) + price("data_out", calls.number * SENT_BYTES / 1e9),
    )
    billed_seconds = calls.number * (calls.provider_ms + AWS_MS + own_ms(calls.memory_mb)) / 1000
    yield (
        "The datasets' functions",
        price("function_requests", millions) + price("function_gb_seconds", billed_seconds * gb),
    )
    yield (
        "Their starts, from snapshots",
        price("snapshot_gb_seconds", len(_measured()) * gb * HOURS * 3600)
        + price("restored_gb", calls.number * COLD * gb)
        + price("key_requests", millions * COLD * 2)
        + price("secret_requests", millions * COLD),
    )
    units = mean(WRITES.get(name, 1) for name in _measured())
    yield (
        "The audit: an entry in the table and its index, reads",
        price("audit_writes", millions * units * 2) + price("table_reads", millions * READS),
    )
    # In a transaction each write is two units: the mark of each entry, and a counter a batch.
    batches = price("function_requests", (counted + sealed) / 1e6)
    batches += price("function_gb_seconds", (counted + sealed) * BATCH_MS / 1000 * of_batches)
    yield (
        "Its statistics and seals",
        batches
        + price("table_writes", 2 * (calls.number + counted) / 1e6 + sealed / 1e6)
        + price("signatures", sealed / 1e6)
        + price("object_writes", sealed / 1e6),
    )
    kept = calls.number * KEPT_MONTHS / 1e9
    yield (
        f"What is kept of it, once there are {KEPT_MONTHS} months",
        price("audit_gb_months", kept * ENTRY_BYTES * 2)
        + price("recovery_gb_months", kept * ENTRY_BYTES)
        + price("object_gb_months", kept * SEALED_BYTES),
    )
    logged = calls.number * (_log_bytes() + LAMBDA_LOG_BYTES + GATEWAY_LOG_BYTES) / 1e9
    months = int(template()["Parameters"]["LogRetentionDays"]["Default"]) / 30
    yield "Logs", price("log_gb", logged) + price("log_gb_months", logged * months * COMPRESSED)
    yield "Traces", price("traces", millions * calls.traced)
    yield "Metrics, alarms, keys and secrets", _fixed()


def _log_bytes() -> float:
    return mean(one["log_bytes"] for one in _measured().values())


def _fixed() -> float:
    """Return what a month costs without a call."""
    filters = [one["MetricTransformations"][0] for one in resources("AWS::Logs::MetricFilter").values()]
    metrics = len(_measured()) * STATUSES + SERVICES + PROVIDERS * OUTCOMES
    metrics += sum("Dimensions" not in one for one in filters)
    return sum(
        (
            price("metrics", metrics),
            price("alarms", len(resources("AWS::CloudWatch::Alarm"))),
            price("composite_alarms", len(resources("AWS::CloudWatch::CompositeAlarm"))),
            price("dashboards", len(resources("AWS::CloudWatch::Dashboard"))),
            price("insight_rules", len(resources("AWS::CloudWatch::InsightRule"))),
            price("keys", len(resources("AWS::KMS::Key"))),
            price("secrets", len(resources("AWS::SecretsManager::Secret"))),
        )
    )


def machines(calls: float) -> int:
    """Return how many small machines the server of 2020 needs: two, or one more than what the peak takes."""
    peak = calls / BUSY_SECONDS * PEAK
    return max(2, ceil(peak / SERVER_CALLS_A_SECOND) + 1)


def server_of_2020(calls: float) -> float:
    """Return the euros of a month of that server, behind a load balancer with an address in each of two zones."""
    number = machines(calls)
    return sum(
        (
            price("machine_hours", number * HOURS),
            price("disk_gb_months", number * DISK_GB),
            price("address_hours", (number + 2) * HOURS),
            price("balancer_hours", HOURS),
            price("balancer_unit_hours", calls / 25 / 3600),  # each call by a connection of its own
            price("data_out", calls * SENT_BYTES / 1e9),
        )
    )
