"""Simulate a month of towns that ask by identity: no town is slowed, and a guess with a stolen key is.

Towns are drawn with a seed. Most residents of a town have one of the frequent names of their region and were born in
its maternity, or abroad in one of a few countries where names are few: the worst case for a watch of names. A town
mistypes, leaves first names, months or communes out, and some recompute all prices in a night.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from api_particulier.api.identity import FRANCE, BirthDate, Identity
from tests.support.towns import World, token

pytestmark = pytest.mark.slow

SEED = 20_261_127
TOWNS, DAYS = 40, 30
FIRST = datetime(2026, 9, 1, tzinfo=UTC)
SYLLABLES = ("ka", "le", "mi", "no", "ru", "ty", "ga", "vel", "dor", "an", "is", "ou")
RECIPIENT = "13002526500013"


def _names(count: int, chance: random.Random) -> list[str]:
    return ["".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))).upper() for _ in range(count)]


def _weights(count: int) -> list[float]:
    """Return frequencies in which the first name of a list is by far the most frequent (Zipf's law)."""
    return [1 / (2 + rank) for rank in range(count)]


@dataclass
class Town:
    """A town: its residents and its habits."""

    name: str
    calls_a_day: int
    mistakes: float
    vague: float
    knows_communes: bool
    recomputes: bool
    residents: list[Identity]

    @classmethod
    def draw(cls, number: int, chance: random.Random) -> "Town":
        size = chance.choice([300, 1000, 3000, 15000])
        surnames, first_names = _names(400, chance), _names(150, chance)
        communes = [f"{chance.randint(10, 95)}{chance.randint(100, 999)}" for _ in range(40)]
        knows_communes = chance.random() < 0.7
        residents = []
        for _ in range(size):
            abroad = chance.random() < 0.25
            names, firsts = (surnames[:25], first_names[:30]) if abroad else (surnames, first_names)
            residents.append(
                Identity(
                    recipient=RECIPIENT,
                    nom_naissance=chance.choices(names, _weights(len(names)))[0],
                    prenoms=(chance.choices(firsts, _weights(len(firsts)))[0],),
                    birth=BirthDate(chance.randint(1955, 2024), chance.randint(1, 12), chance.randint(1, 28)),
                    sexe=chance.choice("MF"),
                    pays="99335" if abroad else FRANCE,
                    commune="" if abroad or not knows_communes else chance.choices(communes, _weights(40))[0],
                )
            )
        return cls(
            name=f"town-{number}",
            calls_a_day=max(3, size // 20),
            mistakes=chance.uniform(0.02, 0.15),
            vague=chance.choice([0, 0, 0.1]),
            knows_communes=knows_communes,
            recomputes=chance.random() < 0.3,
            residents=residents,
        )

    def asked(self, chance: random.Random) -> Iterator[tuple[Identity, bool]]:
        """Yield the questions about a resident, each with whether the gate knows the person."""
        person = chance.choice(self.residents)
        if chance.random() < self.vague:
            person = replace(person, birth=BirthDate(person.birth.year))
        if chance.random() < self.mistakes:
            wrong = chance.choice(("name", "date", "first name"))
            if wrong == "name":
                yield replace(person, nom_naissance=f"{person.nom_naissance}E"), False
            elif wrong == "date":
                yield replace(person, birth=person.birth._replace(month=chance.randint(1, 12))), False
            else:
                yield replace(person, prenoms=(f"{person.first_name}A",)), False
        yield person, True


def live(world: World, town: Town, chance: random.Random) -> None:
    world.tokens[town.name] = token(town.name, people_a_day=4 * len(town.residents) + 10_000, unknown_a_day=3_000)
    for number in range(DAYS):
        for position in range(town.calls_a_day):
            at = FIRST + timedelta(days=number, hours=8 + 10 * position / town.calls_a_day)
            for identity, known in town.asked(chance):
                world.ask(town.name, identity, at, chance.randrange(4), known=known)
    if town.recomputes:
        night = FIRST + timedelta(days=15, hours=1)
        for position, identity in enumerate(town.residents):
            world.ask(town.name, identity, night + timedelta(seconds=position / 15), 0, known=chance.random() > 0.05)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.mark.timeout(600)
def test_no_town_is_slowed_in_a_month(world: World) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a simulation
    towns = [Town.draw(number, chance) for number in range(TOWNS)]
    for town in towns:
        live(world, town, chance)
    assert sum(town.recomputes and len(town.residents) == 15000 for town in towns) >= 2
    assert world.calls > 100_000
    assert world.refused == {}


def test_a_guess_among_the_calls_of_a_busy_town_is_stopped(world: World) -> None:
    chance = random.Random(SEED)  # noqa: S311 - a simulation
    towns = (Town.draw(number, chance) for number in range(TOWNS))
    town = next(town for town in towns if town.calls_a_day > 500 and town.knows_communes)
    victim = next(person for person in town.residents if person.commune)
    tries = 0
    for position in range(200):
        at = FIRST + timedelta(hours=8, minutes=position)
        for identity, known in town.asked(chance):
            world.ask(town.name, identity, at, chance.randrange(4), known=known)
        guess = replace(victim, birth=BirthDate(victim.birth.year, 1 + position // 28, 1 + position % 28))
        tries += world.ask(town.name, guess, at, chance.randrange(4), known=False)
    assert world.refused[town.name] > 100
    assert tries < 40
