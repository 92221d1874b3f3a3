"""DGFIP's JSON API, "API Impôt particulier": what the tax service knows of a person for a year of income.

OAuth2 client credentials give a token, which is requested again when it expires and, once a question, when the service
no longer accepts it; ``GET /impotparticulier/1.0/spi/{spi}/situations/ir/assiettes/annrev/{year of income}`` gives the
data. A notice of 2026 is of the income of 2025.

The service takes no reference of a notice, and returns none: docs/decisions/0007-impot-particulier.md lists what can be
checked of it, what cannot, and which fields of a notice the service does not have. A field that it
leaves out is absent.

The OAuth2 client is a secret, read each time a token is requested, so that it can be replaced while functions run.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Annotated, Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from api_particulier.api.parameters import AvisNumbers
from api_particulier.aws import SecretUnavailable, json_secret
from api_particulier.errors import InternalError, NotFound, ProviderInvalidResponse, ProviderRateLimited, UnknownNotice
from api_particulier.observability import LogEvent, log
from api_particulier.providers import outage
from api_particulier.providers.http import ProviderClient, ProviderResponse
from api_particulier.providers.proof import Proof
from api_particulier.scopes import EMPTY, UNREADABLE, ProviderData
from api_particulier.settings import settings

PROVES: Final = Proof.EXISTENCE
"""It finds a notice by the tax number alone, which employers and banks know too."""

PROVIDER: Final = "dgfip"

_TOKEN_PATH: Final = "/token"  # noqa: S105 - a path
_BASE_PATH: Final = "/impotparticulier/1.0"
_SCOPE: Final = "RessourceIR"
_MARGIN: Final = 30
"""Seconds before it expires from which a token is no longer used."""
_OK: Final = 200
_MALFORMED: Final = 400
_UNAUTHORIZED: Final = 401
# Documented as 410 (codeapp 4101, 4102) or 204 on another resource of the service; undocumented on this one.
# 403 is documented ("Accès refusé"): the gateway has granted a token, and the service refuses this person.
_UNKNOWN: Final = frozenset({204, 403, 404, 410})
_SITUATIONS: Final = {
    "C": "Célibataire",
    "D": "Divorcé(e)",
    "M": "Marié(e)s",
    "O": "Pacsé(e)s",
    "V": "Veuf(ve)",
}


@dataclass(frozen=True)
class _Token:
    headers: Mapping[str, str] = field(repr=False)
    """The headers that authenticate a request."""
    until: float


class _ImpotParticulier:
    """The client, and the token that can be used again."""

    def __init__(self) -> None:
        self.client = ProviderClient(PROVIDER, (settings().impot_particulier_url or "").removesuffix(_BASE_PATH))
        self._token: _Token | None = None

    def notice(self, numbers: AvisNumbers) -> ProviderData:
        year = 2000 + int(numbers.reference_avis[:2])
        path = f"{_BASE_PATH}/spi/{numbers.numero_fiscal}/situations/ir/assiettes/annrev/{year - 1}"
        with self.client.question():
            response = self._get(path)
            if response.status == _UNAUTHORIZED:
                self._token = None
                response = self._get(path)
            return _read(response, year)

    def ping(self) -> None:
        with self.client.question():
            self._token = self._fetch_token()

    def _get(self, path: str) -> ProviderResponse:
        if self._token is None or monotonic() >= self._token.until:
            self._token = self._fetch_token()
        return self.client.send(
            "GET",
            path,
            expected=frozenset({_OK, _MALFORMED, _UNAUTHORIZED}) | _UNKNOWN,
            headers={**self._token.headers, "X-Correlation-ID": str(uuid4())},
        )

    def _fetch_token(self) -> _Token:
        oauth_client = _oauth_client()
        credentials = f"{oauth_client.client_id}:{oauth_client.client_secret}"
        requested_at = monotonic()
        response = self.client.send(
            "POST",
            _TOKEN_PATH,
            expected=frozenset({_OK, _MALFORMED, _UNAUTHORIZED}),
            headers={"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"},
            body=urlencode({"grant_type": "client_credentials", "scope": _SCOPE}),
        )
        granted = _grant(response)
        headers = {"Authorization": f"Bearer {granted.access_token}", "ID_Teleservice": oauth_client.id_teleservice}
        return _Token(headers, requested_at + (granted.expires_in or 0) - _MARGIN)


@lru_cache(maxsize=1)
def _impot_particulier() -> _ImpotParticulier:
    return _ImpotParticulier()


def notice(numbers: AvisNumbers) -> ProviderData:
    """Return the notice of a year.

    Raise ``UnknownNotice`` when there is none, or when it is not of the reference's year; ``NotConfigured`` without an
    OAuth client; else a ``ProviderFailure``.
    """
    return _impot_particulier().notice(numbers)


def ping() -> None:
    """Request a token; raise a ``ProviderFailure`` when the service is down or refuses the OAuth client."""
    _impot_particulier().ping()


# ── OAuth2 ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class OAuthClient(BaseModel):
    """The secret, a JSON object; ``id_teleservice`` is the number that the tax service gave to this API."""

    client_id: str
    client_secret: str = Field(repr=False)
    id_teleservice: str


class _Granted(BaseModel):
    """A token (RFC 6749 §5.1); without a lifetime it is used for one question."""

    model_config = ConfigDict(strict=True)

    access_token: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", repr=False)]
    token_type: Annotated[str, Field(pattern=r"^(?i:bearer)$")]
    expires_in: Annotated[int, Field(ge=0)] | None = None


class _NotGranted(BaseModel):
    """Why there is no token (RFC 6749 §5.2): the service does not know the client, or not for this scope."""

    error: str


def _grant(response: ProviderResponse) -> _Granted:
    try:
        if response.status == _MALFORMED:
            _NotGranted.model_validate_json(response.content)
        if response.status != _OK:
            raise ProviderRateLimited(retry_after=outage.delay(response.headers))
        return _Granted.model_validate_json(response.content)
    except ValidationError:
        raise outage.not_understood(response.headers, response.content) from None


def _oauth_client() -> OAuthClient:
    """Read the secret; raise ``NotConfigured``, or ``InternalError`` when it cannot be read: the log has the cause."""
    try:
        return json_secret("ImpotParticulierClient", settings().impot_particulier_secret_id, OAuthClient)
    except SecretUnavailable as error:
        log(LogEvent.INTERNAL_ERROR, provider=PROVIDER, exception=str(error))
        raise InternalError from None


# ── The answer ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Error(BaseModel):
    codeapp: str | int | None = None
    message: str | None = None


class _Malformed(BaseModel):
    """The body of an HTTP 400."""

    erreur: _Error

    @property
    def is_about_the_spi(self) -> bool:
        return str(self.erreur.codeapp) == "4001" or (self.erreur.message or "").casefold() == "format spi incorrect"


type _Situation = dict[str, Any]
"""The service's ``SituationsIRAssiettesJAXBbean``: each member is read on its own, and none is required."""


