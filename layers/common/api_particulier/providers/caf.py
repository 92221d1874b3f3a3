"""The CAF's document service ("WSWDD"): SOAP 1.1 over mutual TLS, one operation, a family file.

A POST of the two numbers gives a MIME multipart (XOP) with the SOAP envelope as its first part. Its ``codeRetour`` is 0
when ``fluxRetour`` holds the file: a second XML document, escaped in the first. Any other code is the reason why there
is none.

Both documents are read by a parser that fetches nothing; a document type, which could declare entities, is refused.

The client certificate, its key, and the authority that signs the CAF's server are one secret, which an environment
reads once a minute, and keeps while Secrets Manager does not answer. Where the CAF is plain ``http://``, which settings
allow on loopback only, the secret is not read.
"""

import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.parser import BytesParser
from functools import lru_cache
from tempfile import NamedTemporaryFile
from time import monotonic
from typing import Any, Final

from lxml import etree
from pydantic import BaseModel, Field

from api_particulier.api.parameters import AllocataireNumbers
from api_particulier.aws import SecretUnavailable, json_secret, not_configured
from api_particulier.errors import (
    ApiError,
    BadRequest,
    InternalError,
    NotFound,
    ProviderError,
    ProviderInvalidResponse,
    UnknownFile,
)
from api_particulier.observability import LogEvent, log
from api_particulier.paris_time import day_of
from api_particulier.providers import outage
from api_particulier.providers.http import ProviderClient, ProviderResponse
from api_particulier.providers.proof import Proof
from api_particulier.scopes import UNREADABLE, Fetched, ProviderData
from api_particulier.settings import settings

PROVES: Final = Proof.POSSESSION
"""The CAF checks the number of the file with the postcode of the family."""

PROVIDER: Final = "caf"

_PATH: Final = "/sgmap/wswdd/v1"
_SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
_SERVICE: Final = "http://v1.ws.wsdemandedocumentcafweb.cnaf/"
_RETURN: Final = "{*}Body/{*}demanderDocumentWebResponse/{*}return/{*}beanRetourDemandeDocumentWeb"
_GOOD: Final = 0
_PEM_END: Final = "-----END CERTIFICATE-----"
_BOUNDARY: Final = re.compile(rb"--([\w'()+,./:=?-]{1,70})[ \t]*\r?\n", re.ASCII)  # RFC 2046 §5.1.1
_ANOTHER_MONTH: Final = f"{PROVIDER}: the quotient is not the previous month's"
_KEPT: Final = 60
"""Seconds after which the secret is read again, so how long another certificate takes to be used."""
_UNKNOWN_FILE: Final = AllocataireNumbers(numero="0000000", code_postal="00000")


class _Caf:
    """The client, which presents the certificate of the secret, read again once a minute."""

    def __init__(self) -> None:
        url = (settings().caf_url or "").removesuffix(_PATH)
        if not url:
            msg = "CAF_URL is not set"
            raise LookupError(msg)
        self._url = url
        self._client: ProviderClient | None = None
        self._identity: Identity | None = None
        self._read_at = 0.0

    def famille(self, numbers: AllocataireNumbers) -> ProviderData:
        client = self._current()
        with client.question():
            code, flux = _request(client, numbers)
            if code != _GOOD:
                raise refusal(code)
            return _read(flux)

    def ping(self) -> None:
        client = self._current()
        with client.question():
            _request(client, _UNKNOWN_FILE)

    def _current(self) -> ProviderClient:
        """Return the client, made again for another certificate."""
        if self._client is not None and monotonic() < self._read_at + _KEPT:
            return self._client
        identity = None if self._url.startswith("http://") else _identity(self._identity)
        if self._client is None or identity != self._identity:
            tls = None if identity is None else _tls(identity)
            self._client, self._identity = ProviderClient(PROVIDER, self._url, tls=tls), identity
        self._read_at = monotonic()
        return self._client


def _request(client: ProviderClient, numbers: AllocataireNumbers) -> tuple[int, str]:
    """Return the service's ``codeRetour`` and ``fluxRetour``."""
    response = client.send(
        "POST",
        _PATH,
        body=_envelope(numbers),
        headers={"Content-Type": "text/xml; charset=utf-8", "SOAPAction": '""'},
    )
    try:
        returned = _parse(_root_part(response)).find(_RETURN)
    except ProviderInvalidResponse:
        returned = None
    if returned is None:  # a SOAP fault among others
        raise outage.not_understood(response.headers, response.content)
    return _integer(_text(returned, "codeRetour")), _text(returned, "fluxRetour") or ""


@lru_cache(maxsize=1)
def _caf() -> _Caf:
    return _Caf()


