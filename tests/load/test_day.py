"""The day that `make load` plays: who asks when, and what is counted of it."""

import random

import pytest

from load.day import LIMIT, Pace, Town, arrivals, over_the_limit, share, steady, towns
from load.report import report, text


def day(town: Town, seconds: float = 120) -> list[float]:
    return arrivals(town, seconds, random.Random(7))  # noqa: S311 - a day drawn is no secret


def test_most_towns_are_quiet_a_few_are_busy_and_one_knows_no_limit() -> None:
    kinds = [town.kind for town in towns(24)]
    assert (len(kinds), kinds.count("greedy")) == (24, 1)
    assert kinds.count("quiet") > 3 * kinds.count("busy") > 0


def test_a_day_is_quiet_at_night_and_fullest_when_enrolment_opens() -> None:
    assert share(3) < 0.05 < share(10) < share(20.2) == 1
    asked = day(Town("a", "busy", 12), 240)
    night, evening = (sum(first <= at < first + 20 for at in asked) for first in (20, 200))
    assert night * 5 < evening


@pytest.mark.parametrize("town", [one for one in towns(24) if one.kind != "greedy"])
def test_who_heeds_the_limit_is_never_over_it(town: Town) -> None:
    assert over_the_limit(day(town)) == 0


def test_the_greedy_town_is_over_the_limit_and_a_steady_one_is_not() -> None:
    assert over_the_limit(day(towns(2)[0])) > 0
    (town,) = steady(1)
    assert len(day(town, 10)) == 10 * LIMIT
    assert over_the_limit(day(town, 10)) == 0


@pytest.mark.parametrize("town", [*towns(4)[1:], *steady(1)])
@pytest.mark.parametrize("seed", range(20))
def test_however_late_its_calls_are_who_heeds_the_limit_never_catches_up_in_a_burst(town: Town, seed: int) -> None:
    chance, pace = random.Random(seed), Pace()  # noqa: S311 - no secret
    now, sent = 0.0, []
    plan = arrivals(town, 60, chance)
    for planned in plan:
        late = chance.choice([0.0, 0.001, 0.04, 0.3, 5.0]) if chance.random() < 0.2 else 0.0
        now = max(now, pace.due(planned)) + late
        pace.left(planned, now)
        sent.append(now)
    assert sent[-1] >= plan[-1]
    assert over_the_limit(sent) == 0


def test_a_call_that_is_hardly_late_puts_off_none() -> None:
    pace = Pace()
    pace.left(1.0, 1.0 + Pace.TOLERANCE)
    assert pace.due(2.0) == pytest.approx(2.0)
    pace.left(2.0, 5.0)
    pace.left(3.0, 6.0)
    assert pace.due(4.0) == pytest.approx(7.0 - Pace.TOLERANCE)


def test_a_bucket_lets_20_pass_at_once_and_20_more_a_second_later() -> None:
    assert over_the_limit([0.0] * 20) == 0
    assert over_the_limit([0.0] * 21) == 1
    assert over_the_limit([0.0] * 20 + [1.0] * 20) == 0


def call(town: str, at: float, ms: float, status: int) -> dict[str, object]:
    return {"town": town, "route": "/introspect", "planned": at - 0.001, "at": at, "ms": ms, "status": status}


def test_a_report_names_the_key_that_was_refused_within_its_limit() -> None:
    calls = [call("fair", number / 10, 10 + number, 200) for number in range(20)]
    calls += [call("wronged", 1.0, 5, 429), call("broken", 1.5, 30, 503), call("lost", 1.6, 40, 0)]
    calls += [call("greedy", 1.0, 5, 200 if number < 20 else 429) for number in range(30)]
    made = report(calls)
    assert (made.calls, made.errors, [key.town for key in made.unfair]) == (53, 2, ["wronged"])
    assert made.described()["fairness"] == {"keysWithinLimit": 4, "theirCalls": 23, "theirThrottled": 1}
    assert next(key for key in made.keys if key.town == "greedy").over == 10
    assert "10 were throttled" in text(made)


def test_a_report_says_which_keys_could_not_ask_as_often_as_planned() -> None:
    calls = [call("kept", number / 20, 10, 200) for number in range(100)]
    calls += [call("slow", number / 10, 10, 200) | {"planned": number / 20} for number in range(100)]
    made = report(calls)
    assert [(key.town, key.planned_per_second, key.per_second, key.slow) for key in made.keys] == [
        ("kept", 20, 20, False),
        ("slow", 20, 10, True),
    ]
    assert made.described()["slow"] == ["slow"]
    assert "1 of the keys were to ask 20 times a second together, and asked 10:" in text(made)
    assert "NOT KEPT" not in text(report(calls[:100]))


def test_a_day_without_a_call_is_no_report() -> None:
    with pytest.raises(ValueError, match="no call"):
        report([])
