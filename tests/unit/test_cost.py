"""The cost of calls, against figures computed by hand."""

import json
import tomllib
from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from ops import cost, prices
from ops import template as ops_template
from ops.cli.main import main
from ops.cost import BUSY_SECONDS, Calls, bill, bill_of_2020, machines_of_2020
from ops.prices import EUROS_PER_DOLLAR, price
from release import cost_tables
from release.cost_tables import VOLUMES
from tests.support.template import ROOT, resources, template

real_prices = prices._prices  # noqa: SLF001 - replaced below by round ones

MEASURED = {
    "first": {"cpu_ms": 1.0, "p50_ms": 3.0, "log_bytes": 400.0, "start_ms": 400.0},
    "second": {"cpu_ms": 2.0, "p50_ms": 1.0, "log_bytes": 600.0, "start_ms": 600.0},
}
ROUND = {
    "data_out": 0.1,
    "function_requests": 1,
    "function_gb_seconds": 0.01,
    "snapshot_gb_seconds": 0.001,
    "restored_gb": 0.1,
    "audit_writes": 2,
    "table_writes": 1,
    "table_reads": 0.1,
    "table_gb_months": 0.8,
    "audit_gb_months": 0.5,
    "recovery_gb_months": 0.25,
    "log_gb": 10,
    "log_gb_months": 1,
    "alarms": 0,
    "composite_alarms": 0,
    "metrics": 0,
    "dashboards": 0,
    "insight_rules": 0,
    "traces": 5,
    "keys": 0,
    "key_requests": 3,
    "signatures": 20,
    "secrets": 0,
    "secret_requests": 5,
    "object_writes": 10,
    "object_reads": 1,
    "object_gb_months": 0.1,
    "machine_hours": 0.01,
    "disk_gb_months": 0.1,
    "address_hours": 0.001,
    "balancer_hours": 0.02,
    "balancer_unit_hours": 0.01,
}


