"""The cost of calls on AWS, in euros a month: ``api-particulier cost``.

Computed from ``template.yaml``, the measures of the bench (``bench/measured.json``), AWS prices (``ops/prices.toml``)
and the assumptions below. AWS's free tier is not deducted.
"""

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from statistics import mean
from typing import Any, Final

from api_particulier.audit.record import KEPT_IN_TABLE
from api_particulier.audit.sealing import RECORDS_KEPT
from ops.prices import price
from ops.template import ROOT, resources, template

# ── Time ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

HOURS: Final = 730
"""Hours of a month."""
BUSY_HOURS: Final = 22 * 10
"""Hours of a month with calls: ten of each working day."""
BUSY_SECONDS: Final = BUSY_HOURS * 3600
RARE_HOURS: Final = 10
"""Hours of a month in which something rare is counted: an assumption. A metric is billed by the hour with data."""
DAYS: Final = HOURS / 24

# ── A call ───────────────────────────────────────────────────────────────────────────────────────────────────────────

PROVIDER_MS: Final = 1000.0
"""Milliseconds that a call waits for a provider, billed by Lambda; an assumption, to be taken from the dashboard."""
AWS_MS: Final = 6.0
"""Milliseconds that a call waits for DynamoDB to write its audit record; an assumption."""
FULL_MEMORY: Final = 1769
"""MB of memory for which Lambda gives a whole CPU; with less memory, the share is proportional."""
COLD: Final = 0.01
"""Share of the calls that start an environment; an assumption."""
KEYS: Final = 50
"""Keys that make the calls; an assumption."""
AUTHORIZER_MS: Final = 10
"""Milliseconds of a run of the authorizer; an assumption."""
READS: Final = 1.5
"""Read units of a call at most: one for its token and half for the circuit breaker, which are cached."""
SENT_BYTES: Final = 3000
"""Bytes sent to the caller and to the provider, with headers."""

# ── Its record ───────────────────────────────────────────────────────────────────────────────────────────────────────

WRITES: Final[dict[str, int]] = {}
"""Write units of an audit record of every field, for the datasets whose record is over 1 KB."""
ENTRY_BYTES: Final = 770
"""Mean size of an audit record of every field, with the 100 bytes that DynamoDB adds."""
INDEX_BYTES: Final = 500
"""The same in ``by_citizen``, which holds what a citizen is shown."""
KEPT_MONTHS: Final = 36
SEALED_BYTES: Final = 160
"""Size of a record in its seal."""
SEAL_BYTES: Final = 1000
"""Size of a seal's header and signature."""
RECORDS_BYTES: Final = 240
"""Size of a record in the object of a small seal, compressed: identifiers and MACs are random. Like the next two,
measured on 20,000 made records on 2026-11-27."""
ARCHIVED_BYTES: Final = 150
"""Size of a record in the archive of its day."""
ACCESS_BYTES: Final = 80
"""Size of a citizen's row in the archive of its month."""

# ── Its seal ─────────────────────────────────────────────────────────────────────────────────────────────────────────

SHARDS: Final = 4
"""Shards of the stream of a new table on demand: each has a window and a batch of its own."""
BATCH_MS: Final = 300
"""Duration of a batch of records: two objects written, one signature, two reads and a transaction; an assumption."""
COUNTERS: Final = 4
"""Counters that a seal adds to, at most; an assumption. A write of a transaction costs two units."""
OTHERS: Final = 0.25
"""Share of the seals that another environment has to read and verify; an assumption."""
ARCHIVE_SECONDS: Final = 120
"""Duration of the archive of a day or of its verification; an assumption."""

# ── Logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

LAMBDA_LOG_BYTES: Final = 560
"""Size of the lines that Lambda itself logs for a call at the level INFO; at WARN, it logs failures alone."""
GATEWAY_LOG_BYTES: Final = 210
"""Size of the access log line of API Gateway."""
EVENT_BYTES: Final = 26
"""What CloudWatch adds to the size of a line, of which a call has three."""
COMPRESSED: Final = 0.15
"""Size of the stored logs, as a share of the ingested logs."""

