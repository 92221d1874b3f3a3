"""The day of calls that `make load` plans, and its report."""

import random

import pytest

from load.day import LIMIT, Pace, Town, activity, arrivals, over_the_limit, steady, towns
from load.report import report, text


def day(town: Town, seconds: float = 120) -> list[float]:
    return arrivals(town, seconds, random.Random(7))  # noqa: S311 - a drawn day is no secret


def test_most_towns_are_quiet_a_few_are_busy_and_one_is_greedy() -> None:
    kinds = [town.kind for town in towns(24)]
    assert (len(kinds), kinds.count("greedy")) == (24, 1)
    assert kinds.count("quiet") > 3 * kinds.count("busy") > 0


def test_a_day_is_quietest_at_night_and_busiest_when_enrolment_opens() -> None:
    assert activity(3) < 0.05 < activity(10) < activity(20.2) == 1
    instants = day(Town("a", "busy", 12), 240)
    night, evening = (sum(first <= at < first + 20 for at in instants) for first in (20, 200))
    assert night * 5 < evening


@pytest.mark.parametrize("town", [town for town in towns(24) if town.kind != "greedy"])
def test_a_town_that_keeps_to_the_limit_never_exceeds_it(town: Town) -> None:
    assert over_the_limit(day(town)) == 0


def test_a_greedy_town_exceeds_the_limit_and_a_steady_one_does_not() -> None:
    assert over_the_limit(day(towns(2)[0])) > 0
    (town,) = steady(1)
    assert len(day(town, 10)) == 10 * LIMIT
    assert over_the_limit(day(town, 10)) == 0


@pytest.mark.parametrize("town", [*towns(4)[1:], *steady(1)])
@pytest.mark.parametrize("seed", range(20))
def test_late_calls_are_never_caught_up_in_a_burst(town: Town, seed: int) -> None:
    rng, pace = random.Random(seed), Pace()  # noqa: S311 - no secret
    now, sent = 0.0, []
    plan = arrivals(town, 60, rng)
    for planned in plan:
        late = rng.choice([0.0, 0.001, 0.04, 0.3, 5.0]) if rng.random() < 0.2 else 0.0
        now = max(now, pace.due(planned)) + late
        pace.record(planned, now)
        sent.append(now)
    assert sent[-1] >= plan[-1]
    assert over_the_limit(sent) == 0


def test_a_call_within_the_tolerance_delays_no_other() -> None:
    pace = Pace()
    pace.record(1.0, 1.0 + Pace.TOLERANCE)
    assert pace.due(2.0) == pytest.approx(2.0)
    pace.record(2.0, 5.0)
    pace.record(3.0, 6.0)
    assert pace.due(4.0) == pytest.approx(7.0 - Pace.TOLERANCE)


def test_the_limit_allows_20_calls_at_once_and_20_more_a_second_later() -> None:
    assert over_the_limit([0.0] * 20) == 0
    assert over_the_limit([0.0] * 21) == 1
    assert over_the_limit([0.0] * 20 + [1.0] * 20) == 0


def call(town: str, at: float, ms: float, status: int) -> dict[str, object]:
    return {"town": town, "route": "/introspect", "planned": at - 0.001, "at": at, "ms": ms, "status": status}


def test_a_report_names_the_key_that_was_throttled_within_its_limit() -> None:
    calls = [call("fair", number / 10, 10 + number, 200) for number in range(20)]
    calls += [call("wronged", 1.0, 5, 429), call("broken", 1.5, 30, 503), call("lost", 1.6, 40, 0)]
    calls += [call("greedy", 1.0, 5, 200 if number < 20 else 429) for number in range(30)]
    run = report(calls)
    assert (run.calls, run.errors, [key.town for key in run.unfair]) == (53, 2, ["wronged"])
    assert run.to_json()["fairness"] == {"keysWithinLimit": 4, "theirCalls": 23, "theirThrottled": 1}
    assert next(key for key in run.keys if key.town == "greedy").over == 10
    assert "10 were throttled" in text(run)


def test_a_report_names_the_keys_that_were_slower_than_planned() -> None:
    calls = [call("kept", number / 20, 10, 200) for number in range(100)]
    calls += [call("slow", number / 10, 10, 200) | {"planned": number / 20} for number in range(100)]
    run = report(calls)
    assert [(key.town, key.planned_per_second, key.per_second, key.slow) for key in run.keys] == [
        ("kept", 20, 20, False),
        ("slow", 20, 10, True),
    ]
    assert run.to_json()["slow"] == ["slow"]
    assert "1 of the keys were to make 20 calls a second together, and made 10:" in text(run)
    assert "NOT KEPT" not in text(report(calls[:100]))


def test_a_run_without_a_call_has_no_report() -> None:
    with pytest.raises(ValueError, match="no call"):
        report([])