@pytest.fixture(autouse=True)
def _round_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use round prices and figures, so that a new price or a new run of the bench changes no test."""
    round_prices = {name: {"usd": usd} for name, usd in ROUND.items()} | {
        "gateway_requests": {"tiers": [[2e6, 4], [1e9, 3]]}
    }
    monkeypatch.setattr(prices, "_prices", lambda: round_prices)
    monkeypatch.setattr(cost, "_measured", lambda: MEASURED)
    monkeypatch.setattr(prices, "EUROS_PER_DOLLAR", 1)


@pytest.mark.parametrize(("millions", "dollars"), [(1, 4), (2, 8), (5, 8 + 9), (0, 0)])
def test_a_price_with_tiers_is_applied_tier_by_tier(millions: float, dollars: float) -> None:
    assert price("gateway_requests", millions) == dollars


def test_dollars_become_euros_at_the_assumed_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "EUROS_PER_DOLLAR", EUROS_PER_DOLLAR)
    assert price("traces", 10) == 50 * EUROS_PER_DOLLAR


def test_a_call_takes_longer_with_less_memory() -> None:
    assert cost.own_ms(1769) == (3 + 2) / 2  # of the two datasets, the larger of the time and the CPU
    assert cost.own_ms(10_000) == cost.own_ms(1769)
    assert cost.own_ms(1769 // 4) == pytest.approx((4 + 8) / 2, rel=0.01)


def test_the_billed_duration_is_preferred_to_the_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_measured", lambda: {"first": {"cpu_ms": 1.0, "p50_ms": 3.0, "billed_ms": 5.0}})
    assert cost.own_ms(1769) == 5


def test_the_bill_of_a_million_calls() -> None:
    parts = bill(Calls(1e6, memory_mb=2048, provider_ms=991.5, snapshots="v2"))
    gathered = 1 + 1e6 / BUSY_SECONDS / 4 * 30  # of a shard in its window: the first, and those that follow
    batches = 1e6 / gathered + 510 * 60  # and the heartbeats, alone in the other hours
    counters = 1e6 / gathered * 4
    authorized = 1 / (1 + 60 * 1e6 / BUSY_SECONDS / 50)  # the first of a key in a minute
    table = 1e6 * 45 / (730 / 24) * (770 + 500) / 1e9
    bucket = 1e6 * (36 * (160 + 150 + 80) + 46 / (730 / 24) * 240) + 36 * 1e6 / gathered * 1000
    assert list(parts.values())[:9] == pytest.approx(
        [
            4 + 3 * 0.1,
            1 + 1e6 * (0.9915 + 0.006 + 0.0025) * 2 * 0.01 + authorized * (1 + 10_000 * 2 * 0.01),
            8 * 2 * 730 * 3600 * 0.001 + 10_000 * 2 * 0.1 + 0.02 * 3 + 0.01 * 5,
            1 * 2 + (1.5 + authorized) * 0.1,
            730 * 60 * (1e-6 + 0.05 * 0.5 * 0.01 + 1e-6)
            + batches * (1e-6 + 0.3 * 0.5 * 0.01 + 2 * 0.1e-6 + 1.25 * 20e-6 + 2 * 10e-6 + 0.25 * 1e-6)
            + 2 * (batches + counters) * 1e-6,
            2 * 730 / 24 * (1e-6 + 120 * 0.01) + 4 * batches * 1e-6 + (256 * 730 / 24 + 1000) * 10e-6,
            table * 0.8 + bucket / 1e9 * 0.1,
            (500 + 210 + 2 * 26) / 1000 * (10 + 3 * 0.15 * 1),
            0,
        ]
    )


def test_the_record_of_a_tax_notice_takes_two_write_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "WRITES", {"avis_imposition": 2})
    monkeypatch.setattr(cost, "_measured", lambda: {"avis_imposition": MEASURED["first"]})
    (audit,) = (euros for name, euros in bill(Calls(1e6, 512)).items() if name.startswith("The audit"))
    assert audit == pytest.approx(2 + 1 + 0.1 * (1.5 + Calls(1e6, 512).authorized))


@pytest.mark.parametrize(("a_second", "gathered"), [(0.0001, 1), (1, 8.5), (100, 751), (1000, 2000)])
def test_a_shard_gathers_the_records_of_its_window(a_second: float, gathered: float) -> None:
    month = Calls(a_second * BUSY_SECONDS, 512)
    assert month.gathered(resources("AWS::Serverless::Function")["AuditSeals"]) == pytest.approx(gathered, rel=0.001)


@pytest.mark.parametrize(("a_second", "part"), [(0.5, 1), (2, 1), (4, (1 + 0.05) / 2), (200, (1 + 0.05 * 99) / 100)])
def test_one_call_a_second_of_each_function_is_traced_and_one_in_20_beyond(a_second: float, part: float) -> None:
    assert Calls(a_second * BUSY_SECONDS, 512).traced == pytest.approx(part)


def test_a_metric_is_billed_by_the_hour_with_data_and_each_metric_of_an_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    filters = {
        "always": {"MetricName": "A", "DefaultValue": 0},
        "rare": {"MetricName": "B"},
        "busy": {"MetricName": "Latency", "Dimensions": [{"Key": "dataset"}, {"Key": "status"}]},
    }
    alarms = {"simple": {}, "math": {"Metrics": [{"Expression": "a / b"}, {"MetricStat": {}}, {"MetricStat": {}}]}}
    given: dict[str, Any] = {
        "AWS::Logs::MetricFilter": {name: {"MetricTransformations": [value]} for name, value in filters.items()},
        "AWS::CloudWatch::Alarm": alarms,
    }
    monkeypatch.setattr(cost, "resources", lambda kind: given[kind])
    monkeypatch.setattr(cost, "HOURS_OF_METRICS", {"ours": 3})
    assert cost.metric_hours() == 3 + 730 + 10 + 16 * 4 * 220
    assert cost.metrics_of_alarms() == 3


def _changed(monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], None]) -> float:
    """Return what a million calls cost with a template changed."""
    changed = deepcopy(template())
    change(changed)
    for module in (cost, ops_template):
        monkeypatch.setattr(module, "template", lambda: changed)
    return sum(bill(Calls(1e6, 256)).values())


def _filter(name: str, *dimensions: str, **more: Any) -> dict[str, Any]:
    named = [{"Key": dimension, "Value": f"$.{dimension}"} for dimension in dimensions]
    transformation = {"MetricName": name, **({"Dimensions": named} if named else {}), **more}
    return {"Type": "AWS::Logs::MetricFilter", "Properties": {"MetricTransformations": [transformation]}}


TAKEN_OUT: dict[str, Callable[[dict[str, Any]], None]] = {
    "traces": lambda of: of["Parameters"]["Tracing"].update(Default="Active"),
    "lines of Lambda": lambda of: of["Globals"]["Function"]["LoggingConfig"].pop("SystemLogLevel"),
    "snapshots of v3": lambda of: of["Parameters"]["Snapshots"].update(Default="all"),
    "a second consumer": lambda of: of["Resources"].update(AuditCounters=of["Resources"]["AuditSeals"]),
    "a short window": lambda of: of["Resources"]["AuditSeals"]["Properties"]["Events"]["Audit"]["Properties"].update(
        MaximumBatchingWindowInSeconds=1
    ),
    "a backup of the table": lambda of: of["Resources"]["AuditTable"]["Properties"].update(
        PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
    ),
    "a whole index": lambda of: of["Resources"]["AuditTable"]["Properties"].update(
        GlobalSecondaryIndexes=[{"Projection": {"ProjectionType": "ALL"}}]
    ),
    "calls by dataset and status": lambda of: of["Resources"].update(C=_filter("Latency", "dataset", "status")),
    "questions by provider": lambda of: of["Resources"].update(P=_filter("ProviderLatency", "provider", "outcome")),
    "zeros by default": lambda of: of["Resources"]["InternalErrorsCount"]["Properties"]["MetricTransformations"][
        0
    ].update(DefaultValue=0),
    "throttled keys": lambda of: of["Resources"].update(ThrottledKeys={"Type": "AWS::CloudWatch::InsightRule"}),
}
"""What was taken out of the template to make it cheaper, each with how to put it back."""


@pytest.mark.parametrize("part", TAKEN_OUT)
def test_what_was_taken_out_costs_when_it_is_put_back(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(prices, "_prices", real_prices)
    before = sum(bill(Calls(1e6, 256)).values())
    assert _changed(monkeypatch, TAKEN_OUT[part]) > before + 0.05


@pytest.mark.parametrize(
    ("name", "value"), [("KEPT_IN_TABLE", timedelta(days=1096)), ("WRITES", dict.fromkeys(MEASURED, 2))]
)
def test_what_a_record_no_longer_takes_costs_when_it_is_put_back(
    monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    monkeypatch.setattr(prices, "_prices", real_prices)
    before = sum(bill(Calls(1e6, 256)).values())
    monkeypatch.setattr(cost, name, value)
    assert sum(bill(Calls(1e6, 256)).values()) > before + 0.5


def test_a_table_for_rarely_read_data_has_its_own_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bill(Calls(1e6, 256))
    _changed(
        monkeypatch,
        lambda of: of["Resources"]["AuditTable"]["Properties"].update(TableClass="STANDARD_INFREQUENT_ACCESS"),
    )
    after = bill(Calls(1e6, 256))
    name = "The audit: a record in the table and its index, reads"
    assert after[name] - before[name] == pytest.approx(2)  # two units, at 2 instead of 1
    kept = next(name for name in after if name.startswith("What is kept"))
    assert after[kept] < before[kept]


def test_a_start_without_a_snapshot_is_billed_by_its_time() -> None:
    starts = bill(Calls(1e6, memory_mb=1769, snapshots="none"))["Their starts"]
    assert starts == pytest.approx(10_000 * 0.5 * 1769 / 1024 * 0.01 + 0.02 * 3 + 0.01 * 5)


@pytest.mark.parametrize(("a_second", "number"), [(1, 2), (56, 2), (57, 3), (168, 4)])
def test_the_server_of_2020_has_a_spare_machine_at_its_peak(a_second: float, number: int) -> None:
    assert machines_of_2020(a_second * BUSY_SECONDS) == number


def test_the_bill_of_a_month_of_the_server_of_2020() -> None:
    assert bill_of_2020(9e6) == pytest.approx(
        2 * 730 * 0.01 + 2 * 20 * 0.1 + 4 * 730 * 0.001 + 730 * 0.02 + 9e6 / 25 / 3600 * 0.01 + 9e6 * 3000 / 1e9 * 0.1
    )


def test_the_command_prints_the_parts_and_their_total() -> None:
    result = CliRunner().invoke(main, ["cost", "--calls", "1e6", "--memory", "1024", "--provider-ms", "200", "--json"])
    found = json.loads(result.output)
    assert found["total"] == pytest.approx(sum(found["parts"].values()))
    assert found["parts"]["Logs"] == pytest.approx(8.0, abs=0.1)
    assert found["server_of_2020"]["machines"] == 2
    text = CliRunner().invoke(main, ["cost", "--calls", "1e6", "--memory", "1024", "--provider-ms", "200"]).output
    assert f"{found['total']:,.2f} €  all" in text


@pytest.mark.parametrize("options", [["--calls", "0"], ["--calls", "1", "--memory", "64"], []])
def test_invalid_options_are_refused(options: list[str]) -> None:
    assert CliRunner().invoke(main, ["cost", *options]).exit_code == 2


def test_the_page_shows_the_total_at_each_volume() -> None:
    (row,) = (line for line in cost_tables.tables().splitlines() if line.startswith("| **all** |"))
    totals = (sum(bill(Calls(number, cost.memory_of_datasets())).values()) for number in VOLUMES)
    assert row.split("**")[3::2] == [
        f"{total / number * 1e6:,.2f}" for total, number in zip(totals, VOLUMES, strict=True)
    ]


def test_each_price_is_used_and_gives_its_source_or_its_assumption() -> None:
    found = tomllib.loads((ROOT / "ops/prices.toml").read_text())
    assert found.keys() == ROUND.keys() | {"gateway_requests"}
    for item in found.values():
        assert item["page"].startswith("https://aws.amazon.com/")
        assert ("list" in item) is not ("assumed" in item)
