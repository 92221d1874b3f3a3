"""The CAF, played on the wire by the simulator's own application: families, and answers of any other kind."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from html import escape
from ssl import SSLContext
from typing import Any

import pytest
from flask import Response, request

from sandbox.simulators import caf as simulator
from sandbox.simulators.caf import Adresse, Famille, Personne, Quotient
from tests.support.function import Answer, ask
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
"""The fields of a family file in the order of the answer, each with the scope that opens it (contract §4)."""
FIELDS = {
    "quotient_familial": ("quotientFamilial", "mois", "annee"),
    "composition_familiale": tuple(SCOPES),
    "adresse_caf": ("adresse",),
}
DOORS = [f"{dataset}/{generation}" for dataset in FIELDS for generation in ("v1", "v2")]
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
    """The CAF on the wire: its families, what it was asked, and what it answers instead where a test says so."""

    families: list[Famille] = field(default_factory=lambda: [FAMILY])
    instead: Response | None = None
    asked: list[bytes] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    callers: list[object] = field(default_factory=list)
    """The connection that each question came by."""

    def hear(self) -> Response | None:
        self.asked.append(request.get_data())
        self.headers.append(dict(request.headers))
        self.callers.append(request.environ["REMOTE_PORT"])
        return self.instead

    def answers(self, content: str | bytes, content_type: str = "multipart/related") -> None:
        self.instead = Response(content, content_type=content_type)

    def serve(self, tls: SSLContext | None) -> AbstractContextManager[str]:
        app = simulator.app_of(lambda: self.families)
        app.before_request(self.hear)
        return serve(app, tls)


def expected(family: Famille) -> dict[str, object]:
    """Return what is to be answered about a family, to whom everything is open."""
    latest = max(family.quotients, key=lambda one: (one.annee, one.mois), default=None)
    lines = family.adresse.model_dump(by_alias=True)
    return {
        "allocataires": [_seen(one) for one in family.allocataires],
        "enfants": [_seen(one) for one in family.enfants],
        "adresse": {name: line for name, line in lines.items() if line.strip()},
        "quotientFamilial": latest.quotient_familial if latest else None,
        "mois": latest.mois if latest else None,
        "annee": latest.annee if latest else None,
    }


def _seen(person: Personne) -> dict[str, str]:
    return person.model_dump(by_alias=True, exclude={"qualite"}, exclude_none=True)


@contextmanager
def caf_at(context: SSLContext | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caf]:
    """Play the CAF, over TLS with a context, where the functions ask it."""
    played = Caf()
    with played.serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        yield played


def ask_file(key: str, door: str = "composition_familiale/v2", **numbers: str) -> Answer:
    query = NUMBERS | numbers
    return ask(door, key=key, **query)


def multipart(envelope: str, boundary: str = "MIMEBoundary_1", end: str = "\r\n") -> str:
    head = [f"--{boundary}", "Content-Type: application/xop+xml; charset=utf-8", "Content-Transfer-Encoding: binary"]
    return end.join([*head, "", envelope, f"--{boundary}--", ""])


def envelope(flux: str, code: str = "0", doctype: str = "", more: str = "") -> str:
    """Return the SOAP envelope of an answer, whose second document is ``flux``."""
    return (
        f'<?xml version="1.0" encoding="utf-8"?>{doctype}<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">'
        '<s:Body><n:demanderDocumentWebResponse xmlns:n="http://v1.ws.wsdemandedocumentcafweb.cnaf/"><return>'
        f"<beanRetourDemandeDocumentWeb><codeRetour>{code}</codeRetour><fluxRetour>{escape(flux)}{more}</fluxRetour>"
        "</beanRetourDemandeDocumentWeb></return></n:demanderDocumentWebResponse></s:Body></s:Envelope>"
    )


def drt(content: str, doctype: str = "") -> str:
    """Return a second document."""
    return f'<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n{doctype}<drtData>{content}</drtData>'


PEOPLE = "<identePersonnes><UNEPERSONNE><NOMPRENOM>A B</NOMPRENOM></UNEPERSONNE></identePersonnes>"
