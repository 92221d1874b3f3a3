"""The routes of v3 in the OpenAPI document: identities as parameters, JSON:API, a code for every refusal."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, Field

from api_particulier.api.dataset import Dataset
from api_particulier.api.identity import IdentityAndPeriod
from api_particulier.api.parameters import Parameters
from api_particulier.scopes import fields_of
from api_particulier.v3_errors import MEDIA_TYPE, Kind, Refusal, code_of, kinds_of
from release.openapi.examples import examples
from release.openapi.refusals import headers

type Object = dict[str, Any]

BEARER: Final = "Bearer"
SCHEME: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "La même clé, dans l'en-tête `Authorization: Bearer`, pour la v3 et pour /api/introspect",
}
HEADERS: Final = {
    "RateLimit-Remaining": ("Appels qui restent, au plus, dans la seconde", {"type": "string"}, False),
    "RateLimit-Reset": ("Fin de la seconde, en temps Unix ; absent d'un 429", {"type": "string"}, False),
    "X-Response-Cached": ("`false` : rien n'est gardé", {"type": "string", "enum": ["false"]}, False),
    "X-Cache-Expires-in": ("Vide : rien n'est gardé", {"type": "string"}, False),
}
_EVERY_ANSWER: Final = ("X-Request-Id", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_NAME: Final = r"^[A-Za-zÀ-ÖØ-öø-ÿŒœŸ'’ \-]{1,100}$"
_PERIOD: Final = (
    ("annee", "Année du quotient : celle-ci ou l'une des deux précédentes ; par défaut, celle-ci.", r"^[0-9]{4}$"),
    ("mois", "Mois du quotient, de 1 à 12 : le mois en cours ou l'un des 23 précédents.", r"^(0?[1-9]|1[0-2])$"),
)
_IDENTITY: Final = (
    ("sexeEtatCivil", "Sexe : M ou F.", r"^[MFmf]$"),
    (
        "codeCogInseeCommuneNaissance",
        "Code INSEE de la commune de naissance, pour une naissance en France : facultatif, et vivement conseillé.",
        r"^([013-9][0-9]|2[AB1-9])[0-9]{3}$",
    ),
    (
        "nomCommuneNaissance",
        "À la place du code : le nom de la commune, avec le département et l'année de naissance.",
        r"^.{1,100}$",
    ),
    (
        "codeCogInseeDepartementNaissance",
        "Département de la commune de naissance, avec son nom.",
        r"^(0[1-9]|[1-8][0-9]|9[0-5]|2[AB]|97[1-46])$",
    ),
    (
        "codeCogInseePaysNaissance",
        "Code INSEE du pays de naissance ; la France est 99100.",
        r"^(99[0-9]{3}|92352)$",
    ),
    ("anneeDateNaissance", "Année de naissance, de 1900 à cette année.", r"^[0-9]{4}$"),
    ("moisDateNaissance", "Mois de naissance, de 1 à 12.", r"^(0?[1-9]|1[0-2])$"),
    ("jourDateNaissance", "Jour de naissance, de 1 à 31.", r"^(0?[1-9]|[12][0-9]|3[01])$"),
    ("prenoms[]", "Un prénom, et le paramètre répété pour chacun des suivants.", _NAME),
    ("nomNaissance", "Nom de naissance.", _NAME),
    ("nomUsage", "Nom d'usage.", _NAME),
)
_REQUIRED: Final = {"recipient", "codeCogInseePaysNaissance", "nomNaissance"}


class Source(BaseModel):
    """Ce sur quoi porte une erreur."""

    parameter: str | None = Field(None, description="Le paramètre, ou `token`")
    header: str | None = Field(None, description="L'en-tête")


class Meta(BaseModel):
    """Ce qui accompagne une erreur."""

    provider: str | None = Field(None, description="Le fournisseur dont vient l'erreur")
    provider_error_code: int | None = Field(None, description="Son propre code")
    retry_in: int | None = Field(None, description="Secondes après lesquelles réessayer, comme `Retry-After`")


class ObjetErreur(BaseModel):
    """Une erreur de la v3."""

    code: str = Field(description="Cinq chiffres ; le catalogue est à /api/errors")
    title: str = Field(description="Titre")
    detail: str = Field(description="Explication, pour une personne")
    source: Source | None = Field(None, description="Absent quand l'erreur ne porte sur rien de précis")
    meta: Meta


class Erreurs(BaseModel):
    """Une réponse de la v3 qui n'est pas une donnée : une erreur, ou une pour chaque paramètre refusé."""

    errors: list[ObjetErreur]


