"""The errors of v3 in the form of JSON:API, and the catalogue of their codes.

A code is five digits: two for the side that decided (``00`` for this API, before any provider was asked), three for the
reason. A code that begins with ``XX`` is the provider's of the route: 35 for the quotient, 36 for the other benefits.

A ``ServiceRefusal`` is known to v3 alone; ``in_v3`` writes every other error of the API in this form. No text here, and
no member of a response, holds anything that a caller or a provider sent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from api_particulier.errors import (
    AccessDenied,
    AddressNotAllowed,
    ApiError,
    AuditUnavailable,
    BadRequest,
    EnumerationSuspected,
    Failure,
    InsufficientScopes,
    NotConfigured,
    ProviderError,
    ProviderFailure,
    ProviderInMaintenance,
    ProviderInvalidResponse,
    ProviderRateLimited,
    ProviderUnavailable,
    UnknownPerson,
)

MEDIA_TYPE: Final = "application/vnd.api+json"
_OF_PARAMETER: Final = "Entité non traitable"


@dataclass(frozen=True)
class Kind:
    """One code of the catalogue."""

    code: str
    """With ``XX`` in the place of the provider's two digits."""
    status: int
    title: str
    detail: str
    """In French; ``{…}`` is filled with words of this API."""
    when: str
    """When it is answered, in French, for the documentation."""
    parameter: str | None = None
    """The parameter, or the token, that it is about."""
    provider: str | None = None
    """That of ``meta``, where the route does not decide it."""
    retry_in: int | None = None
    """Seconds."""


