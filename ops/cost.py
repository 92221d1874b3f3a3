"""What calls cost on AWS, in euros a month: ``api-particulier cost``.

From what is measured (``bench/measured.json``), what AWS asks (``ops/prices.toml``), what ``template.yaml`` deploys and
the suppositions below. ``make docs`` writes the tables of ``docs/performance.md``. What AWS gives for free is not taken
off.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil
from statistics import mean
from typing import Final

from ops.prices import price
from ops.template import ROOT, resources, template

PROVIDER_MS: Final = 1000.0
"""What a call waits for a provider, and Lambda bills; a supposition: use the mean of the dashboard's latencies."""
AWS_MS: Final = 6.0
"""What a call waits for DynamoDB to write its entry; a supposition."""
FULL_MEMORY: Final = 1769
"""MB with which Lambda gives a whole CPU; with less, a part in proportion."""
BUSY_SECONDS: Final = 22 * 10 * 3600
"""Of a month, in which the calls come: working days, ten hours each."""
COLD: Final = 0.01
"""Of the calls, that start an environment; a supposition."""

READS: Final = 1.0
"""Units of a call at most: half a unit for its token, which is remembered, and half for the circuit."""
WRITES: Final = {"avis_imposition": 2}
"""Units of an audit entry that opens every field, where it is more than one: it is more than 1 KB."""
ENTRY_BYTES: Final = 820
"""Of an audit entry with what DynamoDB adds to it, 100 bytes: the mean of the datasets, every field opened."""
KEPT_MONTHS: Final = 36
BATCH_MS: Final = 300
"""Of a batch of entries, to count or to seal them; a supposition."""
SEALED_BYTES: Final = 160
"""Of an entry in its seal."""

LAMBDA_LOG_BYTES: Final = 560
"""What Lambda itself says of a call, its start and its report; a supposition, from the fields that it documents."""
GATEWAY_LOG_BYTES: Final = 330
"""The line that the template has the gateway write."""
COMPRESSED: Final = 0.15
"""Of the logs, once they are kept."""
SENT_BYTES: Final = 3000
"""To the caller and to the provider, headers included."""
STATUSES, OUTCOMES, PROVIDERS, SERVICES = 4, 3, 3, 6
"""With which metrics there are: of a dataset, of a provider, and how many of these and of the other functions."""

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
    def memory_gb(self) -> float:
        return self.memory_mb / 1024

    @property
    def a_second(self) -> float:
        return self.number / BUSY_SECONDS

    def batches(self, consumer: str) -> float:
        """Return how many batches the stream makes of the calls' entries, for a function of the template."""
        stream = resources("AWS::Serverless::Function")[consumer]["Events"]["Audit"]["Properties"]
        gathered = self.a_second * float(stream["MaximumBatchingWindowInSeconds"])
        return self.number / min(max(gathered, 1.0), float(stream["BatchSize"]))

    @property
    def traced(self) -> float:
        """Return the part that X-Ray records: of each function one a second, and one in 20 of the others."""
        of_a_function = self.a_second / len(_measured())
        return (min(of_a_function, 1) + 0.05 * max(of_a_function - 1, 0)) / of_a_function


@cache
def _measured() -> dict[str, dict[str, float]]:
    """Return what the bench last saved of each dataset."""
    found: dict[str, dict[str, float]] = json.loads((ROOT / "bench/measured.json").read_text())["datasets"]
    return found


def memory_of_datasets() -> int:
    """Return the MB of a dataset's function, as the template says."""
    (found,) = {one["MemorySize"] for one in resources("AWS::Serverless::Function").values() if "SnapStart" in one}
    return int(found)


def own_ms(memory_mb: int) -> float:
    """Return what our code takes of a call with so much memory, and so of a CPU: a model, of which 0029 tells more."""
    share = min(memory_mb / FULL_MEMORY, 1)
    return mean(max(one.get("billed_ms", one["p50_ms"]), one["cpu_ms"] / share) for one in _measured().values())


def bill(calls: Calls) -> dict[str, float]:
    """Return each part of a month's bill, in euros."""
    return {name: part(calls) for name, part in _PARTS.items()}


def _gateway(calls: Calls) -> float:
    return price("gateway_requests", calls.number / 1e6) + price("data_out", calls.number * SENT_BYTES / 1e9)


def _functions(calls: Calls) -> float:
    billed = calls.number * (calls.provider_ms + AWS_MS + own_ms(calls.memory_mb)) / 1000
    return price("function_requests", calls.number / 1e6) + price("function_gb_seconds", billed * calls.memory_gb)


