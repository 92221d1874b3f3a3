"""Plan the calls of a day: the instant, the key and the request of each."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from load.day import Town, arrivals
from sandbox.simulators import PEOPLE, caf, svair

type Request = Mapping[str, Any]
"""``route``, which follows ``/api``, and ``query``, its parameters."""

INTROSPECT: Final[Request] = {"route": "/introspect", "query": {}}
"""A request that calls no provider and needs no citizen."""


def for_fictional_people() -> list[Request]:
    """Return the most common requests of towns, for the fictional people.

    Towns need an income or a quotient to set a price. People with a simulated fault are left out.
    """
    notices = [
        {"numeroFiscal": person.numero_fiscal, "referenceAvis": person.reference_avis}
        for person in svair.people(PEOPLE / "avis.toml")
        if person.reponse == "avis"
    ]
    files = [
        {"numeroAllocataire": family.numero_allocataire, "codePostal": family.code_postal}
        for family in caf.familles(PEOPLE / "familles.toml")
        if family.reponse == 0
    ]
    return [
        *({"route": "/v2/revenu-fiscal-reference", "query": query} for query in notices),
        *({"route": "/v2/quotient-familial", "query": query} for query in files),
    ]


def plan(
    url: str, keys: Mapping[Town, str], requests: Sequence[Request], seconds: int, rng: random.Random
) -> dict[str, Any]:
    """Return the plan of each town: key, instants and requests of its calls."""
    planned = []
    for town, key in keys.items():
        instants = arrivals(town, seconds, rng)
        drawn = [rng.randrange(len(requests)) for _ in instants]
        planned.append({"name": town.name, "key": key, "arrivals": instants, "requests": drawn})
    paths = [
        {
            "route": request["route"],
            "path": f"{url}{request['route']}" + (f"?{urlencode(request['query'])}" if request["query"] else ""),
        }
        for request in requests
    ]
    return {"url": url, "towns": planned, "requests": paths}
