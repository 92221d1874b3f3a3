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

import time_machine
from werkzeug.serving import make_server

from api_particulier.api.dataset import Dataset
from api_particulier.api.parameters import Parameters
from api_particulier.errors import ApiError
from api_particulier.scopes import fields_of, mask
from ops.functions import datasets
from sandbox.simulators import PEOPLE, Silent, ban, caf, svair

DAY: Final = "2026-11-25"
"""The date of the examples: notices and quotients change with the calendar, and the document must not."""
_OLD_NOTICE: Final = "1990000000001"


@lru_cache(maxsize=1)
def examples() -> Mapping[str, Any]:
    """Return ``responses`` by route, ``parameters`` by name, and the ``errors`` that need a request, by class name."""
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
                    route: _response(dataset, route, numbers[dataset.provider])
                    for dataset in declared
                    for route in dataset.routes
                },
                "parameters": numbers["dgfip"] | numbers["caf"],
                "errors": {"UnavailableYear": _refusal(declared[0], numbers["dgfip"] | {"referenceAvis": _OLD_NOTICE})},
            }
        )
    )


if __name__ == "__main__":
    with time_machine.travel(DAY), _served():
        main()
