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
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Annotated, Final
from urllib.parse import urlencode
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from api_particulier.api.parameters import AvisNumbers
from api_particulier.aws import SecretUnavailable, json_secret
from api_particulier.errors import InternalError, ProviderInvalidResponse, ProviderRateLimited, UnknownNotice
from api_particulier.observability import LogEvent, log
from api_particulier.providers.http import ProviderClient, ProviderResponse
from api_particulier.providers.proof import Proof
from api_particulier.scopes import ProviderData
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
_UNKNOWN: Final = frozenset({204, 404, 410})
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
        return _Token(headers, requested_at + granted.expires_in - _MARGIN)


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
    expires_in: Annotated[int, Field(ge=0)] = 0


class _NotGranted(BaseModel):
    """Why there is no token (RFC 6749 §5.2): the service does not know the client, or not for this scope."""

    error: str


def _grant(response: ProviderResponse) -> _Granted:
    try:
        if response.status == _MALFORMED:
            _NotGranted.model_validate_json(response.content)
        if response.status != _OK:
            raise ProviderRateLimited
        return _Granted.model_validate_json(response.content)
    except ValidationError:
        raise ProviderInvalidResponse from None


def _oauth_client() -> OAuthClient:
    """Read the secret; raise ``NotConfigured``, or ``InternalError`` when it cannot be read: the log has the cause."""
    try:
        return json_secret("ImpotParticulierClient", settings().impot_particulier_secret_id, OAuthClient)
    except SecretUnavailable as error:
        log(LogEvent.INTERNAL_ERROR, provider=PROVIDER, exception=str(error))
        raise InternalError from None


# ── The answer ───────────────────────────────────────────────────────────────────────────────────────────────────────


class _Read(BaseModel):
    """A part of a response: nothing is required, unused members are left out, the names are the service's."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _Date(_Read):
    jour: str | None = None
    mois: str | None = None
    annee: str | None = None


class _Dependants(_Read):
    nb_pac: Annotated[int, Field(ge=0, lt=100)] | None = None


type _Amount = Annotated[int, Field(ge=-(2**63), lt=2**63)] | None


class _Situation(_Read):
    """The service's ``SituationsIRAssiettesJAXBbean``."""

    nm_usa_dec1: str | None = None
    nm_nai_dec1: str | None = None
    prnm_dec1: str | None = None
    date_nais_dec1: _Date | None = None
    nm_usa_dec2: str | None = None
    nm_nai_dec2: str | None = None
    prnm_dec2: str | None = None
    date_nais_dec2: _Date | None = None
    aft: str | None = None
    dat_rec: str | None = None
    dat_etab: str | None = None
    nb_part: Annotated[float, Field(ge=0, lt=1000)] | None = None
    sit_fam: str | None = None
    pac: _Dependants | None = None
    revenu_brut_global: _Amount = None
    rev_imposable: _Amount = None
    imp_av_imput: _Amount = None
    mont_tot_ir: _Amount = None
    rfr: _Amount = None


class _Error(_Read):
    codeapp: str | int | None = None
    message: str | None = None


class _Malformed(_Read):
    """The body of an HTTP 400."""

    erreur: _Error

    @property
    def is_about_the_spi(self) -> bool:
        return str(self.erreur.codeapp) == "4001" or (self.erreur.message or "").casefold() == "format spi incorrect"


def _read(response: ProviderResponse, year: int) -> ProviderData:
    """Read what the service knows for the notice of ``year``."""
    if response.status == _UNAUTHORIZED:  # for a token that it has just given
        raise ProviderRateLimited
    if response.status in _UNKNOWN:
        raise UnknownNotice
    try:
        if response.status == _MALFORMED:
            about_the_spi = _Malformed.model_validate_json(response.content).is_about_the_spi
            raise UnknownNotice if about_the_spi else ProviderInvalidResponse
        situation = _Situation.model_validate_json(response.content)
    except ValidationError:
        raise ProviderInvalidResponse from None
    if not situation.model_fields_set:
        raise ProviderInvalidResponse
    established = _date(situation.dat_etab)
    if established is not None and int(established[-4:]) < year:
        raise UnknownNotice  # it was made before the year that the reference begins with: it is another notice
    return _document(situation, year)


def _document(situation: _Situation, year: int) -> ProviderData:
    declarant1 = _declarant(situation.nm_usa_dec1, situation.nm_nai_dec1, situation.prnm_dec1, situation.date_nais_dec1)
    declarant2 = _declarant(situation.nm_usa_dec2, situation.nm_nai_dec2, situation.prnm_dec2, situation.date_nais_dec2)
    values = {
        "dateRecouvrement": _date(situation.dat_rec),
        "dateEtablissement": _date(situation.dat_etab),
        "nombreParts": _parts(situation.nb_part),
        "situationFamille": _situation_famille(situation.sit_fam),
        "nombrePersonnesCharge": situation.pac.nb_pac if situation.pac else None,
        "revenuBrutGlobal": situation.revenu_brut_global,
        "revenuImposable": situation.rev_imposable,
        "impotRevenuNetAvantCorrections": situation.imp_av_imput,
        "montantImpot": situation.mont_tot_ir,
        "revenuFiscalReference": situation.rfr,
    }
    address = {} if situation.aft is None else {"adresse": situation.aft.strip()}
    return {
        "declarant1": declarant1,
        "declarant2": declarant2 if any(declarant2.values()) else dict.fromkeys(_DECLARANT, ""),
        **{name: value for name, value in values.items() if value is not None},
        "foyerFiscal": {"annee": year, **address},
        "anneeImpots": str(year),
        "anneeRevenus": str(year - 1),
    }


_DECLARANT: Final = ("nom", "nomNaissance", "prenoms", "dateNaissance")


def _declarant(
    nom: str | None, nom_naissance: str | None, prenoms: str | None, naissance: _Date | None
) -> ProviderData:
    texts = (nom, nom_naissance, prenoms, _birth(naissance))
    return {name: text.strip() for name, text in zip(_DECLARANT, texts, strict=True) if text is not None}


def _birth(date: _Date | None) -> str | None:
    if date is None or not (date.jour or date.mois or date.annee):
        return None
    parts = (date.jour or "", date.mois or "", date.annee or "")
    return _date(f"{parts[0]:0>2}/{parts[1]:0>2}/{parts[2]}")


def _date(text: str | None) -> str | None:
    """Read "2026-07-31", "20260731" or "31/07/2026": the service documents a string without a format."""
    if not text:
        return None
    if iso := re.fullmatch(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(T.*)?", text):
        return f"{iso[3]}/{iso[2]}/{iso[1]}"
    if re.fullmatch(r"[0-9]{2}/[0-9]{2}/[0-9]{4}", text):
        return text
    raise ProviderInvalidResponse


def _parts(number: float | None) -> float | None:
    """Show 2 and not 2.0 in JSON."""
    return int(number) if number is not None and number.is_integer() else number


def _situation_famille(code: str | None) -> str | None:
    """Return the text that a notice prints for the service's code."""
    if not code:
        return None
    if code not in _SITUATIONS:
        raise ProviderInvalidResponse
    return _SITUATIONS[code]
