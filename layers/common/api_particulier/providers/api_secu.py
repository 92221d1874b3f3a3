"""API-SECU (CNAV): a gate that identifies a person, finds their family fund and relays what it knows.

One OAuth2 client, one scope and one address a benefit. ``POST /token`` gives a token by client credentials, which is
kept until 30 seconds before its end, and requested again once when the gate refuses it. ``GET`` of the benefit's
address, with an identity in plain letters, gives the data. ``X-Correlation-ID`` is the id of the request that the
caller gets back, ``X-APIPART-FSFINAL`` the body that receives the data.

The gate has a circuit breaker for each benefit, since a fund may fail alone, and one for the tokens. Nothing of its
words is passed on, only its ``errorCode``, once it is read as an integer.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Annotated, Final
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api_particulier.api.identity import FRANCE, Identity, IdentityAndPeriod, transliterated
from api_particulier.aws import SecretUnavailable, json_secret, not_configured
from api_particulier.errors import (
    ApiError,
    InternalError,
    ProviderInvalidResponse,
    ProviderRateLimited,
    ProviderUnavailable,
)
from api_particulier.observability import LogEvent, correlation_id, log
from api_particulier.paris_time import today
from api_particulier.providers.health import circuit_of
from api_particulier.providers.http import ProviderClient, ProviderResponse
from api_particulier.settings import ProviderUrl, settings
from api_particulier.v3_errors import (
    IdentityRefused,
    ProviderDown,
    ProviderInternalError,
    ProviderRefusesUs,
    UnknownIdentity,
)

PROVIDER: Final = "dss"
FUNDS: Final = {"00810011": "CNAF", "00171001": "MSA", "99430000": "RNCPS"}
"""The values of ``X-APISECU-FD``, the fund that was reached."""

_SECRET: Final = "ApiSecuClient"  # noqa: S105 - a name
_MARGIN: Final = 30
"""Seconds before it expires from which a token is no longer used."""
_RETRY_IN: Final = 60
_LONGEST_WAIT: Final = 3600
_FRESH_DAYS: Final = 10
"""Of a month, those in which the CNAF may not have its data yet."""
_OK: Final = 200
_ANSWERS: Final = frozenset({_OK, *range(300, 600)})
"""The statuses whose meaning is read here."""
_REFUSED: Final = frozenset({401, 403})
_ABSENT: Final = {"CNAF": "23003", "MSA": "10003", "RNCPS": "40003"}
_UNKNOWN: Final = {40409: "XX560", 40406: "35003", 40412: "35003"}
_TOO_OLD: Final = 40029
_FUND_FAILED: Final = frozenset({40000, 40024})
_PARTS: Final = {
    40002: "le nom de naissance manque",
    40003: "le nom a une forme qu'il n'accepte pas",
    40013: "la commune de naissance",
    40014: "le sexe manque",
    40019: "le département de naissance",
    40026: "l'année",
}
"""What the gate's codes are about, in words of this API."""


# ── The client ───────────────────────────────────────────────────────────────────────────────────────────────────────


class OAuthClient(BaseModel):
    """The secret of a benefit, a JSON object; its addresses, when there, replace those under ``API_SECU_URL``."""

    client_id: str
    client_secret: str = Field(repr=False)
    scope: str
    url: ProviderUrl | None = None
    token_url: ProviderUrl | None = None


class _Granted(BaseModel):
    """A token (RFC 6749 §5.1); without a lifetime it is used for one question."""

    model_config = ConfigDict(strict=True)

    access_token: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$", repr=False)]
    expires_in: Annotated[int, Field(ge=0)] = 0


class _Error(BaseModel):
    """The body of an error; a code that is no integer is none."""

    code: Annotated[int | None, Field(alias="errorCode")] = None


@dataclass(frozen=True)
class _Token:
    value: str = field(repr=False)
    until: float


class _ApiSecu:
    """One benefit: its two addresses, and the token that can be used again."""

    def __init__(self, benefit: str) -> None:
        base, client = settings().api_secu_url, oauth_client()
        url = client.url or (base and f"{base}/{benefit}")
        token_url = client.token_url or (base and f"{base}/token")
        if not url or not token_url:
            raise not_configured(_SECRET, "malformed")
        self._read_client: OAuthClient | None = client
        """The secret, if it was read for the next token."""
        self._questions = ProviderClient(PROVIDER, url, circuit=circuit_of(PROVIDER, benefit))
        self._tokens = ProviderClient(PROVIDER, token_url)
        self._token: _Token | None = None

    def ask(self, identity: Identity, model: type[BaseModel]) -> "tuple[BaseModel, str | None]":
        if self._token is None or monotonic() >= self._token.until:
            self.renew_token()
        response = self._question(identity, model)
        if response is None:
            self.renew_token()
            response = self._question(identity, model)
        if response is None:
            raise ProviderRefusesUs
        return response

    def _question(self, identity: Identity, model: type[BaseModel]) -> "tuple[BaseModel, str | None] | None":
        """Return the answer and the fund that gave it; None when the gate refuses the token."""
        assert self._token is not None  # noqa: S101 - ``ask`` has requested it
        with self._questions.question():
            response = self._questions.send(
                "GET",
                f"?{urlencode(_query(identity))}",
                expected=_ANSWERS,
                headers={
                    "Authorization": f"Bearer {self._token.value}",
                    "Content-Type": "application/json",
                    "X-Correlation-ID": correlation_id(),
                    "X-APIPART-FSFINAL": identity.recipient,
                },
            )
            if response.status in _REFUSED:
                return None
            fund = FUNDS.get(response.headers.get("X-APISECU-FD", "").strip())
            if response.status != _OK:
                raise _refusal(response, fund, has_period=isinstance(identity, IdentityAndPeriod))
            try:
                return model.model_validate_json(response.content), fund
            except ValidationError:
                raise ProviderInvalidResponse from None

    def renew_token(self) -> None:
        """Request a token; raise ``ProviderRefusesUs`` when the gate does not know this client."""
        client, self._read_client = self._read_client or oauth_client(), None
        credentials = f"{client.client_id}:{client.client_secret}"
        requested_at = monotonic()
        self._token = None
        with self._tokens.question():
            response = self._tokens.send(
                "POST",
                "",
                expected=_ANSWERS,
                headers={"Authorization": f"Basic {urlsafe_b64encode(credentials.encode()).decode()}"},
                body=urlencode({"grant_type": "client_credentials", "scope": client.scope}),
            )
            granted = _grant(response)
        self._token = _Token(granted.access_token, requested_at + granted.expires_in - _MARGIN)


