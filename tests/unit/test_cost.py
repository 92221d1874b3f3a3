"""The arithmetic of what calls cost, computed by hand; that the page says it is compared with the other documents."""

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
    "one": {"cpu_ms": 1.0, "p50_ms": 3.0, "log_bytes": 400.0},
    "two": {"cpu_ms": 2.0, "p50_ms": 1.0, "log_bytes": 600.0},
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
    """Prices and measures that a hand can count with; whoever reads a new price changes no test."""
    asked = {name: {"usd": usd} for name, usd in ROUND.items()} | {"gateway_requests": {"tiers": [[2e6, 4], [1e9, 3]]}}
    monkeypatch.setattr(prices, "_prices", lambda: asked)
    monkeypatch.setattr(cost, "_measured", lambda: MEASURED)
    monkeypatch.setattr(prices, "EUROS_PER_DOLLAR", 1)


@pytest.mark.parametrize(("millions", "dollars"), [(1, 4), (2, 8), (5, 8 + 9), (0, 0)])
def test_what_is_dearer_at_first_is_counted_by_tiers(millions: float, dollars: float) -> None:
    assert price("gateway_requests", millions) == dollars


def test_dollars_are_euros_at_a_rate_that_is_supposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "EUROS_PER_DOLLAR", EUROS_PER_DOLLAR)
    assert price("traces", 10) == 50 * EUROS_PER_DOLLAR


def test_with_less_memory_our_code_has_less_of_a_cpu() -> None:
    assert cost.own_ms(1769) == (3 + 2) / 2  # the clock, and the CPU, whichever is more
    assert cost.own_ms(10_000) == cost.own_ms(1769)
    assert cost.own_ms(1769 // 4) == pytest.approx((4 + 8) / 2, rel=0.01)


def test_what_lambda_billed_in_the_bench_is_better_than_a_median(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_measured", lambda: {"one": {"cpu_ms": 1.0, "p50_ms": 3.0, "billed_ms": 5.0}})
    assert cost.own_ms(1769) == 5


def test_a_million_calls() -> None:
    found = bill(Calls(1e6, memory_mb=2048, provider_ms=991.5))
    rate = 1e6 / BUSY_SECONDS  # 1.26 a second, 0.63 of each function: all are traced
    counted, sealed = 1e6 / rate, 1e6 / (rate * 15)
    assert list(found.values()) == pytest.approx(
        [
            4 + 3 * 0.1,
            1 + 1e6 * (0.9915 + 0.006 + 0.0025) * 2 * 0.01,
            2 * 2 * 730 * 3600 * 0.001 + 10_000 * 2 * 0.1 + 0.02 * 3 + 0.01 * 5,
            1 * 2 * 2 + 1.0 * 0.1,
            (counted + sealed) * (1e-6 + 0.3 * 0.5 * 0.01) + 2 + 2 * counted / 1e6 + sealed / 1e6 * (1 + 20 + 10),
            36 * (820 * 2 * 0.5 + 820 * 0.25 + 160 * 0.1) / 1000,
            (500 + 560 + 330) / 1000 * (10 + 3 * 0.15 * 1),
            5,
            0,
        ]
    )


def test_a_tax_notice_is_two_units_of_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost, "_measured", lambda: {"avis_imposition": MEASURED["one"]})
    (audit,) = (euros for name, euros in bill(Calls(1e6, 512)).items() if name.startswith("The audit"))
    assert audit == pytest.approx(2 * 2 * 2 + 1.0 * 0.1)


@pytest.mark.parametrize(
    ("a_second", "consumer", "of_a_thousand"),
    [
        (0.1, "StatsStream", 1000),
        (10, "StatsStream", 1000 / 10),
        (200, "StatsStream", 1000 / 100),
        (10, "AuditSeals", 1000 / 150),
        (100, "AuditSeals", 1000 / 500),
    ],
)
def test_a_stream_gathers_what_comes_in_its_window(a_second: float, consumer: str, of_a_thousand: float) -> None:
    month = Calls(a_second * BUSY_SECONDS, 512)
    assert month.batches(consumer) / month.number * 1000 == pytest.approx(of_a_thousand)


@pytest.mark.parametrize(("a_second", "part"), [(0.5, 1), (2, 1), (4, (1 + 0.05) / 2), (200, (1 + 0.05 * 99) / 100)])
def test_of_each_function_one_call_a_second_is_traced(a_second: float, part: float) -> None:
    assert Calls(a_second * BUSY_SECONDS, 512).traced == pytest.approx(part)


def test_a_month_without_a_call_costs_its_alarms_metrics_keys_and_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    def fixed(**usd: float) -> float:
        asked = {name: {"usd": usd.get(name, 0)} for name in ROUND}
        monkeypatch.setattr(prices, "_prices", lambda: asked | {"gateway_requests": {"tiers": []}})
        return bill(Calls(1, 512))["Metrics, alarms, keys and secrets"]

    assert fixed(keys=1) == 3
    assert fixed(secrets=1) == 4
    assert fixed(dashboards=1) == 1
    assert fixed(metrics=1) > 2 * 4 + 6 + 9  # and those of the logs' filters


@pytest.mark.parametrize(("a_second", "number"), [(1, 2), (56, 2), (57, 3), (168, 4)])
def test_the_server_of_2020_needs_one_machine_more_than_its_peak(a_second: float, number: int) -> None:
    assert machines_of_2020(a_second * BUSY_SECONDS) == number


def test_a_month_of_the_server_of_2020() -> None:
    assert bill_of_2020(9e6) == pytest.approx(
        2 * 730 * 0.01 + 2 * 20 * 0.1 + 4 * 730 * 0.001 + 730 * 0.02 + 9e6 / 25 / 3600 * 0.01 + 9e6 * 3000 / 1e9 * 0.1
    )


def test_the_command_says_each_part_and_their_sum() -> None:
    told = CliRunner().invoke(main, ["cost", "--calls", "1e6", "--memory", "1024", "--provider-ms", "200", "--json"])
    found = json.loads(told.output)
    assert found["total"] == pytest.approx(sum(found["parts"].values()))
    assert found["parts"]["Traces"] == 5
    assert found["server_of_2020"]["machines"] == 2
    text = CliRunner().invoke(main, ["cost", "--calls", "1e6", "--memory", "1024", "--provider-ms", "200"]).output
    assert f"{found['total']:,.2f} €  all" in text


@pytest.mark.parametrize("wrong", [["--calls", "0"], ["--calls", "1", "--memory", "64"], []])
def test_what_cannot_be_counted_is_refused(wrong: list[str]) -> None:
    assert CliRunner().invoke(main, ["cost", *wrong]).exit_code == 2


def test_the_page_has_the_bill_at_each_volume() -> None:
    (row,) = (line for line in cost_tables.tables().splitlines() if line.startswith("| **all** |"))
    totals = (sum(bill(Calls(number, cost.memory_of_datasets())).values()) for number in VOLUMES)
    assert row.split("**")[3::2] == [
        f"{total / number * 1e6:,.2f}" for total, number in zip(totals, VOLUMES, strict=True)
    ]


def test_each_price_says_where_it_is_from_or_what_stands_in_for_it_and_is_used() -> None:
    found = tomllib.loads((ROOT / "ops/prices.toml").read_text())
    assert found.keys() == ROUND.keys() | {"gateway_requests"}
    for one in found.values():
        assert one["page"].startswith("https://aws.amazon.com/")
        assert ("list" in one) is not ("supposed" in one)