def _read(response: ProviderResponse, year: int) -> ProviderData:
    """Read what the service knows for the notice of ``year``."""
    if response.status == _UNAUTHORIZED:  # for a token that it has just given
        raise ProviderRateLimited(retry_after=outage.delay(response.headers))
    if response.status in _UNKNOWN:
        raise UnknownNotice
    try:
        if response.status == _MALFORMED:
            about_the_spi = _Malformed.model_validate_json(response.content).is_about_the_spi
            raise UnknownNotice if about_the_spi else ProviderInvalidResponse
        situation = _SITUATION.validate_json(response.content)
    except ValidationError:
        raise outage.not_understood(response.headers, response.content) from None
    if not situation.keys() & _MEMBERS:
        raise outage.not_understood(response.headers, response.content)
    established = _value(situation, "datEtab", _date)
    if isinstance(established, str) and int(established[-4:]) < year:
        # It was made before the year that the reference begins with: it is another notice, of a person that is known.
        raise NotFound(UnknownNotice.reason)
    return _document(situation, year)


_SITUATION: Final = TypeAdapter(_Situation)


def _document(situation: _Situation, year: int) -> ProviderData:
    second = _declarant(situation, 2)
    values = {name: _value(situation, member, read) for name, (member, read) in _VALUES.items()}
    address = _value(situation, "aft", _text)
    return {
        "declarant1": _declarant(situation, 1),
        "declarant2": second if set(second.values()) - {EMPTY} else dict.fromkeys(_DECLARANT, ""),
        **{name: value for name, value in values.items() if value is not _ABSENT},
        "foyerFiscal": {"annee": year}
        | ({} if address is _ABSENT else {"adresse": "" if address is EMPTY else address}),
        "anneeImpots": str(year),
        "anneeRevenus": str(year - 1),
    }