@lru_cache(maxsize=1)
def _api_secu(benefit: str) -> _ApiSecu:
    """Return the client of a benefit: a function asks about one."""
    return _ApiSecu(benefit)


def ask[M: BaseModel](benefit: str, identity: Identity, model: type[M]) -> tuple[M, str | None]:
    """Return what API-SECU knows of a person for a benefit, and the fund that answered, if one did.

    Raise ``UnknownIdentity`` or ``IdentityRefused`` when it has a reason to give nothing, ``NotConfigured`` without an
    OAuth client, else a ``ProviderFailure``.
    """
    return _api_secu(benefit).ask(identity, model)  # type: ignore[return-value]  # of ``model``


def ping() -> None:
    """Request a token of the quotient; raise a ``ProviderFailure`` when the gate is down or refuses the client."""
    _api_secu("quotient_familial").renew_token()


def oauth_client() -> OAuthClient:
    """Read the secret; raise ``NotConfigured``, or ``InternalError`` when it cannot be read: the log has the cause."""
    try:
        return json_secret(_SECRET, settings().api_secu_secret_id, OAuthClient)
    except SecretUnavailable as error:
        log(LogEvent.INTERNAL_ERROR, provider=PROVIDER, exception=str(error))
        raise InternalError from None


def _grant(response: ProviderResponse) -> _Granted:
    if response.status in {400, *_REFUSED}:
        raise ProviderRefusesUs
    if response.status != _OK:
        raise _failure(response)
    try:
        return _Granted.model_validate_json(response.content)
    except ValidationError:
        raise ProviderInvalidResponse from None


# ── The question ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _query(identity: Identity) -> Mapping[str, str]:
    """Return the query in the gate's words, without what is unknown."""
    query = {
        "nomNaissance": transliterated(identity.nom_naissance),
        "nomUsage": transliterated(identity.nom_usage),
        "listePrenoms": transliterated(" ".join(identity.prenoms)),
        "dateNaissance": str(identity.birth),
        "codePaysNaissance": identity.pays,
        "codeLieuNaissance": identity.commune if identity.pays == FRANCE else "",
        "villeNaissance": identity.nom_commune,
        "depNaissance": identity.departement,
        "genre": identity.sexe,
    }
    if isinstance(identity, IdentityAndPeriod):
        query |= {"anneeDemandee": f"{identity.annee}", "moisDemande": f"{identity.mois:02}"}
    return {name: value for name, value in query.items() if value}


# ── The refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _refusal(response: ProviderResponse, fund: str | None, *, has_period: bool) -> ApiError:
    """Return the error that stands for a response that is not a 200."""
    code = _error_code(response)
    match response.status:
        case 404 if code in _UNKNOWN:
            return UnknownIdentity(_UNKNOWN[code])
        case 404 if fund:
            return UnknownIdentity(_ABSENT[fund], {"fresh": _of_a_fresh_month()} if fund == "CNAF" else None)
        case 400 if code in _FUND_FAILED:
            return ProviderInternalError(code)
        case 400 if code is not None:
            kind = "XX565" if has_period and code == _TOO_OLD else "XX561"
            return IdentityRefused(kind, code, _PARTS.get(code))
    return _failure(response)


def _failure(response: ProviderResponse) -> ApiError:
    """Return the error of a gate that could not serve the request."""
    match response.status:
        case 429:
            return ProviderRateLimited(retry_after=_wait(response.headers.get("Retry-After", "")))
        case 500:
            return ProviderDown(_error_code(response))
        case 502 | 503:
            return ProviderUnavailable()
        case 504:
            return ProviderUnavailable.of("timeout")
        case status if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirections
            return ProviderInternalError(None)
    return ProviderInvalidResponse()


def _error_code(response: ProviderResponse) -> int | None:
    with suppress(ValidationError):
        return _Error.model_validate_json(response.content).code
    return None


def _wait(retry_after: str) -> int:
    """Return the seconds that the gate asks to wait; a date, or a wait of hours, is not passed on."""
    if retry_after.isascii() and retry_after.isdigit() and len(retry_after) < 5:  # noqa: PLR2004 - digits of an hour
        return min(int(retry_after), _LONGEST_WAIT)
    return _RETRY_IN


def _of_a_fresh_month() -> str:
    if today().day > _FRESH_DAYS:
        return ""
    return " En début de mois, les données du mois peuvent ne pas y être encore : réessayez dans quelques jours."