_DATE: Final = "une date réelle, du 01/01/1900 à hier ; chaque partie peut manquer"
_LETTERS: Final = "des lettres, apostrophes, traits d'union et espaces, 100 caractères au plus"
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        kind.code: kind
        for kind in (
            Kind("00401", 400, "Mauvaise requête", "La requête ne peut pas être lue : ses paramètres sont mal encodés.",
                 "La requête ne peut pas être décodée."),
            Kind("00101", 401, "Interdit", "Votre jeton est absent ou n'est pas valide.",
                 "Le jeton est absent ou inconnu, ou deux jetons différents sont donnés.", "token"),
            Kind("00103", 401, "Jeton expiré",
                 "Votre jeton a expiré : renouvelez-le depuis votre habilitation, sur datapass.api.gouv.fr.",
                 "Le jeton a expiré.", "token"),
            Kind("00105", 401, "Jeton sur liste noire",
                 "Votre jeton a été retiré : le jeton valide est dans votre habilitation, sur datapass.api.gouv.fr.",
                 "Le jeton est révoqué ou suspendu.", "token"),
            Kind("00100", 403, "Privilèges insuffisants",
                 "Votre jeton est valide, mais n'ouvre aucune de ces données. Listez ses scopes sur /api/introspect.",
                 "Le jeton n'a aucun scope de la route ; rien d'autre n'est lu.", "token"),
            Kind("00107", 403, "Adresse IP non autorisée", "Ce jeton ne peut pas être utilisé depuis cette adresse.",
                 "L'appel vient d'une adresse où ce jeton ne peut pas servir."),
            Kind("00213", 403, "Accès refusé",
                 "Le destinataire des données (recipient) n'est pas couvert par l'habilitation de ce jeton.",
                 "Le SIRET du destinataire est celui d'un autre organisme que celui du jeton.", "recipient"),
            Kind("00404", 404, "Adresse inconnue", "Cette adresse n'existe pas.", "Ni route, ni méthode."),
            Kind("00203", 422, _OF_PARAMETER,
                 "Le paramètre recipient est obligatoire : le SIRET de l'organisme qui reçoit les données.",
                 "Le destinataire est absent.", "recipient"),
            Kind("00210", 422, _OF_PARAMETER, "Le paramètre recipient n'est pas un SIRET valide (14 chiffres).",
                 "Le destinataire est mal formé.", "recipient"),
            Kind("00356", 422, _OF_PARAMETER,
                 "Le paramètre annee est une année de 4 chiffres : celle-ci ou l'une des deux précédentes.",
                 "L'année du quotient est mal formée ou trop ancienne.", "annee"),
            Kind("00354", 422, _OF_PARAMETER,
                 "Le paramètre mois est un mois de 1 à 12 ; avec l'année, il n'est pas dans le futur.",
                 "Le mois du quotient est mal formé ou à venir.", "mois"),
            Kind("00355", 422, _OF_PARAMETER,
                 "Les paramètres annee et mois, ensemble, sont le mois en cours ou l'un des 23 précédents.",
                 "La période du quotient est trop ancienne.", "annee"),
            Kind("00427", 422, _OF_PARAMETER, "Le paramètre sexeEtatCivil est M ou F.",
                 "Le sexe est mal formé.", "sexeEtatCivil"),
            Kind("00365", 422, _OF_PARAMETER,
                 "Le paramètre codeCogInseeCommuneNaissance est un code INSEE de commune, de 5 caractères.",
                 "Le code de la commune de naissance est mal formé.", "codeCogInseeCommuneNaissance"),
            Kind("00428", 422, _OF_PARAMETER,
                 "Le paramètre codeCogInseeDepartementNaissance est un département : de 01 à 95, 2A, 2B, de 971 à 974"
                 " ou 976 ; le nom de la commune a 100 caractères au plus.",
                 "La commune de naissance, par son nom et son département, est mal formée.",
                 "codeCogInseeDepartementNaissance"),
            Kind("00422", 422, _OF_PARAMETER,
                 "Le paramètre anneeDateNaissance est une année de 4 chiffres, de 1900 à cette année.",
                 "L'année de naissance, avec le nom de la commune, est mal formée.", "anneeDateNaissance"),
            Kind("00400", 422, _OF_PARAMETER,
                 "Le paramètre codeCogInseePaysNaissance est obligatoire : un code INSEE de pays, de 5 chiffres, qui"
                 " commence par 99 (99100 pour la France), ou 92352.",
                 "Le code du pays de naissance est absent ou mal formé.", "codeCogInseePaysNaissance"),
            Kind("00363", 422, _OF_PARAMETER,
                 f"Les paramètres anneeDateNaissance, moisDateNaissance et jourDateNaissance sont {_DATE}.",
                 "La date de naissance, ou l'une de ses parties, n'en est pas une.", "anneeDateNaissance"),
            Kind("00367", 422, _OF_PARAMETER,
                 f"Le paramètre prenoms[] est répété pour chaque prénom, avec ses crochets ; chacun est {_LETTERS}.",
                 "Les prénoms sont mal formés, ou donnés sans crochets.", "prenoms"),
            Kind("00420", 422, _OF_PARAMETER, f"Le paramètre nomNaissance est obligatoire : {_LETTERS}.",
                 "Le nom de naissance est absent ou mal formé.", "nomNaissance"),
            Kind("00431", 422, _OF_PARAMETER, f"Le paramètre nomUsage est {_LETTERS}.",
                 "Le nom d'usage est mal formé.", "nomUsage"),
            Kind("00429", 429, "Trop de requêtes", "Vous avez fait trop de requêtes : ralentissez, puis réessayez.",
                 "Plus de 20 appels en une seconde, ou des appels qui ressemblent à un parcours de personnes.",
                 retry_in=1),
            Kind("00500", 500, "Erreur interne", "Une erreur interne s'est produite, veuillez réessayer.",
                 "Une erreur imprévue, dont la cause n'est pas dite."),
            Kind("00501", 502, "Erreur réseau", "Notre service n'a pas de réseau ; c'est souvent passager.",
                 "Le réseau manque de notre côté.", retry_in=10),
            Kind("00510", 503, "Trace indisponible",
                 "La trace de la consultation n'a pas pu être enregistrée, aucune donnée n'est transmise ; réessayez"
                 " plus tard.", "La trace n'a pas pu être écrite : sans trace, pas de données.", retry_in=10),
            Kind("XX560", 422, "Identité non reconnue par le fournisseur de données",
                 "Aucune personne connue n'a cette identité : vérifiez-la. Le nom de naissance, l'année et le lieu de"
                 " naissance comptent le plus.", "L'identité ne désigne pas une personne, et une seule."),
            Kind("XX561", 422, "Paramètres de civilité refusés par le fournisseur de données",
                 "Le fournisseur de données refuse cette identité{part}.",
                 "Le fournisseur refuse l'identité ; provider_error_code dit pourquoi."),
            Kind("XX565", 422, "Période refusée par le fournisseur de données",
                 "Le fournisseur de données refuse cette période : elle est trop ancienne.",
                 "Le fournisseur ne remonte pas jusqu'à cette période."),
            Kind("35003", 404, "Allocataire non référencé",
                 "La personne est identifiée, et n'est rattachée à aucune caisse qui donne ce droit.",
                 "Aucune caisse n'est connue pour cette personne.", provider="CNAF & MSA"),
            Kind("23003", 404, "Dossier allocataire absent CNAF",
                 "La personne est identifiée, et n'a pas de dossier à la CNAF.{fresh}",
                 "La CNAF n'a pas de dossier de cette personne.", provider="CNAF"),
            Kind("10003", 404, "Dossier allocataire absent MSA",
                 "La personne est identifiée, et n'a pas de dossier à la MSA.",
                 "La MSA n'a pas de dossier de cette personne.", provider="MSA"),
            Kind("40003", 404, "Dossier allocataire absent RNCPS",
                 "La personne est identifiée, et n'a pas de dossier au RNCPS.",
                 "Le RNCPS n'a pas de dossier de cette personne.", provider="RNCPS"),
            Kind("37003", 404, "Allocataire non éligible",
                 "Le dossier existe, et n'ouvre pas droit à cette donnée : aucun enfant n'a moins de 7 ans.",
                 "Aucun enfant du dossier n'a moins de 7 ans.", provider="CNAV"),
            Kind("XX000", 502, "Erreur interne du fournisseur de données",
                 "Le fournisseur de données a rencontré une erreur interne.",
                 "Le fournisseur, ou la caisse qu'il interroge, est en erreur."),
            Kind("XX001", 502, "Service non disponible",
                 "Le fournisseur de données est indisponible ou en maintenance, veuillez réessayer plus tard.",
                 "Le fournisseur ne peut pas être joint, ou n'est plus interrogé pour un moment.", retry_in=10),
            Kind("XX004", 502, "Erreur de résolution DNS",
                 "L'adresse du fournisseur de données n'a pas pu être résolue.", "Le nom du fournisseur est inconnu."),
            Kind("XX006", 502, "Erreur d'authentification auprès du fournisseur de données",
                 "Le fournisseur de données ne nous reconnaît pas ; l'équipe du service est prévenue.",
                 "Le fournisseur refuse nos identifiants, ou nous n'en avons pas encore."),
            Kind("XX008", 502, "Erreur auprès du fournisseur de données : trop de requêtes",
                 "Le fournisseur de données limite nos appels, veuillez réessayer plus tard.",
                 "Le fournisseur limite nos appels.", retry_in=60),
            Kind("XX009", 502, "Erreur de connexion sécurisée (TLS) avec le fournisseur de données",
                 "La connexion sécurisée avec le fournisseur de données n'a pas pu être établie.",
                 "Le fournisseur ne prouve pas qui il est."),
            Kind("XX999", 502, "Erreur inconnue du fournisseur de données",
                 "La réponse du fournisseur de données n'a pas pu être interprétée ; l'équipe en est prévenue.",
                 "La réponse du fournisseur n'est pas comprise."),
            Kind("XX020", 503, "Maintenance du fournisseur de données", "{maintenance}.",
                 "Une maintenance annoncée est en cours.", retry_in=3600),
            Kind("XX002", 504, "Intermédiaire hors-délai", "Le fournisseur de données n'a pas répondu à temps.",
                 "Le fournisseur, ou le service, ne répond pas à temps."),
        )
    }
)  # fmt: skip
"""Every code of v3, in the order of the documentation."""