def of_dataset(dataset: Dataset[Parameters], path: str, schemas: Any, tag: str) -> Object:
    """Return the operation of a benefit."""
    model, benefit = dataset.routes[path], dataset.name.removeprefix("dss_")
    scopes = ", ".join(f"`{scope}`" for scope in dict.fromkeys(scope for _, scope in fields_of(model)))
    return {
        "tags": [tag],
        "summary": (model.__doc__ or "").splitlines()[0],
        "description": f"Scopes dont chacun ouvre des champs de cette réponse : {scopes}.",
        "operationId": f"api_particulier_v3_cnav_{benefit}_with_civility",
        "parameters": [*_parameters(has_period=dataset.parameters is IdentityAndPeriod), _USER],
        "responses": {"200": _success(schemas.of(model), path), **_refusals(dataset.name, schemas)},
        "security": [{BEARER: []}, {"X-API-Key": []}],
    }


_USER: Final = {
    "description": "L'agent qui consulte, tel que l'administration le nomme : il est gardé dans la trace.",
    "required": False,
    "schema": {"type": "string"},
    "name": "x-user",
    "in": "header",
}


def _parameters(*, has_period: bool) -> Iterator[Object]:
    recipient = ("recipient", "SIRET de l'organisme qui reçoit les données : celui du jeton.", r"^[0-9]{14}$")
    for name, description, pattern in (recipient, *(_PERIOD if has_period else ()), *_IDENTITY):
        is_list = name.endswith("[]")
        text = {"type": "string", "pattern": pattern}
        given = examples()["identity"].get(name)
        parameter: Object = {
            "description": description,
            "required": name in _REQUIRED,
            "schema": {"type": "array", "items": text} if is_list else text,
        }
        if given and given[0]:
            parameter["examples"] = {"bac à sable": {"value": given if is_list else given[0]}}
        yield parameter | {"name": name, "in": "query"}


def _success(data: Object, path: str) -> Object:
    empty = {"type": "object", "additionalProperties": False}
    schema = {
        "type": "object",
        "properties": {"data": data, "links": empty, "meta": empty},
        "required": ["data", "links", "meta"],
    }
    body = {"data": examples()["responses"][path], "links": {}, "meta": {}}
    return {
        "description": "La réponse",
        "headers": headers(*_EVERY_ANSWER, "X-Response-Cached", "X-Cache-Expires-in"),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": {"exemple": {"value": body}}}},
    }


def _refusals(dataset: str, schemas: Any) -> dict[str, Object]:
    by_status: dict[int, list[Kind]] = {}
    for kind in kinds_of(dataset):
        by_status.setdefault(kind.status, []).append(kind)
    schema = schemas.of(Erreurs)
    return {f"{status}": _refusal(kinds, dataset, schema) for status, kinds in sorted(by_status.items())}


def _refusal(kinds: list[Kind], dataset: str, schema: Object) -> Object:
    codes = " ou ".join(f"`{code_of(kind, dataset)}`" for kind in kinds)
    whens = "\n".join(f"- `{code_of(kind, dataset)}` : {kind.when}" for kind in kinds)
    retry_after = ["Retry-After"] if any(kind.retry_in for kind in kinds) else []
    return {
        "description": f"{codes}\n\n{whens}",
        "headers": headers(*_EVERY_ANSWER, *retry_after),
        "content": {MEDIA_TYPE: {"schema": schema, "examples": dict(_example(kind, dataset) for kind in kinds)}},
    }


def _example(kind: Kind, dataset: str) -> tuple[str, Mapping[str, object]]:
    body = {"errors": [Refusal(kind.code, retry_in=kind.retry_in).to_object(dataset)]}
    return code_of(kind, dataset), {"summary": kind.when, "value": body}