# ── Metrics ──────────────────────────────────────────────────────────────────────────────────────────────────────────

HOURS_OF_METRICS: Final[Mapping[str, float]] = {
    "SealLag": RARE_HOURS,
    "HeartbeatsSealed": HOURS,
    "SealsCounted": HOURS,
    "CertificateDaysLeft": RARE_HOURS,
    "ArchiveRuns": 4 * DAYS,
    "DaysVerified": DAYS,
    "AuditTampering": RARE_HOURS,
    "Alerts": 6 * RARE_HOURS,
}
"""Hours with data of the metrics that the functions write (EMF); of ``Alerts``, one for each kind."""
OF_EVERY_CALL: Final = ("Latency", "ProviderLatency", "KeyedCalls", "GatewayCalls", "ColdStarts", "Restores")
"""Metrics of filters that have data in each hour with calls."""
VALUES: Final = {"dataset": 16, "status": 4, "provider": 4, "outcome": 3}
"""Values of a dimension: each combination is a metric."""


@dataclass(frozen=True)
class Calls:
    """A month of calls, and the conditions of their execution."""

    number: float
    memory_mb: int
    """Memory of a dataset's function."""
    provider_ms: float = PROVIDER_MS
    snapshots: str = ""
    """Which functions start from a snapshot: a value of the template's parameter; its default where it is empty."""

    @property
    def memory_gb(self) -> float:
        return self.memory_mb / 1024

    @property
    def a_second(self) -> float:
        return self.number / BUSY_SECONDS

    def gathered(self, consumer: Mapping[str, Any]) -> float:
        """Return how many records a batch of a consumer of the stream has: those of a shard in its window."""
        (stream,) = _streams(consumer)
        in_a_window = 1 + self.a_second / SHARDS * float(stream["MaximumBatchingWindowInSeconds"])
        return min(in_a_window, float(stream["BatchSize"]))

    @property
    def authorized(self) -> float:
        """Return the share of calls whose key the gateway does not know from the last minute."""
        return 1 / (1 + 60 * self.a_second / KEYS)

    @property
    def traced(self) -> float:
        """Return the share of calls that X-Ray records: for each function one a second, and 5 % of the others."""
        of_a_function = self.a_second / len(_measured())
        return (min(of_a_function, 1) + 0.05 * max(of_a_function - 1, 0)) / of_a_function


def _parameter(name: str) -> str:
    return str(template()["Parameters"].get(name, {}).get("Default", ""))


def _functions_of(kind: str) -> dict[str, dict[str, Any]]:
    """Return the functions that have an event of a type."""
    return {
        name: function
        for name, function in resources("AWS::Serverless::Function").items()
        if any(event["Type"] == kind for event in function.get("Events", {}).values())
    }