PREFIXES: Final = {"dss_quotient_familial": ("35", "CNAF & MSA")}
"""The first two digits of a dataset's codes, and the provider that they name."""
_PREFIX: Final = ("36", "Sécurité sociale")


def kinds_of(dataset: str) -> Iterator[Kind]:
    """Yield the codes that a route of a dataset can answer."""
    refused_period = {"00354", "00355", "00356", "XX565"}
    for kind in KINDS.values():
        if kind.code in refused_period and dataset != "dss_quotient_familial":
            continue
        if kind.code == "37003" and dataset != "dss_participation_familiale_eaje":
            continue
        if kind.code != "00404":  # no route answers that
            yield kind


def code_of(kind: Kind, dataset: str) -> str:
    """Return the five digits of a kind for a dataset."""
    return kind.code.replace("XX", PREFIXES.get(dataset, _PREFIX)[0])


@dataclass(frozen=True)
class Refusal:
    """One object of ``errors``: its kind, and what it says besides."""

    kind: str
    parameter: str | None = None
    """In place of the kind's own."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What fills the detail."""
    provider_error_code: int | None = None
    retry_in: int | None = None

    def to_object(self, dataset: str) -> dict[str, Any]:
        """Write the object as JSON:API has it."""
        kind = KINDS[self.kind]
        meta: dict[str, Any] = {}
        if provider := kind.provider or (PREFIXES.get(dataset, _PREFIX)[1] if kind.code.startswith("XX") else None):
            meta["provider"] = provider
        if self.provider_error_code is not None:
            meta["provider_error_code"] = self.provider_error_code
        if self.retry_in is not None:
            meta["retry_in"] = self.retry_in
        detail = kind.detail.format_map({"part": "", "fresh": "", "maintenance": "Maintenance annoncée", **self.words})
        written: dict[str, Any] = {"code": code_of(kind, dataset), "title": kind.title, "detail": detail}
        if kind.code == "00107":
            written |= {"source": {"header": "X-Forwarded-For"}}
        elif parameter := self.parameter or kind.parameter:
            written |= {"source": {"parameter": parameter}}
        return written | {"meta": meta}


