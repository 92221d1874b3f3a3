"""The cost of calls, against figures computed by hand."""

import json
import tomllib

import pytest
from click.testing import CliRunner

from ops import cost, prices
from ops.cli.main import main
from ops.cost import BUSY_SECONDS, Calls, bill, bill_of_2020, machines_of_2020
from ops.prices import EUROS_PER_DOLLAR, price
from release import cost_tables
from release.cost_tables import VOLUMES
from tests.support.template import ROOT

MEASURED = {
    "first": {"cpu_ms": 1.0, "p50_ms": 3.0, "log_bytes": 400.0},
    "second": {"cpu_ms": 2.0, "p50_ms": 1.0, "log_bytes": 600.0},
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
    parts = bill(Calls(1e6, memory_mb=2048, provider_ms=991.5))
    rate = 1e6 / BUSY_SECONDS  # 1.26 a second, 0.63 for each function: all are traced
    sealed = 1e6 / (rate * 20)
    assert list(parts.values()) == pytest.approx(
        [
            4 + 3 * 0.1,
            1 + 1e6 * (0.9915 + 0.006 + 0.0025) * 2 * 0.01,
            2 * 2 * 730 * 3600 * 0.001 + 10_000 * 2 * 0.1 + 0.02 * 3 + 0.01 * 5,
            1 * 2 * 2 + 1.0 * 0.1,
            sealed * (1e-6 + 0.3 * 1 * 0.01) + sealed / 1e6 * (4 + 20 + 2 * 10),
            36 * (820 * 2 * 0.5 + 820 * 0.25 + 160 * 0.1) / 1000,
            (500 + 560 + 330) / 1000 * (10 + 3 * 0.15 * 1),
            5,
            0,
        ]
    )


def test_the_record_of_a_tax_notice_takes_two_write_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_measured", lambda: {"avis_imposition": MEASURED["first"]})
    (audit,) = (euros for name, euros in bill(Calls(1e6, 512)).items() if name.startswith("The audit"))
    assert audit == pytest.approx(2 * 2 * 2 + 1.0 * 0.1)


@pytest.mark.parametrize(
    ("a_second", "consumer", "of_a_thousand"),
    [
        (0.01, "AuditSeals", 1000),
        (10, "AuditSeals", 1000 / 200),
        (100, "AuditSeals", 1000 / 2000),
        (200, "AuditSeals", 1000 / 2000),
    ],
)
def test_a_stream_gathers_the_records_of_its_window(a_second: float, consumer: str, of_a_thousand: float) -> None:
    month = Calls(a_second * BUSY_SECONDS, 512)
    assert month.batches(consumer) / month.number * 1000 == pytest.approx(of_a_thousand)


@pytest.mark.parametrize(("a_second", "part"), [(0.5, 1), (2, 1), (4, (1 + 0.05) / 2), (200, (1 + 0.05 * 99) / 100)])
def test_one_call_a_second_of_each_function_is_traced_and_one_in_20_beyond(a_second: float, part: float) -> None:
    assert Calls(a_second * BUSY_SECONDS, 512).traced == pytest.approx(part)


def test_alarms_metrics_keys_and_secrets_cost_without_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(**usd: float) -> float:
        given = {name: {"usd": usd.get(name, 0)} for name in ROUND}
        monkeypatch.setattr(prices, "_prices", lambda: given | {"gateway_requests": {"tiers": []}})
        return bill(Calls(1, 512))["Metrics, alarms, keys and secrets"]

    assert fixed(keys=1) == 5
    assert fixed(secrets=1) == 13
    assert fixed(dashboards=1) == 1
    assert fixed(metrics=1) > 2 * 4 + 6 + 9  # and those of the log metric filters


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
    assert found["parts"]["Traces"] == 5
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
