"""API-SECU on the wire, a call by civil identity, and answers of fictional people."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import boto3
import pytest
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WireResponse

from sandbox.simulators.api_secu import BENEFITS, FUNDS, client
from tests.support.function import Response, event, invoke, new_environment
from tests.support.wire import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SCOPES: Final = {
    "quotient_familial": ("cnaf_quotient_familial", "cnaf_allocataires", "cnaf_enfants", "cnaf_adresse"),
    "participation_familiale_eaje": tuple(
        f"cnav_participation_familiale_eaje_{part}"
        for part in ("allocataires", "enfants", "adresse", "parametres_calcul")
    ),
    "complementaire_sante_solidaire": ("complementaire_sante_solidaire",),
    "revenu_solidarite_active": ("revenu_solidarite_active", "revenu_solidarite_active_majoration"),
    "prime_activite": ("prime_activite", "prime_activite_majoration"),
    "allocation_adulte_handicape": ("allocation_adulte_handicape",),
    "allocation_soutien_familial": ("allocation_soutien_familial",),
    "allocation_enfant_handicape": ("cnav_allocation_enfant_handicape",),
    "allocation_rentree_scolaire": ("cnav_allocation_rentree_scolaire",),
}
"""The scopes of each benefit."""
EVERY_SCOPE: Final = tuple(scope for scopes in SCOPES.values() for scope in scopes)
RECIPIENT: Final = "13002526500013"
"""Of the organisation of ``Cloud.issue_key``."""
IDENTITY: Final = {
    "nomNaissance": "Kerléo",
    "prenoms[]": ["Maëlle", "Anne"],
    "anneeDateNaissance": "1987",
    "moisDateNaissance": "4",
    "jourDateNaissance": "9",
    "sexeEtatCivil": "F",
    "codeCogInseeCommuneNaissance": "29019",
    "codeCogInseePaysNaissance": "99100",
}
ADDRESS: Final = {
    "destinataire": "identite",
    "complement_information": "complementInformation",
    "complement_information_geographique": "complementInformationGeo",
    "numero_libelle_voie": "numeroLibelleVoie",
    "lieu_dit": "lieuDit",
    "code_postal_ville": "codePostalVille",
    "pays": "pays",
}
"""The lines of an address in an answer, with their names at API-SECU."""


@dataclass
class Gate:
    """A scripted API-SECU: the answer of every question, and what it was asked."""

    url: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=lambda: {"X-APISECU-FD": FUNDS["CNAF"]})
    body: Any = field(default_factory=lambda: {"indicateur": "NON_BENEFICIAIRE"})
    """JSON, or the bytes of something else."""
    refused_questions: int = 0
    """Questions that are refused with 401 whatever their token."""
    token_status: int = 200
    token_body: Any = field(
        default_factory=lambda: {"access_token": "jeton", "token_type": "Bearer", "expires_in": 600}
    )
    questions: list[Request] = field(default_factory=list)
    token_requests: list[Request] = field(default_factory=list)

    @property
    def asked(self) -> dict[str, str]:
        """The query of the last question."""
        return self.questions[-1].args.to_dict()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Any:
        request = Request(environ)
        request.get_data()
        if request.path == "/token":
            self.token_requests.append(request)
            return _json(self.token_status, self.token_body, {})(environ, start_response)
        self.questions.append(request)
        if self.refused_questions:
            self.refused_questions -= 1
            return _json(401, {"error": "invalid_token"}, {})(environ, start_response)
        return _json(self.status, self.body, self.headers)(environ, start_response)


def _json(status: int, body: Any, headers: Mapping[str, str]) -> WireResponse:
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False)
    return WireResponse(content, status, dict(headers), mimetype="application/json")


@contextmanager
def play_gate(monkeypatch: pytest.MonkeyPatch, gate: Any = None) -> Iterator[Any]:
    """Serve a gate, by default a scripted one, at the address that the functions call."""
    gate = gate or Gate()
    monkeypatch.setenv("API_SECU_SECRET_ID", "")
    store_clients()
    with serve(gate) as url:
        monkeypatch.setenv("API_SECU_URL", url)
        if isinstance(gate, Gate):
            gate.url = url
        yield gate


def store_clients() -> None:
    """Store the OAuth2 client of each benefit as a secret of its name."""
    secrets = boto3.client("secretsmanager")
    for benefit in BENEFITS:
        secrets.create_secret(Name=benefit, SecretString=json.dumps(client(benefit)))


def _be_the_function_of(benefit: str) -> None:
    """Give the process the secret of a benefit, as its function has it, in a new environment if it had another's."""
    if os.environ.get("API_SECU_SECRET_ID") != benefit:
        os.environ["API_SECU_SECRET_ID"] = benefit
        new_environment()


def call(
    benefit: str,
    key: str | None,
    query: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    **changes: Any,
) -> Response:
    """Ask about an identity, by default ``IDENTITY``; ``changes`` replace parameters, None removes one."""
    _be_the_function_of(benefit)
    parameters = {"recipient": RECIPIENT, **(IDENTITY if query is None else query), **changes}
    request = event(f"dss_{benefit}/identite", key=key, headers=dict(headers or {}))
    values = {
        name: value if isinstance(value, list) else [value] for name, value in parameters.items() if value is not None
    }
    request["multiValueQueryStringParameters"] = values
    request["queryStringParameters"] = {name: found[-1] for name, found in values.items()}
    return invoke(request, f"dss_{benefit}")