def famille(numbers: AllocataireNumbers) -> ProviderData:
    """Return a family file: the six fields of contract §3.4.

    Raise ``NotFound`` or ``BadRequest``, in the words of the table of return codes, when the CAF has a reason to give
    none; ``NotConfigured`` without a client certificate; else a ``ProviderFailure``.
    """
    return _caf().famille(numbers)


def fetch(numbers: AllocataireNumbers, fields: frozenset[str]) -> Fetched:
    """Return a family file for a dataset, and what the audit notes of its quotient; raise the errors of ``famille``."""
    data = famille(numbers)
    expected = day_of(datetime.now(UTC)).replace(day=1) - timedelta(days=1)
    month = (data["annee"], data["mois"])
    is_expected = month in {(expected.year, expected.month), (None, None), (UNREADABLE, UNREADABLE)}
    return data, [] if is_expected or "quotientFamilial" not in fields else [_ANOTHER_MONTH]


def ping() -> None:
    """Request a file that does not exist: any return code shows that the service is up; else a ``ProviderFailure``."""
    _caf().ping()


# ── Mutual TLS ───────────────────────────────────────────────────────────────────────────────────────────────────────


class Identity(BaseModel):
    """The secret, a JSON object of three PEM texts."""

    certificate: str
    """The client's, followed by its chain."""
    key: str = Field(repr=False)
    authority: str
    """The only authority that may sign the CAF's server."""

    def context(self) -> ssl.SSLContext:
        """Return a context that presents the client certificate and trusts the CAF's authority alone.

        Raise ``ssl.SSLError`` or ``ValueError`` for what is no certificate, and ``OSError`` for a full disk.
        """
        # Not create_default_context: its rules on what an authority's certificate must contain are for public
        # authorities, and this certificate is the very one that an operator chose.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it may be an intermediate authority
        context.load_verify_locations(cadata=self.authority)
        # OpenSSL reads a certificate from a file only: this one is private to the process, and deleted once it is read.
        with NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(f"{self.certificate}\n{self.key}\n")
            file.flush()
            # A locked key is refused, instead of asked for at a terminal.
            context.load_cert_chain(file.name, password=lambda: "")
        return context

    def end(self) -> datetime:
        """Return when the client certificate expires; raise ``ValueError`` for what is no certificate."""
        from pyasn1.codec.der.decoder import decode  # noqa: PLC0415 - 20 ms, for the probes only
        from pyasn1.error import PyAsn1Error  # noqa: PLC0415 - see above
        from pyasn1_modules.rfc5280 import Certificate  # type: ignore[import-untyped]  # noqa: PLC0415 - see above

        first = self.certificate.partition(_PEM_END)[0].strip() + _PEM_END
        try:
            certificate, _ = decode(ssl.PEM_cert_to_DER_cert(first), asn1Spec=Certificate())
            end: datetime = certificate["tbsCertificate"]["validity"]["notAfter"].getComponent().asDateTime
        except PyAsn1Error:
            raise ValueError("not a certificate") from None
        return end


def _identity(known: Identity | None = None) -> Identity:
    """Read the secret, or return the ``known`` identity when Secrets Manager does not answer.

    Raise ``NotConfigured``, or ``InternalError`` when it cannot be read and none is known: the log has the cause.
    """
    try:
        return json_secret("CafCertificate", settings().caf_secret_id, Identity)
    except SecretUnavailable as error:
        if known is not None:
            return known
        log(LogEvent.INTERNAL_ERROR, provider=PROVIDER, exception=str(error))
        raise InternalError from None


def _tls(identity: Identity) -> ssl.SSLContext:
    """Return the TLS context of the CAF.

    Raise ``NotConfigured`` when the identity is no certificate; ``InternalError`` when its file cannot be written: the
    log has the cause.
    """
    try:
        return identity.context()
    except (ssl.SSLError, ValueError):
        raise not_configured("CafCertificate", "malformed") from None
    except OSError as error:  # the disk is full
        log(LogEvent.INTERNAL_ERROR, provider=PROVIDER, exception=type(error).__name__)
        raise InternalError from None


def certificate_end() -> datetime | None:
    """Return when the client certificate expires; None where the CAF is plain ``http://``, which needs none.

    Raise ``NotConfigured`` when the secret is not filled, or is no certificate.
    """
    if (settings().caf_url or "").startswith("http://"):
        return None
    identity = _identity()
    try:
        return identity.end()
    except ValueError:
        raise not_configured("CafCertificate", "malformed") from None


