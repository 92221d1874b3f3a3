"""Plan the calls of a day: the instant, the key and the request of each."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from load.day import Town, arrivals
from sandbox.simulators import PEOPLE, api_secu, caf, svair
from sandbox.town.demarches import SIRET
from sandbox.town.identite import identity_of

type Request = Mapping[str, Any]
"""``route``, which follows ``/api`` or begins with ``/v3``, and ``query``, its parameters."""

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
    identities = [
        identity_of(person) | {"recipient": SIRET}
        for person in api_secu.personnes(PEOPLE / "assures.toml")
        if person.reponse == 0 and person.quotient_familial
    ]
    return [
        *({"route": "/v2/revenu-fiscal-reference", "query": query} for query in notices),
        *({"route": "/v2/quotient-familial", "query": query} for query in files),
        *({"route": "/v3/dss/quotient_familial/identite", "query": query} for query in identities),
    ]


@dataclass(frozen=True)
class Target:
    """The addresses of a deployment, without a slash at their end."""

    api: str
    """What stands before a route of v2, ending in ``/api``."""
    v3: str
    """What stands before ``/v3``."""

    def address(self, request: Request) -> str:
        base = self.v3 if request["route"].startswith("/v3/") else self.api
        query = urlencode(request["query"], doseq=True)
        return f"{base}{request['route']}" + (f"?{query}" if query else "")


def plan(
    target: Target, keys: Mapping[Town, str], requests: Sequence[Request], seconds: int, rng: random.Random
) -> dict[str, Any]:
    """Return the plan of each town: key, instants and requests of its calls."""
    planned = []
    for town, key in keys.items():
        instants = arrivals(town, seconds, rng)
        drawn = [rng.randrange(len(requests)) for _ in instants]
        planned.append({"name": town.name, "key": key, "arrivals": instants, "requests": drawn})
    paths = [{"route": request["route"], "path": target.address(request)} for request in requests]
    return {"url": target.api, "towns": planned, "requests": paths}