def _streams(function: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [event["Properties"] for event in function.get("Events", {}).values() if event["Type"] == "DynamoDB"]


def _gb_of(function: Mapping[str, Any]) -> float:
    return int(function.get("MemorySize", template()["Globals"]["Function"]["MemorySize"])) / 1024


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


def _runs(number: float, seconds: float, gb: float) -> float:
    """Price runs of a function."""
    return price("function_requests", number / 1e6) + price("function_gb_seconds", number * seconds * gb)


def _functions(calls: Calls) -> float:
    of_datasets = _runs(calls.number, (calls.provider_ms + AWS_MS + own_ms(calls.memory_mb)) / 1000, calls.memory_gb)
    return of_datasets + _runs(calls.number * calls.authorized, AUTHORIZER_MS / 1000, calls.memory_gb)


def _starts(calls: Calls) -> float:
    """Price the stored snapshots and the restored ones, or the starts without; and what a start reads."""
    started = calls.number * COLD
    reads = price("key_requests", started * 2 / 1e6) + price("secret_requests", started / 1e6)
    snapped = _snapped(calls.snapshots or _parameter("Snapshots"))
    if not snapped:
        share = min(calls.memory_mb / FULL_MEMORY, 1)
        seconds = mean(measure["start_ms"] for measure in _measured().values()) / 1000 / share
        return reads + price("function_gb_seconds", started * seconds * calls.memory_gb)
    return (
        reads
        + price("snapshot_gb_seconds", snapped * calls.memory_gb * HOURS * 3600)
        + price("restored_gb", started * calls.memory_gb)
    )


def _snapped(which: str) -> int:
    """Return how many functions start from a snapshot, by the value of the parameter."""
    holds = {"SnapsV2": which != "none", "SnapsV3": which == "all"}
    functions = [function for function in resources("AWS::Serverless::Function").values() if "SnapStart" in function]
    return sum(holds[function["SnapStart"]["ApplyOn"]["Fn::If"][0]] for function in functions)


def _audit(calls: Calls) -> float:
    """Price each record, in the table and in its index, and the reads of a call."""
    millions = calls.number / 1e6
    units = mean(WRITES.get(name, 1) for name in _measured()) + ceil(_index_bytes() / 1024)
    return _audit_price("writes", millions * units) + price("table_reads", millions * (READS + calls.authorized))


def _index_bytes() -> float:
    (index,) = _audit_table()["GlobalSecondaryIndexes"]
    return ENTRY_BYTES if index["Projection"]["ProjectionType"] == "ALL" else INDEX_BYTES


def _audit_table() -> dict[str, Any]:
    return resources("AWS::DynamoDB::Table")["AuditTable"]


def _audit_price(what: str, quantity: float) -> float:
    """Price what the audit table takes, by its class."""
    is_infrequent = _audit_table().get("TableClass") == "STANDARD_INFREQUENT_ACCESS"
    return price(f"{'audit' if is_infrequent else 'table'}_{what}", quantity)


def _seals(calls: Calls) -> float:
    """Price each batch of the stream's consumers, and the heartbeats, which are alone in the hours without calls."""
    heartbeats, idle = HOURS * 60, (HOURS - BUSY_HOURS) * 60
    total = _runs(heartbeats, 0.05, 0.5) + _audit_price("writes", heartbeats / 1e6)
    for consumer in _functions_of("DynamoDB").values():
        gathered = calls.gathered(consumer)
        batches = calls.number / gathered + idle
        counters = calls.number / gathered * min(gathered, COUNTERS)
        total += (
            _runs(batches, BATCH_MS / 1000, _gb_of(consumer))
            + price("table_writes", 2 * (batches + counters) / 1e6)
            + price("table_reads", 2 * batches / 1e6)
            + price("signatures", batches * (1 + OTHERS) / 1e6)
            + price("object_writes", 2 * batches / 1e6)  # the records, and their seal
            + price("object_reads", batches * OTHERS / 1e6)
        )
    return total


def _archive(calls: Calls) -> float:
    """Price the archive's runs and the verification's, which read each seal with its records once."""
    (consumer,) = (function for name, function in _functions_of("DynamoDB").items() if name == "AuditSeals")
    seals = calls.number / calls.gathered(consumer) + (HOURS - BUSY_HOURS) * 60
    functions = resources("AWS::Serverless::Function")
    runs = sum(_runs(DAYS, ARCHIVE_SECONDS, _gb_of(functions[name])) for name in ("AuditArchive", "AuditVerification"))
    return runs + price("object_reads", 4 * seals / 1e6) + price("object_writes", (256 * DAYS + 1000) / 1e6)


def _kept(calls: Calls) -> float:
    seals = calls.number / calls.gathered(resources("AWS::Serverless::Function")["AuditSeals"])
    months = KEPT_IN_TABLE.days / DAYS
    in_table = calls.number * months * (ENTRY_BYTES + _index_bytes()) / 1e9
    recovered = _audit_table()["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]
    in_bucket = calls.number * (
        KEPT_MONTHS * (SEALED_BYTES + ARCHIVED_BYTES + ACCESS_BYTES) + RECORDS_KEPT.days / DAYS * RECORDS_BYTES
    )
    return (
        _audit_price("gb_months", in_table)
        + (price("recovery_gb_months", calls.number * months * ENTRY_BYTES / 1e9) if recovered else 0)
        + price("object_gb_months", (in_bucket + KEPT_MONTHS * seals * SEAL_BYTES) / 1e9)
    )


def _logs(calls: Calls) -> float:
    function_log_bytes = mean(measure["log_bytes"] for measure in _measured().values())
    of_lambda = template()["Globals"]["Function"]["LoggingConfig"].get("SystemLogLevel", "INFO") in {"INFO", "DEBUG"}
    gb = calls.number * (function_log_bytes + LAMBDA_LOG_BYTES * of_lambda + GATEWAY_LOG_BYTES + 2 * EVENT_BYTES) / 1e9
    months = int(_parameter("LogRetentionDays")) / 30
    return price("log_gb", gb) + price("log_gb_months", gb * months * COMPRESSED)


def _traces(calls: Calls) -> float:
    return price("traces", calls.number / 1e6 * calls.traced) if _parameter("Tracing") != "PassThrough" else 0.0


def metric_hours() -> float:
    """Return the hours with data of all metrics: of the filters of the logs, and of the functions."""
    filters = resources("AWS::Logs::MetricFilter").values()
    transformations = [log_filter["MetricTransformations"][0] for log_filter in filters]
    return sum(HOURS_OF_METRICS.values()) + sum(map(_hours_of, transformations))


def _hours_of(transformation: Mapping[str, Any]) -> float:
    dimensions = [dimension["Key"] for dimension in transformation.get("Dimensions", [])]
    metrics = prod(VALUES[name] for name in dimensions)
    if "DefaultValue" in transformation:  # written in each minute with a line in the log group, whatever it is
        return HOURS
    return metrics * (BUSY_HOURS if transformation["MetricName"] in OF_EVERY_CALL else RARE_HOURS)


def metrics_of_alarms() -> int:
    """Return how many metrics the alarms watch: one in an expression is billed like one alone."""
    alarms = resources("AWS::CloudWatch::Alarm").values()
    return sum(sum("MetricStat" in query for query in alarm.get("Metrics", [])) or 1 for alarm in alarms)


def _watched(_calls: Calls) -> float:
    counted = {
        "composite_alarms": "AWS::CloudWatch::CompositeAlarm",
        "dashboards": "AWS::CloudWatch::Dashboard",
        "insight_rules": "AWS::CloudWatch::InsightRule",
    }
    return (
        price("metrics", metric_hours() / HOURS)
        + price("alarms", metrics_of_alarms())
        + sum(price(name, len(resources(kind))) for name, kind in counted.items())
    )


def _keys(_calls: Calls) -> float:
    return price("keys", len(resources("AWS::KMS::Key"))) + price(
        "secrets", len(resources("AWS::SecretsManager::Secret"))
    )


_PARTS: Final[Mapping[str, Callable[[Calls], float]]] = {
    "The gateway, and what is sent": _gateway,
    "The functions of datasets and of keys": _functions,
    "Their starts": _starts,
    "The audit: a record in the table and its index, reads": _audit,
    "Its seals, which are the statistics": _seals,
    "Its archive and its verification": _archive,
    f"What is kept of it, once there are {KEPT_MONTHS} months": _kept,
    "Logs": _logs,
    "Traces": _traces,
    "Metrics, alarms and the dashboard": _watched,
    "Keys and secrets": _keys,
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
