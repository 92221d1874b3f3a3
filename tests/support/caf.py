"""The CAF on the wire, played by the simulator: families, or a response that a test writes."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html import escape
from ssl import SSLContext
from typing import Any

import flask
import pytest

from sandbox.simulators import caf as simulator
from sandbox.simulators.caf import Adresse, Famille, Personne, Quotient
from tests.support.function import Response, call_api
from tests.support.template import ROOT
from tests.support.wire import serve

PEOPLE_FILE = ROOT / "sandbox" / "people" / "familles.toml"

SCOPES = {
    "allocataires": "cnaf_allocataires",
    "enfants": "cnaf_enfants",
    "adresse": "cnaf_adresse",
    "quotientFamilial": "cnaf_quotient_familial",
    "mois": "cnaf_quotient_familial",
    "annee": "cnaf_quotient_familial",
}
"""The fields of a family's file in the order of the response, each with the scope that opens it (contract §4)."""
FIELDS = {
    "quotient_familial": ("quotientFamilial", "mois", "annee"),
    "composition_familiale": tuple(SCOPES),
    "adresse_caf": ("adresse",),
}
ROUTES = [f"{dataset}/{generation}" for dataset in FIELDS for generation in ("v1", "v2")]
NUMBERS: dict[str, Any] = {"numeroAllocataire": "2600001", "codePostal": "75011"}

FAMILY = Famille(
    numero_allocataire="2600001",
    code_postal="75011",
    allocataires=[
        Personne(qualite="Madame", nom_prenom="AMINATA DELMAS ", date_de_naissance="12031988", sexe="F"),
        Personne(nom_prenom="YANN <LE> GOFF & FILS ]]>", date_de_naissance="", sexe="M"),
    ],
    enfants=[Personne(nom_prenom="ZOÉ LE GOFF", date_de_naissance="04062016", sexe="F")],
    adresse=Adresse(identite="Madame AMINATA DELMAS", numero_rue="17 RUE DES LILAS", code_postal_ville="75011 PARIS"),
    quotients=[Quotient(quotient_familial=842, mois=10, annee=2026)],
)
FILE: dict[str, Any] = {
    "allocataires": [
        {"nomPrenom": "AMINATA DELMAS ", "dateDeNaissance": "12031988", "sexe": "F"},
        {"nomPrenom": "YANN <LE> GOFF & FILS ]]>", "dateDeNaissance": "", "sexe": "M"},
    ],
    "enfants": [{"nomPrenom": "ZOÉ LE GOFF", "dateDeNaissance": "04062016", "sexe": "F"}],
    "adresse": {
        "identite": "Madame AMINATA DELMAS",
        "numeroRue": "17 RUE DES LILAS",
        "codePostalVille": "75011 PARIS",
    },
    "quotientFamilial": 842,
    "mois": 10,
    "annee": 2026,
}
UNREADABLE = {
    "error": "invalid_response",
    "reason": "The data provider's answer cannot be understood",
    "message": "La réponse du fournisseur de données n'a pas pu être interprétée",
}
FAILED = {
    "error": "data_provider_error",
    "reason": "The data provider could not serve the request",
    "message": "Le fournisseur de données n'a pas pu traiter la demande, veuillez réessayer plus tard",
}
UNREACHABLE = {
    "error": "network_error",
    "reason": "The data provider cannot be reached",
    "message": "Le fournisseur de données ne répond pas, veuillez réessayer plus tard",
}


@dataclass
class Caf:
    """The simulated CAF; it keeps the requests it gets, and a test may override its response."""

    families: list[Famille] = field(default_factory=lambda: [FAMILY])
    override: flask.Response | None = None
    requests: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)
    """The client's port of each request: requests with the same port came on one connection."""

    def record_request(self) -> flask.Response | None:
        self.requests.append(flask.request.get_data())
        self.headers.append(dict(flask.request.headers))
        self.connections.append(flask.request.environ["REMOTE_PORT"])
        return self.override

    def respond_with(self, content: str | bytes, content_type: str = "multipart/related") -> None:
        self.override = flask.Response(content, content_type=content_type)

    def serve(self, tls: SSLContext | None) -> AbstractContextManager[str]:
        app = simulator.app_of(lambda: self.families)
        app.before_request(self.record_request)
        return serve(app, tls)


def expected_data(family: Famille) -> dict[str, object]:
    """Return the body of a successful response about a family, for a key that opens every field."""
    latest = max(family.quotients, key=lambda quotient: (quotient.annee, quotient.mois), default=None)
    lines = family.adresse.model_dump(by_alias=True)
    return {
        "allocataires": _people(family.allocataires),
        "enfants": _people(family.enfants),
        "adresse": {name: line for name, line in lines.items() if line.strip()},
        "quotientFamilial": latest.quotient_familial if latest else None,
        "mois": latest.mois if latest else None,
        "annee": latest.annee if latest else None,
    }


def _people(people: Iterable[Personne]) -> list[dict[str, str]]:
    """Return the people whose element is not empty."""
    return [person for person in map(_person, people) if person]


def _person(person: Personne) -> dict[str, str]:
    return person.model_dump(by_alias=True, exclude={"qualite"}, exclude_none=True)


@contextmanager
def play_caf(context: SSLContext | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caf]:
    """Serve the simulated CAF, over TLS if a context is given, at the address that the functions call."""
    caf = Caf()
    with caf.serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        yield caf


def call_caf(key: str, route: str = "composition_familiale/v2", **numbers: str) -> Response:
    query = NUMBERS | numbers
    return call_api(route, key=key, **query)


def multipart(envelope: str, boundary: str = "MIMEBoundary_1", end: str = "\r\n") -> str:
    head = [f"--{boundary}", "Content-Type: application/xop+xml; charset=utf-8", "Content-Transfer-Encoding: binary"]
    return end.join([*head, "", envelope, f"--{boundary}--", ""])


def envelope(flux: str, code: str = "0", doctype: str = "", more: str = "") -> str:
    """Return a SOAP envelope with this return code and, as its second document, ``flux``."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{doctype}<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
        '<s:Body><n:demanderDocumentWebResponse xmlns:n="http://v1.ws.wsdemandedocumentcafweb.cnaf/"><return>'
        f"<beanRetourDemandeDocumentWeb><codeRetour>{code}</codeRetour><fluxRetour>{escape(flux)}{more}</fluxRetour>"
        "</beanRetourDemandeDocumentWeb></return></n:demanderDocumentWebResponse></s:Body></s:Envelope>"
    )


def drt_document(content: str, doctype: str = "") -> str:
    """Return a family's file, the second document of a SOAP response."""
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{doctype}<drtData>{content}</drtData>'


PEOPLE = "<identePersonnes><UNEPERSONNE><NOMPRENOM>A B</NOMPRENOM></UNEPERSONNE></identePersonnes>"