_ABSENT: Final = object()
"""A member that the service leaves out."""
_DECLARANT: Final = ("nom", "nomNaissance", "prenoms", "dateNaissance")


def _declarant(situation: _Situation, rank: int) -> dict[str, object]:
    """Return a declarant; a name that a notice prints twice, as the birth name, is sent once."""
    birth_name = _value(situation, f"nmNaiDec{rank}", _text)
    name = _value(situation, f"nmUsaDec{rank}", _text)
    values = (
        birth_name if name in (_ABSENT, EMPTY) and birth_name is not _ABSENT else name,
        birth_name,
        _value(situation, f"prnmDec{rank}", _text),
        _value(situation, f"dateNaisDec{rank}", _birth),
    )
    return {name: value for name, value in zip(_DECLARANT, values, strict=True) if value is not _ABSENT}


def _value(situation: _Situation, member: str, read: Callable[[Any], object]) -> object:
    """Return the value of a member: ``_ABSENT`` without it, ``EMPTY`` for one that is blank or a dash."""
    found = situation.get(member)
    if found is None:
        return _ABSENT
    if isinstance(found, str) and found.strip() in {"", "-"}:
        return EMPTY
    try:
        return read(found)
    except (ValueError, TypeError, AttributeError):
        return UNREADABLE


def _text(text: str) -> str:
    return text.strip()


def _amount(number: Any) -> int:
    """Read whole euros."""
    return _INTEGER.validate_python(number)


def _tax(number: Any) -> int | None:
    """Read a tax; where it is nothing or less, a notice prints "Non imposable"."""
    amount = _amount(number)
    return amount if amount > 0 else None


def _parts(number: Any) -> float:
    """Read the parts; show 2 and not 2.0 in JSON."""
    parts = _PARTS.validate_python(number)
    return int(parts) if parts.is_integer() else parts


def _dependants(pac: Any) -> object:
    count = pac.get("nbPac")
    return _ABSENT if count is None else _COUNT.validate_python(count)


def _birth(date: Any) -> object:
    parts = [(date.get(name) or "").strip() for name in ("jour", "mois", "annee")]
    if not set("".join(parts)) - {"-"}:
        return EMPTY
    return _date(f"{parts[0]:0>2}/{parts[1]:0>2}/{parts[2]}")


def _date(text: str) -> str:
    """Read "2026-07-31", "20260731" or "31/07/2026": the service documents a string without a format."""
    written = text.strip()
    if iso := re.fullmatch(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(T.*)?", written):
        return f"{iso[3]}/{iso[2]}/{iso[1]}"
    if re.fullmatch(r"[0-9]{2}/[0-9]{2}/[0-9]{4}", written):
        return written
    raise ValueError


def _situation_famille(code: str) -> object:
    """Return the text that a notice prints for the service's code; nothing for a code that is not known."""
    return _SITUATIONS.get(code.strip(), EMPTY)


_INTEGER: Final = TypeAdapter(Annotated[int, Field(strict=True, ge=-(2**53), le=2**53)])
_COUNT: Final = TypeAdapter(Annotated[int, Field(strict=True, ge=0, lt=100)])
_PARTS: Final = TypeAdapter(Annotated[float, Field(strict=True, ge=0, lt=1000)])
_VALUES: Final[dict[str, tuple[str, Callable[[Any], object]]]] = {
    "dateRecouvrement": ("datRec", _date),
    "dateEtablissement": ("datEtab", _date),
    "nombreParts": ("nbPart", _parts),
    "situationFamille": ("sitFam", _situation_famille),
    "nombrePersonnesCharge": ("pac", _dependants),
    "revenuBrutGlobal": ("revenuBrutGlobal", _amount),
    "revenuImposable": ("revImposable", _amount),
    "impotRevenuNetAvantCorrections": ("impAvImput", _tax),
    "montantImpot": ("montTotIr", _tax),
    "revenuFiscalReference": ("rfr", _amount),
}
_MEMBERS: Final = frozenset(member for member, _ in _VALUES.values()) | {
    "aft",
    *(f"{name}{rank}" for name in ("nmUsaDec", "nmNaiDec", "prnmDec", "dateNaisDec") for rank in (1, 2)),
}