# ── The question ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _envelope(numbers: AllocataireNumbers) -> bytes:
    envelope = etree.Element(f"{{{_SOAP}}}Envelope", nsmap={"soapenv": _SOAP, "v1": _SERVICE})
    body = etree.SubElement(envelope, f"{{{_SOAP}}}Body")
    operation = etree.SubElement(body, f"{{{_SERVICE}}}demanderDocumentWeb")
    argument = etree.SubElement(operation, "arg0")
    etree.SubElement(argument, "app").text = "WDD"
    etree.SubElement(argument, "id").text = "?"
    asked = etree.SubElement(argument, "beanEntreeDemandeDocumentWeb")
    etree.SubElement(asked, "codeAppli").text = "WDD"
    etree.SubElement(asked, "matricule").text = numbers.numero
    etree.SubElement(asked, "codePostal").text = numbers.code_postal
    etree.SubElement(asked, "typeDocument").text = "4"
    etree.SubElement(asked, "typeEnvoi").text = "5"
    return etree.tostring(envelope, encoding="utf-8", xml_declaration=True)


# ── The answer ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _root_part(response: ProviderResponse) -> bytes:
    """Return the SOAP envelope: the first part of a multipart answer, or the whole of one that has no parts.

    The boundary is that of the body's first line, whether or not the header names it; no XML document begins so.
    """
    content = response.content.lstrip()
    if not content.startswith(b"--"):
        return content
    boundary = _BOUNDARY.match(content)
    if boundary is None:
        raise ProviderInvalidResponse
    header = b'Content-Type: multipart/related; boundary="%b"\r\n\r\n' % boundary[1]
    try:
        # The default policy: that of HTTP parses every header, a fifth of a call's cost, and none is used.
        parts = BytesParser().parsebytes(header + content).get_payload()
    except RecursionError:  # parts within parts within parts
        raise ProviderInvalidResponse from None
    part = parts[0] if isinstance(parts, list) and parts else None
    payload = part.get_payload(decode=True) if isinstance(part, Message) else None
    if not isinstance(payload, bytes):
        raise ProviderInvalidResponse
    return payload.strip()


@lru_cache(maxsize=2)
def _parser(encoding: str | None) -> etree.XMLParser:
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _parse(document: bytes, encoding: str | None = None) -> etree._Element:
    """Parse without fetching or expanding anything; ``encoding`` prevails over what the document declares."""
    try:
        root = etree.fromstring(document, _parser(encoding))
    except (etree.LxmlError, ValueError):
        raise ProviderInvalidResponse from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise ProviderInvalidResponse
    return root


def _read(flux: str) -> ProviderData:
    """Read the family file; an optional part that is absent is one that the family does not have."""
    # It was decoded with the envelope: the encoding that it declares is no longer its own.
    family = _parse(flux.strip().encode(), "utf-8")
    if etree.QName(family).localname != "drtData":
        raise ProviderInvalidResponse
    return {
        "allocataires": _part(_allocataires, family),
        "enfants": _part(_enfants, family),
        "adresse": _part(_address, family),
        **dict.fromkeys(("quotientFamilial", "mois", "annee"), UNREADABLE),
        **_part(_quotient, family, {}),
    }


def _part[P](read: Callable[[etree._Element], P], family: etree._Element, if_unreadable: Any = UNREADABLE) -> P:
    """Read a part of the file, on its own: a scope that does not open it never depends on it."""
    try:
        return read(family)
    except ProviderInvalidResponse:
        return if_unreadable  # type: ignore[no-any-return]  # what ``mask`` refuses


def _allocataires(family: etree._Element) -> list[dict[str, str]]:
    people = family.find("{*}identePersonnes")
    if people is None:
        raise ProviderInvalidResponse
    return _people(people.iterfind("{*}UNEPERSONNE"))


def _enfants(family: etree._Element) -> list[dict[str, str]]:
    return _people(family.iterfind("{*}identeEnfants/{*}UNENFANT"))


def _people(elements: Iterable[etree._Element]) -> list[dict[str, str]]:
    """Return the people; an empty element is none."""
    return [person for person in map(_person, elements) if person]


def _person(element: etree._Element) -> dict[str, str]:
    read = {name: _text(element, source) for source, name in _PERSON.items()}
    return {name: text for name, text in read.items() if text is not None}


def _address(family: etree._Element) -> dict[str, str]:
    """Return the lines that are not blank; none when the CAF knows no address."""
    element = family.find("{*}adresse")
    if element is None:
        return {}
    lines = {name: _text(element, f"LIBLIG{number}ADR") for number, name in enumerate(_ADDRESS, 1)}
    return {name: line for name, line in lines.items() if line and not line.isspace()}


