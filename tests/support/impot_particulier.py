"""API Impôt particulier, played by the simulator, and what it was asked (docs/decisions/0007-impot-particulier.md)."""

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from flask import Flask
from werkzeug.wrappers import Request

from sandbox.simulators import impot_particulier
from sandbox.simulators.svair import Person
from tests.support.tax_service import NOTICE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

NUMBERS = {"numeroFiscal": "2690000000001", "referenceAvis": "2690000000001"}
PATH = "/impotparticulier/1.0/spi/2690000000001/situations/ir/assiettes/annrev/2025"
_NOT_TOLD = {"erreurCorrectif", "situationPartielle"}
BODY = {name: value for name, value in NOTICE.items() if name not in _NOT_TOLD} | {"montantImpot": 0}
_DERIVED = {"foyerFiscal", "anneeImpots", "anneeRevenus"}
PERSON = Person.model_validate(
    {name: value for name, value in BODY.items() if name not in _DERIVED}
    | NUMBERS
    | {"adresse": ["BAT C", "3 allée des Frênes", "01234 BOURG-EXEMPLE"]}
)
SITUATION = impot_particulier.situation_of(PERSON)


@dataclass
class Service:
    """The simulated service, what it was asked, and what it is told to answer instead."""

    simulated: Flask
    url: str = ""
    asked: list[Request] = field(default_factory=list)
    instead: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """A status and a body for each path that is not to answer as it should."""

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        """Answer, as a WSGI application."""
        request = Request(environ)
        request.get_data(cache=True)
        self.asked.append(request)
        if request.path in self.instead:
            status, content = self.instead[request.path]
            start(f"{status} Status", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
            return [content]
        environ["wsgi.input"].seek(0)
        return self.simulated(environ, start)

    def says(self, situation: object) -> None:
        self.instead[PATH] = 200, json.dumps(situation).encode()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.asked]


def put_secret(value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="client", SecretString=value)
