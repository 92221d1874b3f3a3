"""Simulate the CAF's document service (WSWDD), with fictional families.

A POST of a SOAP 1.1 envelope to ``/sgmap/wswdd/v1`` returns a MIME multipart. Its only part is a SOAP envelope, which
holds the family file as a second document, escaped. A request that the service does not understand is a SOAP fault.

It is served with ``certificates.server_context``, which accepts only the client certificate.
"""

import secrets
import sys
import time
import tomllib
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from flask import Flask, Response, render_template, request
from flask.typing import ResponseReturnValue
from lxml import etree
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

PATH: Final = "/sgmap/wswdd/v1"
UNKNOWN_FILE: Final = 133
"""The return code for a number that matches no file."""
_OPERATION: Final = (
    "{http://schemas.xmlsoap.org/soap/envelope/}Body/{http://v1.ws.wsdemandedocumentcafweb.cnaf/}demanderDocumentWeb"
)
_PARIS: Final = ZoneInfo("Europe/Paris")


# ── The families ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Personne(_Model):
    """A parent or a child; the service does not send an element that is None."""

    qualite: str | None = None
    nom_prenom: str | None = None
    date_de_naissance: str | None = None
    sexe: str | None = None


class Adresse(_Model):
    """The seven lines of a postal address; the service sends the empty ones too."""

    identite: str = ""
    complement_identite: str = ""
    complement_identite_geo: str = ""
    numero_rue: str = ""
    lieu_dit: str = ""
    code_postal_ville: str = ""
    pays: str = ""

    @property
    def lignes(self) -> list[str]:
        return list(self.model_dump().values())


def _last_month() -> datetime:
    return datetime.now(_PARIS).replace(day=1) - timedelta(days=1)


class Quotient(_Model):
    """The quotient of a month, by default last month."""

    quotient_familial: int
    mois: int = Field(default_factory=lambda: _last_month().month, ge=1, le=12)
    annee: int = Field(default_factory=lambda: _last_month().year)


class Famille(_Model):
    """A family file and the service's response.

    ``people/familles.toml`` documents each field.
    """

    numero_allocataire: str = Field(pattern=r"^[0-9]{7}$")
    code_postal: str = Field(pattern=r"^[0-9]{5}$")
    reponse: Literal["lent", "panne", "illisible"] | int = 0
    """A return code, 0 for the family file; or the way in which the service misbehaves."""
    secondes: float = Field(20, ge=0)
    """The duration of a slow response; the API gives up after 10 seconds."""

    allocataires: list[Personne] = []
    enfants: list[Personne] = []
    adresse: Adresse = Adresse()
    quotients: list[Quotient] = []


class _File(_Model):
    famille: list[Famille]


def familles(path: Path) -> list[Famille]:
    """Return the families of a file, in its order.

    Raise ``ValueError`` or ``OSError`` when the file cannot be read.
    """
    return list(_familles(path.read_bytes(), _last_month().month))


def fault_of(path: Path) -> str | None:
    """Return what is wrong in a file of families, with no value of it; None when it can be read."""
    try:
        familles(path)
    except (OSError, ValueError) as error:
        return _cause(error)
    return None


@lru_cache(maxsize=2)
def _familles(content: bytes, _month: int) -> tuple[Famille, ...]:
    return tuple(_File.model_validate(tomllib.loads(content.decode())).famille)


def _cause(error: Exception) -> str:
    """Return the reason for which a file cannot be read, with no value of the file."""
    if isinstance(error, ValidationError):
        details = error.errors(include_input=False, include_url=False, include_context=False)
        return " ; ".join(f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}" for detail in details)
    return f"{type(error).__name__}: {error}" if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__


# ── The service ──────────────────────────────────────────────────────────────────────────────────────────────────────


def app(families_file: Path) -> Flask:
    """Make the service for the families of a file, read again when it has changed."""
    return app_of(lambda: familles(families_file))


def app_of(load_families: Callable[[], Iterable[Famille]]) -> Flask:
    """Make the service; ``load_families`` returns the families at each request."""
    service = Flask(__name__)

    @service.post(PATH)
    def demander_document_web() -> ResponseReturnValue:
        numbers = _parse(request.mimetype, request.headers.get("SOAPAction"), request.get_data())
        if numbers is None:
            return _fault("Client", "La demande n'est pas celle que le service attend.")
        matches = (family for family in load_families() if (family.numero_allocataire, family.code_postal) == numbers)
        family = next(matches, None)
        if family is None:
            return _response(UNKNOWN_FILE)
        if family.reponse == "panne":
            return _fault("Server", "Le service est indisponible.")
        if family.reponse == "illisible":
            return render_template("caf/illisible.html")
        if family.reponse == "lent":
            time.sleep(family.secondes)
        return _response(family.reponse if isinstance(family.reponse, int) else 0, family)

    @service.errorhandler(OSError)
    @service.errorhandler(ValueError)
    def unreadable_families(error: Exception) -> ResponseReturnValue:
        message = f"Le fichier des familles fictives est illisible : {_cause(error)}"
        print(message, file=sys.stderr, flush=True)
        return _fault("Server", message)

    return service


def _parse(media_type: str, action: str | None, content: bytes) -> tuple[str, str] | None:
    """Return the number and the postcode of a request; None if it is malformed."""
    if media_type != "text/xml" or action is None:  # SOAP 1.1, §6
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        envelope = etree.fromstring(content, parser)
    except (etree.LxmlError, ValueError):
        return None
    operation = envelope.find(_OPERATION)
    if operation is None or envelope.getroottree().docinfo.internalDTD is not None:
        return None
    match _outline(operation)[1]:
        case [
            (
                "arg0",
                [
                    ("app", "WDD"),
                    ("id", str()),
                    (
                        "beanEntreeDemandeDocumentWeb",
                        [
                            ("codeAppli", "WDD"),
                            ("matricule", str(matricule)),
                            ("codePostal", str(code_postal)),
                            ("typeDocument", "4"),
                            ("typeEnvoi", "5"),
                        ],
                    ),
                ],
            )
        ]:
            return matricule, code_postal
    return None


def _outline(element: etree._Element) -> tuple[str, Any]:
    """Return an element's name, with its text or the outlines of its children."""
    children = list(element)
    return str(element.tag), [_outline(child) for child in children] if children else (element.text or "")


def _response(code: int, family: Famille | None = None) -> Response:
    flux = render_template("caf/dossier.xml", famille=family if code == 0 else None)
    envelope = render_template("caf/reponse.xml", code=code, flux=flux)
    name = secrets.token_hex(24)
    boundary, root = f"MIMEBoundary_{name}", f"<0.{name}@apache.org>"
    lines = (
        f"--{boundary}",
        'Content-Type: application/xop+xml; charset=utf-8; type="text/xml"',
        "Content-Transfer-Encoding: binary",
        f"Content-ID: {root}",
        "",
        envelope,
        f"--{boundary}--",
        "",
    )
    content_type = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="{root}"; start-info="text/xml"'
    )
    return Response("\r\n".join(lines), content_type=content_type)


def _fault(code: str, text: str) -> Response:
    fault = render_template("caf/fault.xml", code=code, texte=text)
    return Response(fault, status=500, content_type="text/xml; charset=utf-8")  # SOAP 1.1, §6.2
