"""Simulate a month of 300 towns with their typing mistakes: no town is slowed, and a walk with a stolen key is.

The towns are drawn with a seed. Each has residents with numbers anywhere in the range that its CAF has given out (which
may be narrow), a traffic, a share of typing mistakes and a software. One morning of the month is enrolment: five times
the traffic, and every second parent mistypes. Some towns recompute every family's price at night, in the order of the
numbers; some of their software repeats a call about an unknown number.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.keys.token import Token
from tests.support.towns import World, token

pytestmark = pytest.mark.slow


SEED = 20_261_125
TOWNS = 300
DAYS = 30
FIRST = datetime(2026, 9, 1, tzinfo=UTC)

type Numbers = AvisNumbers | AllocataireNumbers


@dataclass
class Town:
    """A town: its residents, and the habits of its people and of its software."""

    name: str
    calls_a_day: int
    mistakes: float
    repeats: int
    is_caf: bool
    recomputes: bool
    environments: int
    residents: list[int]

    @classmethod
    def draw(cls, number: int, chance: random.Random) -> "Town":
        calls = min(2500, max(2, int(chance.lognormvariate(math.log(20), 1.5))))
        given = chance.choice([200_000, 1_000_000, 9_999_999])  # how many numbers the town's CAF ever gave
        is_caf = chance.random() < 0.5
        return cls(
            name=f"town-{number}",
            calls_a_day=calls,
            mistakes=chance.uniform(0.02, 0.2),
            repeats=chance.choice([0, 0, 0, 3]),
            is_caf=is_caf,
            recomputes=is_caf and chance.random() < 0.2,
            environments=min(8, 1 + calls // 300),
            residents=chance.sample(range(given) if is_caf else range(10**12, 10**13), min(calls * 20, given // 20)),
        )

    @property
    def token(self) -> Token:
        """Its token, with bounds sized as docs/operations/keys.md advises: by its busiest day, and its night run."""
        people = max(10_000, 16 * self.calls_a_day, 3 * len(self.residents) if self.recomputes else 0)
        return token(self.name, people_a_day=people, unknown_a_day=max(280, 5 * self.calls_a_day))

    def numbers(self, resident: int, mistyped: int | None = None) -> Numbers:
        number = resident if mistyped is None else mistyped
        if self.is_caf:
            return AllocataireNumbers(f"{number:07}", "75011")
        return AvisNumbers(f"{number:013}", f"26{resident % 10**11:011}")


def mistype(number: int, digits: int, chance: random.Random) -> int:
    """Change one digit, or swap two that follow each other."""
    written = list(f"{number:0{digits}}")
    place = chance.randrange(digits - 1)
    if chance.random() < 0.5:
        written[place], written[place + 1] = written[place + 1], written[place]
    else:
        written[chance.randrange(digits)] = str(chance.randrange(10))
    return int("".join(written))


def questions(town: Town, day: datetime, calls: int, mistakes: float, chance: random.Random) -> Iterator[Any]:
    """Yield the calls of a day between 8 and 18: the numbers, the time, and whether the provider knows them."""
    for position in range(calls):
        at = day + timedelta(hours=8 + 10 * position / calls)
        resident = chance.choice(town.residents)
        if chance.random() < mistakes:
            wrong = town.numbers(resident, mistype(resident, 7 if town.is_caf else 13, chance))
            for _ in range(1 + town.repeats):
                yield wrong, at, False
            if chance.random() < 0.2:
                continue  # gives up
        for _ in range(chance.choice([1, 1, 2])):  # the income, then the quotient
            yield town.numbers(resident), at, True


def live(world: World, town: Town, chance: random.Random) -> None:
    """Make the calls of a town's month."""
    world.tokens[town.name] = town.token
    enrolment = chance.randrange(DAYS)
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        asked = questions(town, day, town.calls_a_day, town.mistakes, chance)
        for numbers, at, known in asked:
            world.ask(town.name, numbers, at, chance.randrange(town.environments), known=known)
        if number == enrolment:
            for numbers, at, known in questions(town, day - timedelta(hours=1), 3 * town.calls_a_day, 0.45, chance):
                world.ask(town.name, numbers, at, chance.randrange(town.environments), known=known)
    if town.recomputes:  # in the order of their numbers; one in twenty has moved away
        night = FIRST + timedelta(days=15, hours=1)
        for position, resident in enumerate(sorted(town.residents)):
            at = night + timedelta(seconds=position / 15)
            world.ask(town.name, town.numbers(resident), at, 0, known=chance.random() > 0.05)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.timeout(600)
def test_no_town_is_slowed_in_a_month_and_few_calls_write(world: World) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a simulation
    towns = [Town.draw(number, chance) for number in range(TOWNS)]
    for town in towns:
        live(world, town, chance)
    assert max(town.calls_a_day for town in towns) > 1000
    assert world.calls > 500_000
    assert world.refused == {}
    assert world.warned == {}
    assert world.table.writes < world.calls / 3  # unknown people are a sixth of them, and two writes each


def test_a_walk_with_the_stolen_key_of_a_busy_town_is_stopped(world: World) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a simulation
    town = next(town for town in (Town.draw(number, chance) for number in range(TOWNS)) if town.calls_a_day > 500)
    learnt, stolen = 0, iter(range(2_600_000, 2_600_500))
    for numbers, at, known in questions(town, FIRST, town.calls_a_day, town.mistakes, chance):
        world.ask(town.name, numbers, at, chance.randrange(8), known=known)
        if (number := next(stolen, None)) is not None:
            theirs = AllocataireNumbers(f"{number:07}", "75011")
            learnt += world.ask(town.name, theirs, at, chance.randrange(8), known=True)
    assert next(stolen, None) is None
    assert learnt < 100
