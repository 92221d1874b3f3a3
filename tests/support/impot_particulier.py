"""API Impôt particulier on the wire, played by the simulator (docs/decisions/0007-impot-particulier.md)."""

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
_NOT_PROVIDED = {"erreurCorrectif", "situationPartielle"}
_PRINTED = {name: value for name, value in NOTICE.items() if name not in _NOT_PROVIDED} | {"montantImpot": 0}
BODY = _PRINTED | {"montantImpot": None}
_DERIVED = {"foyerFiscal", "anneeImpots", "anneeRevenus"}
PERSON = Person.model_validate(
    {name: value for name, value in _PRINTED.items() if name not in _DERIVED}
    | NUMBERS
    | {"adresse": ["BAT C", "3 allée des Frênes", "01234 BOURG-EXEMPLE"]}
)
SITUATION = impot_particulier.situation_of(PERSON)


@dataclass
class ImpotParticulier:
    """The simulated service; it keeps the requests it gets, and a test may override its responses."""

    simulator: Flask
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    overrides: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """By path, the status and body that replace the simulator's response."""

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> Any:
        """Respond, as a WSGI application."""
        request = Request(environ)
        request.get_data(cache=True)
        self.requests.append(request)
        if request.path in self.overrides:
            status, content = self.overrides[request.path]
            start(f"{status} Status", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
            return [content]
        environ["wsgi.input"].seek(0)
        return self.simulator(environ, start)

    def answer_with(self, situation: object) -> None:
        self.overrides[PATH] = 200, json.dumps(situation).encode()

    @property
    def paths(self) -> list[str]:
        return [request.path for request in self.requests]


def put_secret(value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId="client", SecretString=value)