class V3Error(ApiError):
    """A response of v3 that is not data: one refusal or several, of one status."""

    def __init__(self, dataset: str, *refusals: Refusal) -> None:
        self.objects = [refusal.to_object(dataset) for refusal in refusals]
        first = KINDS[refusals[0].kind]
        self.status, self.code = first.status, code_of(first, dataset)
        self.retry_after = refusals[0].retry_in
        super().__init__(first.title)

    @property
    def body(self) -> dict[str, object]:
        return {"errors": self.objects}


# ── Errors that only v3 has ──────────────────────────────────────────────────────────────────────────────────────────


class InvalidRequest(BadRequest):
    """Des paramètres sont refusés, chacun avec sa raison."""

    def __init__(self, *refusals: Refusal) -> None:
        super().__init__()
        self.refusals = refusals


class UnknownIdentity(UnknownPerson):
    """L'identité ne désigne personne, ou personne qui ait un dossier."""

    def __init__(self, kind: str, words: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.refusal = Refusal(kind, words=words or {})


class NotEligible(ApiError):
    """Le dossier n'ouvre pas droit à la donnée."""

    status = 404
    code = "not_found"


class IdentityRefused(BadRequest):
    """Le fournisseur refuse l'identité ou la période."""

    def __init__(self, kind: str, provider_error_code: int, part: str | None) -> None:
        super().__init__()
        self.refusal = Refusal(
            kind, words={"part": f" : {part}"} if part else {}, provider_error_code=provider_error_code
        )


class ProviderInternalError(ProviderError):
    """Une caisse derrière le fournisseur est en erreur."""

    def __init__(self, provider_error_code: int | None) -> None:
        super().__init__()
        self.provider_error_code = provider_error_code


class ProviderDown(ProviderUnavailable):
    """Le fournisseur répond par une erreur interne."""

    def __init__(self, provider_error_code: int | None) -> None:
        super().__init__()
        self.failure: Failure = "internal"
        self.provider_error_code = provider_error_code


class ProviderRefusesUs(ProviderFailure):
    """Le fournisseur refuse nos identifiants, ou nous n'en avons pas."""

    status = 503
    code = "data_provider_error"
    reason = "The data provider refuses our client"


class ExpiredToken(AccessDenied):
    """Le jeton a expiré."""


class WithdrawnToken(AccessDenied):
    """Le jeton est révoqué ou suspendu."""


# ── Every error in the form of v3 ────────────────────────────────────────────────────────────────────────────────────

_OF_FAILURE: Final[Mapping[Failure, str]] = {
    "unreachable": "XX001",
    "timeout": "XX002",
    "dns": "XX004",
    "tls": "XX009",
    "no_network": "00501",
    "internal": "XX000",
}
_OF_ERROR: Final[tuple[tuple[type[ApiError], str], ...]] = (
    (ExpiredToken, "00103"),
    (WithdrawnToken, "00105"),
    (AccessDenied, "00101"),
    (InsufficientScopes, "00100"),
    (AddressNotAllowed, "00107"),
    (EnumerationSuspected, "00429"),
    (AuditUnavailable, "00510"),
    (NotEligible, "37003"),
    (ProviderRefusesUs, "XX006"),
    (NotConfigured, "XX006"),
    (ProviderRateLimited, "XX008"),
    (ProviderError, "XX000"),
    (ProviderInvalidResponse, "XX999"),
    (BadRequest, "00401"),
)


def in_v3(error: ApiError, dataset: str) -> V3Error:
    """Return an error of the API as v3 answers it on a route of ``dataset``."""
    match error:
        case InvalidRequest():
            return V3Error(dataset, *error.refusals)
        case UnknownIdentity() | IdentityRefused():
            return V3Error(dataset, error.refusal)
        case ProviderInMaintenance():
            return V3Error(dataset, Refusal("XX020", words={"maintenance": error.message}, retry_in=error.retry_after))
        case ProviderUnavailable():
            kind = _OF_FAILURE[error.failure]
        case _:
            kind = next((code for known, code in _OF_ERROR if isinstance(error, known)), "00500")
    has_retry = KINDS[kind].retry_in is not None
    provider_error_code = getattr(error, "provider_error_code", None)
    return V3Error(
        dataset,
        Refusal(
            kind,
            provider_error_code=provider_error_code,
            retry_in=(error.retry_after or KINDS[kind].retry_in) if has_retry else None,
        ),
    )