def _quotient(family: etree._Element) -> dict[str, int | None]:
    """Return the most recent quotient, its month and its year; three ``None`` when there is none."""
    months = [
        (_integer(_text(month, "DELANNEE")), _integer(_text(month, "DUMOIS")), quotient)
        for month in family.iterfind("{*}quotients/{*}QFMOIS")
        if (quotient := (_text(month, "QUOTIENTF") or "").strip())
    ]
    if not months:
        return {"quotientFamilial": None, "mois": None, "annee": None}
    annee, mois, latest = max(months, key=lambda month: month[:2])
    return {"quotientFamilial": _integer(latest), "mois": mois, "annee": annee}


def _text(parent: etree._Element, name: str) -> str | None:
    """Return a child's text as sent, ``None`` when it is absent; ``ProviderInvalidResponse`` when it holds elements."""
    child = parent.find(f"{{*}}{name}")
    if child is None:
        return None
    if len(child):
        raise ProviderInvalidResponse
    return child.text or ""


def _integer(text: str | None) -> int:
    if text is None or not re.fullmatch(r"\s*-?[0-9]{1,9}\s*", text):
        raise ProviderInvalidResponse
    return int(text)


_PERSON: Final = {"NOMPRENOM": "nomPrenom", "DATNAISS": "dateDeNaissance", "SEXE": "sexe"}
_ADDRESS: Final = (
    "identite",
    "complementIdentite",
    "complementIdentiteGeo",
    "numeroRue",
    "lieuDit",
    "codePostalVille",
    "pays",
)


# ── The return codes ─────────────────────────────────────────────────────────────────────────────────────────────────


def refusal(code: int) -> ApiError:
    """Return the error of a code other than 0; 2xx are failures of the service, like any unknown code."""
    if code == UNKNOWN:
        return UnknownFile(NOT_FOUND[code])
    if code in NOT_FOUND:  # of a family that it knows
        return NotFound(NOT_FOUND[code])
    if code in BAD_REQUEST:
        return BadRequest(BAD_REQUEST[code])
    return ProviderError()


UNKNOWN: Final = 133
# The words are the CAF's own, misprints included: callers' clients have been matching them since 2020.
NOT_FOUND: Final[Mapping[int, str]] = {
    101: "Dossier radié. Le document ne peut être édité.",
    102: "Dossier radié au cours de la période de référence. Le document ne peut être édité.",
    111: "Dossier en cours d'affiliation sur la période de référence. Le document ne peut être édité.",
    121: "Dossier suspendu. Le document ne peut être édité.",
    122: "Dossier suspendu au cours de la période de référence. Le document ne peut être édité.",
    132: "Décès MON/MME. Le document ne peut être édité.",
    UNKNOWN: "Dossier allocataire inexistant. Le document ne peut être édité.",
    141: "Non droit. Le document ne peut être édité.",
    151: "Votre quotient familial (Qf) sur cette période est non disponible. Pour plus d'information, contactez-nous.",
    161: "Absence ressources ou QF à 0 sur la période de référence. Le document ne peut être édité.",
    171: (
        "Le dossier n'est pas éligible à la réduction sociale téléphonique - Pas de droit AAH ou RSA à"
        " la date de situation."
    ),
    191: "Pas de droit sur la période demandée pour la prestation sélectionnée (entre début période et date du jour)",
    194: "Pas de droit sur la période demandée pour la prestation sélectionnée (entre début période et fin période)",
    1113: "Pas de droit sur la période demandée pour la prestation sélectionnée.",
    1114: "Pas de droit sur la période demandée pour la prestation sélectionnée et le bénéficiaire choisi",
}
BAD_REQUEST: Final[Mapping[int, str]] = {
    103: (
        "L’opérateurs téléphonique» ne propose pas de raccordement SMS avec un prestataire externe"
        " (raccordement avec un numéro court). "
    ),
    131: "Absence du nom du responsable dossier. Le document ne peut être édité.",
    181: "Absence de code confidentiel. Le document ne peut être édité.",
    192: "Il existe des droits pour la prestation sélectionnée sur le dossier et/ou la période demandée",
    193: (
        "Il existe des droits pour la prestation sélectionnée sur le dossier et/ou la période demandée"
        " (après date du jour)"
    ),
    195: "Allocataire non radié à la date de situation demandée",
    196: (
        "Il existe au moins un enfant pour lequel il existe un droit sur le dossier et/ou après la date"
        " de situation demandée"
    ),
    197: "Il existe au moins un enfant pour lequel il existe un droit sur le dossier et/ou à la période demandée",
    198: "Il existe au moins un enfant pour lequel il existe ou il a existé un droit sur le dossier",
}
