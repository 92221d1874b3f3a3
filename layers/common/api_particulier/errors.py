"""Every error a caller can get, drawn once (contract §5).

ApiError
├── AccessDenied 401          no key, or one that is unknown, disabled, expired or revoked
│   ├── BadSignature          the request is not signed, or not with the shared secret
│   └── TokenTampered         the token's item is not as the issuing code signed it
├── Forbidden 403
│   ├── InsufficientScopes    the token opens none of the dataset's fields
│   └── AddressNotAllowed     the caller's address is outside the token's ranges
├── BadRequest 400            a parameter is missing or malformed; or a CAF return code that means 400
├── NotAcceptable 406         a v1 caller accepts neither JSON nor XML
├── NotFound 404              a CAF return code that means 404
│   ├── UnknownPerson         the provider knows nobody by these numbers
│   │   ├── UnknownNotice     no such tax notice
│   │   └── UnknownFile       no such family file
│   ├── UnavailableYear       a notice older, or newer, than the years that can be had
│   └── UnknownLink           no such one-time link
├── Gone 410                  a one-time link that no longer works
│   ├── LinkOpened            it was opened before
│   └── LinkExpired           it was not opened in time, or its key no longer works
├── TooManyAttempts 429       a caller without a key tried as often as an hour allows
├── EnumerationSuspected 429  the token's questions walk through people's numbers
├── ProviderFailure           the provider of the data gave none
│   ├── ProviderRateLimited 503   it refuses the calls ("accès interdit", HTTP 403 or 429)
│   ├── ProviderUnavailable 503   unreachable, too slow, failing (HTTP 5xx)
│   │   ├── CircuitOpen       its circuit breaker is open: it is not asked
│   │   └── ProviderInMaintenance   as an operator announced: it is not asked
│   ├── ProviderError 503     it could not serve the request (a CAF return code 2xx, or an unknown one)
│   └── ProviderInvalidResponse 502   its response cannot be understood
├── NotConfigured 503         a secret that the answer needs is empty, or is not what it should be
├── AuditUnavailable 503      the audit record could not be written: no record, no data
└── InternalError 500         anything else, without its cause

An error never holds anything that a caller or a provider sent. An error raised for a library's exception is raised
``from None``: the exception of an HTTP library prints a URL, and a URL names people.

The docstring of an error that a caller can get is in French: the documentation shows it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from math import ceil
from typing import Literal, Self


class ApiError(Exception):
    """A response that is not data: its HTTP status, its code, a reason for the log, a message for people (French)."""

    status: int
    code: str
    reason: str = ""
    message: str = ""
    retry_after: int | None = None
    """Seconds, for the header of that name."""
    is_recorded: bool = True
    """False for a refusal that an audit record of the same hour counts already."""

    def __init__(
        self, reason: str | None = None, message: str | None = None, *, retry_after: int | None = None
    ) -> None:
        self.reason = reason or self.reason
        self.message = message or reason or self.message or self.reason
        self.retry_after = self.retry_after if retry_after is None else retry_after
        super().__init__(self.code)

    @property
    def body(self) -> dict[str, object]:
        return {"error": self.code, "reason": self.reason, "message": self.message}


class AccessDenied(ApiError):
    """La clé est absente, inconnue, désactivée, expirée ou révoquée."""

    status = 401
    code = "access_denied"
    reason = "Token not found or inactive"
    message = "Votre jeton d'API n'a pas été trouvé ou n'est pas actif"


class BadSignature(AccessDenied):
    """L'appel n'est pas signé, ou pas par qui partage notre secret."""

    reason = "Signature missing or wrong"
    message = "La signature de l'appel est absente ou incorrecte"


class TokenTampered(AccessDenied):
    """La clé est absente, inconnue, désactivée, expirée ou révoquée."""

    # A caller is not informed that the table was tampered with.

    def __init__(self, token_id: str) -> None:
        super().__init__()
        self.token_id = token_id


class Forbidden(ApiError):
    status = 403
    code = "forbidden"


class InsufficientScopes(Forbidden):
    """Le jeton n'ouvre aucun champ de ce jeu de données ; le fournisseur n'est pas interrogé."""

    # The sentence of the 2020 server: callers' clients have been matching it since.
    reason = "Your scopes are invalid. You are not authorized to access this resource."
    message = "Votre jeton n'ouvre aucun champ de ce jeu de données"

    def __init__(self, opening: Iterable[str] = ()) -> None:
        scopes = ", ".join(opening)
        super().__init__(None, f"{self.message}. Un de ces scopes en ouvrirait : {scopes}" if scopes else self.message)


class AddressNotAllowed(Forbidden):
    """L'appel vient d'une adresse où ce jeton ne peut pas servir."""

    reason = "Address not allowed"
    message = "Ce jeton ne peut pas être utilisé depuis cette adresse"


class BadRequest(ApiError):
    """Un paramètre, ou le corps de la requête, est absent ou mal formé ; le message dit lequel."""

    status = 400
    code = "bad_request"


class NotAcceptable(ApiError):
    """L'appelant n'accepte ni JSON ni XML."""

    status = 406
    code = "not_acceptable"
    reason = "Not Acceptable"
    message = "Les formats de réponse disponibles sont application/json et application/xml"


class NotProvable(Forbidden):
    """Le fournisseur ne peut pas vérifier que les numéros sont ceux de la personne qui les donne."""

    reason = "The provider does not check that the numbers belong to the caller"
    message = (
        "Le service interrogé ne permet pas de vérifier que ces numéros sont les vôtres. Demandez vos accès par écrit, "
        "à l'adresse de la page « Données personnelles »."
    )


class NotFound(ApiError):
    """Le fournisseur n'a rien à transmettre, et dit pourquoi."""

    status = 404
    code = "not_found"


