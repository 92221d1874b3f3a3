"""The CAF's document service ("WSWDD"), simulated: the same protocol, the same shape of answers, other families.

A POST to ``/sgmap/wswdd/v1`` of a SOAP 1.1 envelope gives a MIME multipart whose only part is a SOAP envelope, which
holds the family file as a second document, escaped. A question that the service would not understand is a SOAP fault.

It is served with ``certificates.server_context``, so that only who has the client certificate is answered.
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
"""The return code for a number that no file has."""
_OPERATION: Final = (
    "{http://schemas.xmlsoap.org/soap/envelope/}Body/{http://v1.ws.wsdemandedocumentcafweb.cnaf/}demanderDocumentWeb"
)
_PARIS: Final = ZoneInfo("Europe/Paris")


# ── The families ─────────────────────────────────────────────────────────────────────────────────────────────────────


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Personne(_Entry):
    """A parent or a child; a key that is not given is an element that the service does not send."""

    qualite: str | None = None
    nom_prenom: str | None = None
    date_de_naissance: str | None = None
    sexe: str | None = None


class Adresse(_Entry):
    """The seven lines, in the order of the envelope's window; the service sends empty ones too."""

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


class Quotient(_Entry):
    """A quotient of one month, last month unless said."""

    quotient_familial: int
    mois: int = Field(default_factory=lambda: _last_month().month, ge=1, le=12)
    annee: int = Field(default_factory=lambda: _last_month().year)


class Famille(_Entry):
    """A family file, and how the service answers about it. ``people/familles.toml`` tells of each key."""

    numero_allocataire: str = Field(pattern=r"^[0-9]{7}$")
    code_postal: str = Field(pattern=r"^[0-9]{5}$")
    reponse: Literal["lent", "panne", "illisible"] | int = 0
    """A return code, 0 being the family file; or how the service misbehaves."""
    secondes: float = Field(20, ge=0)
    """How long a slow answer takes; the adapter gives up after 10."""

    allocataires: list[Personne] = []
    enfants: list[Personne] = []
    adresse: Adresse = Adresse()
    quotients: list[Quotient] = []


class _File(_Entry):
    famille: list[Famille]


def familles(path: Path) -> list[Famille]:
    """Read the families of a file, in its order; ``ValueError`` or ``OSError`` when it cannot be read."""
    return list(_familles(path.read_bytes(), _last_month().month))


@lru_cache(maxsize=2)
def _familles(content: bytes, _month: int) -> tuple[Famille, ...]:
    return tuple(_File.model_validate(tomllib.loads(content.decode())).famille)


def _why(error: Exception) -> str:
    """Say why a file cannot be read, with nothing of what it says of people."""
    if isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_url=False, include_context=False)
        return " ; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found)
    return f"{type(error).__name__}: {error}" if isinstance(error, tomllib.TOMLDecodeError) else type(error).__name__


# ── The service ──────────────────────────────────────────────────────────────────────────────────────────────────────


def app(families_file: Path) -> Flask:
    """Make the service for the families of a file, read again whenever it has changed."""
    return app_of(lambda: familles(families_file))


def app_of(everybody: Callable[[], Iterable[Famille]]) -> Flask:
    """Make the service for the families that ``everybody`` returns at the time."""
    service = Flask(__name__)

    @service.post(PATH)
    def demander_document_web() -> ResponseReturnValue:
        asked = _asked(request.mimetype, request.headers.get("SOAPAction"), request.get_data())
        if asked is None:
            return _fault("Client", "La demande n'est pas celle que le service attend.")
        found = next((one for one in everybody() if (one.numero_allocataire, one.code_postal) == asked), None)
        if found is None:
            return _answer(UNKNOWN_FILE)
        if found.reponse == "panne":
            return _fault("Server", "Le service est indisponible.")
        if found.reponse == "illisible":
            return render_template("caf/illisible.html")
        if found.reponse == "lent":
            time.sleep(found.secondes)
        return _answer(found.reponse if isinstance(found.reponse, int) else 0, found)

    @service.errorhandler(OSError)
    @service.errorhandler(ValueError)
    def unreadable_families(error: Exception) -> ResponseReturnValue:
        why = f"Le fichier des familles fictives est illisible : {_why(error)}"
        print(why, file=sys.stderr, flush=True)
        return _fault("Server", why)

    return service


def _asked(media_type: str, action: str | None, content: bytes) -> tuple[str, str] | None:
    """Return the number and the postcode asked about, None for any question but the one that is documented."""
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
    """Return an element's name with its text, or with the outlines of its children."""
    children = list(element)
    return str(element.tag), [_outline(child) for child in children] if children else (element.text or "")


def _answer(code: int, family: Famille | None = None) -> Response:
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
    kind = (
        f'multipart/related; boundary="{boundary}"; type="application/xop+xml"; start="{root}"; start-info="text/xml"'
    )
    return Response("\r\n".join(lines), content_type=kind)


def _fault(code: str, text: str) -> Response:
    fault = render_template("caf/fault.xml", code=code, texte=text)
    return Response(fault, status=500, content_type="text/xml; charset=utf-8")  # SOAP 1.1, §6.2