def _starts(calls: Calls) -> float:
    """Count the snapshots that are kept, those that are restored, and the keys and the secret that a start asks for."""
    started = calls.number * COLD
    return (
        price("snapshot_gb_seconds", len(_measured()) * calls.memory_gb * HOURS * 3600)
        + price("restored_gb", started * calls.memory_gb)
        + price("key_requests", started * 2 / 1e6)
        + price("secret_requests", started / 1e6)
    )


def _audit(calls: Calls) -> float:
    """Count each entry, in the table and in its index, and what is read."""
    millions, units = calls.number / 1e6, mean(WRITES.get(name, 1) for name in _measured())
    return price("audit_writes", millions * units * 2) + price("table_reads", millions * READS)


def _batches(calls: Calls) -> float:
    counted, sealed = calls.batches("StatsStream"), calls.batches("AuditSeals")
    gb = int(template()["Globals"]["Function"]["MemorySize"]) / 1024
    return (
        price("function_requests", (counted + sealed) / 1e6)
        + price("function_gb_seconds", (counted + sealed) * BATCH_MS / 1000 * gb)
        # In a transaction a write is two units: the mark of each entry, and a counter a batch. A seal moves the head.
        + price("table_writes", (2 * (calls.number + counted) + sealed) / 1e6)
        + price("signatures", sealed / 1e6)
        + price("object_writes", sealed / 1e6)
    )


def _kept(calls: Calls) -> float:
    entries = calls.number * KEPT_MONTHS / 1e9
    return (
        price("audit_gb_months", entries * ENTRY_BYTES * 2)
        + price("recovery_gb_months", entries * ENTRY_BYTES)
        + price("object_gb_months", entries * SEALED_BYTES)
    )


def _logs(calls: Calls) -> float:
    ours = mean(one["log_bytes"] for one in _measured().values())
    gb = calls.number * (ours + LAMBDA_LOG_BYTES + GATEWAY_LOG_BYTES) / 1e9
    months = int(template()["Parameters"]["LogRetentionDays"]["Default"]) / 30
    return price("log_gb", gb) + price("log_gb_months", gb * months * COMPRESSED)


def _traces(calls: Calls) -> float:
    return price("traces", calls.number / 1e6 * calls.traced)


def _fixed(_calls: Calls) -> float:
    filters = [one["MetricTransformations"][0] for one in resources("AWS::Logs::MetricFilter").values()]
    metrics = len(_measured()) * STATUSES + SERVICES + PROVIDERS * OUTCOMES
    metrics += sum("Dimensions" not in one for one in filters)
    counted = {
        "alarms": "AWS::CloudWatch::Alarm",
        "composite_alarms": "AWS::CloudWatch::CompositeAlarm",
        "dashboards": "AWS::CloudWatch::Dashboard",
        "insight_rules": "AWS::CloudWatch::InsightRule",
        "keys": "AWS::KMS::Key",
        "secrets": "AWS::SecretsManager::Secret",
    }
    return price("metrics", metrics) + sum(price(name, len(resources(kind))) for name, kind in counted.items())


_PARTS: Final[Mapping[str, Callable[[Calls], float]]] = {
    "The gateway, and what is sent": _gateway,
    "The datasets' functions": _functions,
    "Their starts, from snapshots": _starts,
    "The audit: an entry in the table and its index, reads": _audit,
    "Its statistics and seals": _batches,
    f"What is kept of it, once there are {KEPT_MONTHS} months": _kept,
    "Logs": _logs,
    "Traces": _traces,
    "Metrics, alarms, keys and secrets": _fixed,
}


# ── The server of 2020 ───────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _server_of_2020() -> dict[str, float]:
    return tomllib.loads((ROOT / "ops/server_of_2020.toml").read_text())


def machines_of_2020(calls: float) -> int:
    """Return how many machines the server of 2020 needs for a month of ``calls``: its peak, and a spare one."""
    figures = _server_of_2020()
    peak = calls / BUSY_SECONDS * figures["peak"]
    return max(int(figures["least_machines"]), ceil(peak / figures["calls_per_second"]) + 1)


def bill_of_2020(calls: float) -> float:
    """Return the euros of a month of the server of 2020."""
    machines = machines_of_2020(calls)
    return sum(
        (
            price("machine_hours", machines * HOURS),
            price("disk_gb_months", machines * _server_of_2020()["disk_gb"]),
            price("address_hours", (machines + 2) * HOURS),  # the load balancer has one in each of two zones
            price("balancer_hours", HOURS),
            price("balancer_unit_hours", calls / 25 / 3600),  # 25 new connections a second: one a call
            price("data_out", calls * SENT_BYTES / 1e9),
        )
    )