class UnknownPerson(NotFound):
    """Le fournisseur ne connaît personne sous ces numéros."""


class UnknownNotice(UnknownPerson):
    """Aucun avis ne correspond à ces deux numéros."""

    reason = "Les paramètres fournis sont incorrects ou ne correspondent pas à un avis"


class UnknownFile(UnknownPerson):
    """Aucun dossier de la CAF ne correspond à ces deux numéros."""


class UnavailableYear(NotFound):
    """L'avis est d'une année qui n'est pas disponible ; le fournisseur n'est pas interrogé."""

    reason = "Notice of a year that cannot be had"


class UnknownLink(NotFound):
    """Ce lien n'existe pas."""

    reason = "No such link"
    message = "Ce lien n'existe pas"


class Gone(ApiError):
    status = 410
    code = "gone"


class LinkOpened(Gone):
    """Ce lien a déjà été ouvert."""

    reason = "This link was opened before"
    message = (
        "Ce lien a déjà été ouvert : il ne sert qu'une fois. Si ce n'était pas par vous, prévenez-nous sans attendre,"
        " quelqu'un d'autre a votre clé"
    )


class LinkExpired(Gone):
    """Personne n'a ouvert ce lien à temps, ou sa clé n'est plus active."""

    reason = "This link has expired"
    message = "Ce lien n'est plus valable, demandez-en un autre"


class EnumerationSuspected(ApiError):
    """Les appels du jeton parcourent des numéros qui se suivent, ou trop de numéros inconnus."""

    status = 429
    code = "rate_limited"
    reason = "The calls of this token look like an enumeration"
    message = (
        "Les appels de ce jeton ressemblent à un parcours systématique : trop de numéros se suivent, ou n'existent pas."
        " Ralentissez, et écrivez-nous s'ils sont légitimes"
    )
    retry_after = 60


class TooManyAttempts(ApiError):
    """Trop d'essais en une heure, depuis la même adresse ou pour le même numéro."""

    status = 429
    code = "rate_limited"
    reason = "Too many tries in an hour"
    message = "Trop de demandes en une heure, veuillez réessayer plus tard"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)


class ProviderFailure(ApiError):
    """The provider of the data gave none."""


