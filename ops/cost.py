"""The cost of calls on AWS, in euros a month: ``api-particulier cost``.

Computed from the measures of the bench (``bench/measured.json``), AWS prices (``ops/prices.toml``), ``template.yaml``
and the assumptions below. AWS's free tier is not deducted.
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
"""Milliseconds that a call waits for a provider, billed by Lambda; an assumption, to be taken from the dashboard."""
AWS_MS: Final = 6.0
"""Milliseconds that a call waits for DynamoDB to write its audit record; an assumption."""
FULL_MEMORY: Final = 1769
"""MB of memory for which Lambda gives a whole CPU; with less memory, the share is proportional."""
BUSY_SECONDS: Final = 22 * 10 * 3600
"""Seconds of a month with calls: ten hours of each working day."""
COLD: Final = 0.01
"""Share of the calls that start an environment; an assumption."""

READS: Final = 1.0
"""Read units of a call at most: half for its token, which is cached, and half for the circuit breaker."""
WRITES: Final = {"avis_imposition": 2}
"""Write units of an audit record of every field, for the datasets whose record is over 1 KB."""
ENTRY_BYTES: Final = 820
"""Mean size of an audit record of every field, with the 100 bytes that DynamoDB adds."""
KEPT_MONTHS: Final = 36
BATCH_MS: Final = 300
"""Duration of a batch of records, to count or to seal them; an assumption."""
SEALED_BYTES: Final = 160
"""Size of a record in its seal."""

LAMBDA_LOG_BYTES: Final = 560
"""Size of the lines that Lambda itself logs for a call; an assumption, from the documented fields."""
GATEWAY_LOG_BYTES: Final = 330
"""Size of the access log line of API Gateway."""
COMPRESSED: Final = 0.15
"""Size of the stored logs, as a share of the ingested logs."""
SENT_BYTES: Final = 3000
"""Bytes sent to the caller and to the provider, with headers."""
STATUSES, OUTCOMES, PROVIDERS, SERVICES = 4, 3, 3, 6
"""Numbers of metrics: statuses of a dataset, outcomes of a provider, providers, other functions."""

HOURS: Final = 730
"""Hours of a month."""


@dataclass(frozen=True)
class Calls:
    """A month of calls, and the conditions of their execution."""

    number: float
    memory_mb: int
    """Memory of a dataset's function."""
    provider_ms: float = PROVIDER_MS

    @property
    def memory_gb(self) -> float:
        return self.memory_mb / 1024

    @property
    def a_second(self) -> float:
        return self.number / BUSY_SECONDS

    def batches(self, consumer: str) -> float:
        """Return the number of stream batches for a function of the template."""
        stream = resources("AWS::Serverless::Function")[consumer]["Events"]["Audit"]["Properties"]
        gathered = self.a_second * float(stream["MaximumBatchingWindowInSeconds"])
        return self.number / min(max(gathered, 1.0), float(stream["BatchSize"]))

    @property
    def traced(self) -> float:
        """Return the share of calls that X-Ray records: for each function one a second, and 5 % of the others."""
        of_a_function = self.a_second / len(_measured())
        return (min(of_a_function, 1) + 0.05 * max(of_a_function - 1, 0)) / of_a_function


@cache
def _measured() -> dict[str, dict[str, float]]:
    """Return the last saved measures of each dataset."""
    measures: dict[str, dict[str, float]] = json.loads((ROOT / "bench/measured.json").read_text())["datasets"]
    return measures


def memory_of_datasets() -> int:
    """Return the MB of a dataset's function in the template."""
    functions = resources("AWS::Serverless::Function").values()
    (memory,) = {function["MemorySize"] for function in functions if "SnapStart" in function}
    return int(memory)


def own_ms(memory_mb: int) -> float:
    """Return the milliseconds of this project's own code in a call, for a memory and so a share of a CPU.

    The model is described in docs/decisions/0029-memory-and-snapshots.md.
    """
    share = min(memory_mb / FULL_MEMORY, 1)
    return mean(
        max(measure.get("billed_ms", measure["p50_ms"]), measure["cpu_ms"] / share) for measure in _measured().values()
    )


def bill(calls: Calls) -> dict[str, float]:
    """Return the cost of each part, in euros a month."""
    return {name: part(calls) for name, part in _PARTS.items()}


def _gateway(calls: Calls) -> float:
    return price("gateway_requests", calls.number / 1e6) + price("data_out", calls.number * SENT_BYTES / 1e9)


def _functions(calls: Calls) -> float:
    billed = calls.number * (calls.provider_ms + AWS_MS + own_ms(calls.memory_mb)) / 1000
    return price("function_requests", calls.number / 1e6) + price("function_gb_seconds", billed * calls.memory_gb)


def _starts(calls: Calls) -> float:
    """Price the stored snapshots, the restored ones, and the keys and the secret that a start reads."""
    started = calls.number * COLD
    return (
        price("snapshot_gb_seconds", len(_measured()) * calls.memory_gb * HOURS * 3600)
        + price("restored_gb", started * calls.memory_gb)
        + price("key_requests", started * 2 / 1e6)
        + price("secret_requests", started / 1e6)
    )


def _audit(calls: Calls) -> float:
    """Price each record, in the table and in its index, and the reads of a call."""
    millions, units = calls.number / 1e6, mean(WRITES.get(name, 1) for name in _measured())
    return price("audit_writes", millions * units * 2) + price("table_reads", millions * READS)


def _batches(calls: Calls) -> float:
    sealed = calls.batches("AuditSeals")
    gb = int(resources("AWS::Serverless::Function")["AuditSeals"]["MemorySize"]) / 1024
    return (
        price("function_requests", sealed / 1e6)
        + price("function_gb_seconds", sealed * BATCH_MS / 1000 * gb)
        # A write of a transaction costs two units: a counter a batch, and the number of the last seal counted.
        + price("table_writes", 2 * 2 * sealed / 1e6)
        + price("signatures", sealed / 1e6)
        + price("object_writes", 2 * sealed / 1e6)  # the records, and their seal
    )


def _kept(calls: Calls) -> float:
    entries = calls.number * KEPT_MONTHS / 1e9
    return (
        price("audit_gb_months", entries * ENTRY_BYTES * 2)
        + price("recovery_gb_months", entries * ENTRY_BYTES)
        + price("object_gb_months", entries * SEALED_BYTES)
    )


def _logs(calls: Calls) -> float:
    function_log_bytes = mean(measure["log_bytes"] for measure in _measured().values())
    gb = calls.number * (function_log_bytes + LAMBDA_LOG_BYTES + GATEWAY_LOG_BYTES) / 1e9
    months = int(template()["Parameters"]["LogRetentionDays"]["Default"]) / 30
    return price("log_gb", gb) + price("log_gb_months", gb * months * COMPRESSED)


def _traces(calls: Calls) -> float:
    return price("traces", calls.number / 1e6 * calls.traced)


def _fixed(_calls: Calls) -> float:
    filters = resources("AWS::Logs::MetricFilter").values()
    metrics = len(_measured()) * STATUSES + SERVICES + PROVIDERS * OUTCOMES
    metrics += sum("Dimensions" not in log_filter["MetricTransformations"][0] for log_filter in filters)
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
