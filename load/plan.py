"""What is asked, by whom and when: the plan that Locust follows."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from load.day import Town, arrivals
from sandbox.simulators import PEOPLE, caf, svair

type Question = Mapping[str, Any]
"""``route``, what follows ``/api``, and ``query``, its parameters."""

INTROSPECT: Final[Question] = {"route": "/introspect", "query": {}}
"""What costs no provider anything, and needs no citizen."""


def of_fictional_people() -> list[Question]:
    """Return what towns ask most, to set prices: an income and a quotient, of whom the simulators answer at once."""
    notices = [
        {"numeroFiscal": one.numero_fiscal, "referenceAvis": one.reference_avis}
        for one in svair.people(PEOPLE / "avis.toml")
        if one.reponse == "avis"
    ]
    files = [
        {"numeroAllocataire": one.numero_allocataire, "codePostal": one.code_postal}
        for one in caf.familles(PEOPLE / "familles.toml")
        if one.reponse == 0
    ]
    return [
        *({"route": "/v2/revenu-fiscal-reference", "query": query} for query in notices),
        *({"route": "/v2/quotient-familial", "query": query} for query in files),
    ]


def plan(
    url: str, keys: Mapping[Town, str], questions: Sequence[Question], seconds: int, chance: random.Random
) -> dict[str, Any]:
    """Return when each town asks what, with which key."""
    planned = []
    for town, key in keys.items():
        when = arrivals(town, seconds, chance)
        asked = [chance.randrange(len(questions)) for _ in when]
        planned.append({"name": town.name, "key": key, "arrivals": when, "questions": asked})
    paths = [
        {
            "route": one["route"],
            "path": f"{url}{one['route']}" + (f"?{urlencode(one['query'])}" if one["query"] else ""),
        }
        for one in questions
    ]
    return {"url": url, "towns": planned, "questions": paths}