class ProviderRateLimited(ProviderFailure):
    """Le fournisseur refuse nos appels pour le moment."""

    status = 503
    code = "rate_limited"
    reason = "The data provider refuses our calls for now"
    message = "Le fournisseur de données limite temporairement nos appels, veuillez réessayer plus tard"
    retry_after = 60


type Failure = Literal["unreachable", "timeout", "dns", "tls", "no_network", "internal"]
"""How a provider failed: v3 has a code for each, v1 and v2 one for all."""


class ProviderUnavailable(ProviderFailure):
    """Le fournisseur ne répond pas, ou pas à temps."""

    status = 503
    code = "network_error"
    reason = "The data provider cannot be reached"
    message = "Le fournisseur de données ne répond pas, veuillez réessayer plus tard"
    retry_after = 10
    failure: Failure = "unreachable"

    @classmethod
    def of(cls, failure: Failure) -> Self:
        """Return the error of a kind of failure."""
        error = cls()
        error.failure = failure
        return error


class CircuitOpen(ProviderUnavailable):
    """Le fournisseur n'a pas répondu ces derniers temps ; il n'est pas interrogé."""

    reason = "The data provider could not be reached, and is not asked for now"

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)


class ProviderInMaintenance(ProviderUnavailable):
    """Le fournisseur est en maintenance, annoncée ; il n'est pas interrogé."""

    def __init__(self, end: datetime, words: str) -> None:
        from api_particulier.paris_time import PARIS  # noqa: PLC0415 - 5 ms, for a maintenance only

        super().__init__(
            f"The data provider is in maintenance until {end.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "Le fournisseur de données est en maintenance jusqu'au "
            f"{end.astimezone(PARIS):%d/%m/%Y à %H:%M}, heure de Paris" + (f" : {words}" if words else ""),
            retry_after=max(1, ceil((end - datetime.now(UTC)).total_seconds())),
        )


class ProviderError(ProviderFailure):
    """Le fournisseur répond qu'il n'a pas pu traiter la demande."""

    # Without Retry-After: nothing shows whether, or when, the provider would answer otherwise.
    status = 503
    code = "data_provider_error"
    reason = "The data provider could not serve the request"
    message = "Le fournisseur de données n'a pas pu traiter la demande, veuillez réessayer plus tard"


class ProviderInvalidResponse(ProviderFailure):
    """La réponse du fournisseur ne peut pas être interprétée."""

    status = 502
    code = "invalid_response"
    reason = "The data provider's answer cannot be understood"
    message = "La réponse du fournisseur de données n'a pas pu être interprétée"


class NotConfigured(ApiError):
    """Le service n'a pas encore reçu les accès qu'il lui faut ; le fournisseur n'est pas interrogé."""

    # An operator fills a secret: minutes, or days.
    status = 503
    code = "not_configured"
    reason = "The service has not been given its access yet"
    message = "Le service n'a pas encore reçu les accès nécessaires à cet appel, veuillez réessayer plus tard"
    retry_after = 300


class AuditUnavailable(ApiError):
    """La trace de la consultation n'a pas pu être écrite : sans trace, pas de données."""

    status = 503
    code = "audit_unavailable"
    reason = "The audit entry could not be written"
    message = "La trace de la consultation n'a pas pu être enregistrée, aucune donnée n'est transmise"
    retry_after = 10


class AccessesUnavailable(ApiError):
    """Le journal des consultations ne peut pas être lu en entier ; une partie n'en est jamais donnée pour le tout."""

    status = 503
    code = "audit_unavailable"
    reason = "The access log cannot be read whole"
    message = "Le journal des consultations ne peut pas être lu en entier pour le moment, veuillez réessayer plus tard"
    retry_after = 3600


class InternalError(ApiError):
    """Une erreur de notre côté, dont la cause n'est pas dite."""

    status = 500
    code = "internal_server_error"
    reason = "Internal error"
    message = "Une erreur interne s'est produite, veuillez réessayer"
