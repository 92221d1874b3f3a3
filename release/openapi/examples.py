"""Examples of responses: those of the datasets about the first household and family of the sandbox.

``python -m release.openapi.examples`` prints them in JSON. They are computed in a process of their own, at a fixed date
and with its own environment variables.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from threading import Thread
from typing import Any, Final
from unittest.mock import patch

import time_machine
from werkzeug.serving import make_server

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters
from api_particulier.errors import ApiError
from api_particulier.providers import api_secu
from api_particulier.scopes import fields_of, mask
from ops.functions import datasets
from sandbox.simulators import PEOPLE, Silent, ban, caf, svair
from sandbox.simulators import api_secu as simulated_gate
from sandbox.town import demarches

DAY: Final = "2026-11-25"
"""The date of the examples: notices and quotients change with the calendar, and the document must not."""
_OLD_NOTICE: Final = "1990000000001"


@lru_cache(maxsize=1)
def examples() -> Mapping[str, Any]:
    """Return ``responses`` by route, ``parameters`` and an ``identity`` by name, and some ``errors`` by class name.

    These errors are those that need a request.
    """
    done = subprocess.run(  # noqa: S603 - this module
        [sys.executable, "-P", "-m", __name__], stdout=subprocess.PIPE, check=True, env=_environment()
    )
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])  # after the lines of the log
    return printed


def _environment() -> dict[str, str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    return {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"} | dict.fromkeys(
        ("TOKENS_TABLE", "AUDIT_TABLE", "STATS_TABLE"), "none"
    )


@contextmanager
def _served() -> Iterator[None]:
    """Serve the simulated providers on loopback, with their addresses in the environment."""
    services = {
        "DGFIP_SVAIR_URL": svair.app(PEOPLE / "avis.toml"),
        "CAF_URL": caf.app(PEOPLE / "familles.toml"),
        "BAN_URL": ban.app(),
        "API_SECU_URL": simulated_gate.app(PEOPLE / "assures.toml"),
    }
    with ExitStack() as stack:
        for variable, app in services.items():
            server = make_server("127.0.0.1", 0, app, request_handler=Silent)
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            os.environ[variable] = f"http://127.0.0.1:{server.port}"
        yield


def _response(dataset: Dataset[Parameters], route: str, query: Mapping[str, str]) -> dict[str, object]:
    model = dataset.routes[route]
    fields = frozenset(path for path, _ in fields_of(model))
    parameters = dataset.parameters.parse({name: [value] for name, value in query.items()})
    data, _ = dataset.fetch(parameters, fields)
    return mask(data, model, fields, keep_empty="/v2/" in route).body


def _v3_response(dataset: Dataset[Parameters], route: str, query: Mapping[str, list[str]]) -> dict[str, object]:
    """Return what a benefit answers; its OAuth2 client comes from the sandbox instead of a secret."""
    client = api_secu.OAuthClient.model_validate(simulated_gate.client(dataset.name.removeprefix("dss_")))
    model = dataset.routes[route]
    fields = frozenset(path for path, _ in fields_of(model))
    with patch.object(api_secu, "oauth_client", return_value=client):
        data, _ = dataset.fetch(dataset.parameters.parse(query), fields)
    return mask(data, model, fields, keep_empty=True).body


def _identity() -> dict[str, list[str]]:
    """Return the first person of the sandbox, as a query."""
    person = simulated_gate.personnes(PEOPLE / "assures.toml")[0]
    year, month, day = person.date_naissance.split("-")
    return {
        "recipient": [demarches.SIRET],
        "annee": ["2026"],
        "mois": ["11"],
        "sexeEtatCivil": [person.sexe],
        "codeCogInseeCommuneNaissance": [person.commune or ""],
        "codeCogInseePaysNaissance": [person.pays],
        "anneeDateNaissance": [year],
        "moisDateNaissance": [month],
        "jourDateNaissance": [day],
        "prenoms[]": person.prenoms.split(),
        "nomNaissance": [person.nom_naissance],
        "nomUsage": [person.nom_usage or ""],
    }


def _refusal(dataset: Dataset[Parameters], query: Mapping[str, str]) -> dict[str, object]:
    try:
        dataset.fetch(dataset.parameters.parse({name: [value] for name, value in query.items()}), frozenset())
    except ApiError as error:
        return error.body
    raise AssertionError(query)


def main() -> None:
    citizen, family = svair.people(PEOPLE / "avis.toml")[0], caf.familles(PEOPLE / "familles.toml")[0]
    numbers = {
        "dgfip": {"numeroFiscal": citizen.numero_fiscal, "referenceAvis": citizen.reference_avis},
        "caf": {"numeroAllocataire": family.numero_allocataire, "codePostal": family.code_postal},
    }
    declared = datasets()
    print(  # noqa: T201 - the output of this process
        json.dumps(
            {
                "responses": {
                    route: _v3_response(dataset, route, _identity())
                    if dataset.provider == "dss"
                    else _response(dataset, route, numbers[dataset.provider])
                    for dataset in declared
                    for route in dataset.routes
                },
                "parameters": numbers["dgfip"] | numbers["caf"],
                "identity": _identity(),
                "errors": {"UnavailableYear": _refusal(declared[0], numbers["dgfip"] | {"referenceAvis": _OLD_NOTICE})},
            }
        )
    )


if __name__ == "__main__":
    with time_machine.travel(DAY), _served():
        main()
