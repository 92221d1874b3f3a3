"""A token opens fields, not routes (contract §4).

A field names the scope that opens it where it is declared::

    nombreParts: Annotated[float, Scope("dgfip_nombre_parts")]

and a ``DatasetModel`` of such fields is what a route may answer. All that depends on scopes - refusals, the fields
that are released, the audit's lists, the documentation - follows from these declarations.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

from api_particulier.errors import ProviderInvalidResponse

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

type ProviderData = dict[str, object]
"""A provider's data, by the API's field names. A field that the provider does not show is absent."""
type Fetched = tuple[ProviderData, list[str]]
"""The provider's data, and what is missing or odd in it, in words of the project: the audit record keeps these."""


class _Empty:
    """The type of ``EMPTY``."""

    def __repr__(self) -> str:
        return "EMPTY"


EMPTY: Final = _Empty()
"""A field that the provider shows without a value: ``null`` in v2, absent in v1 (contract §3.2)."""


class _Unreadable:
    """The type of ``UNREADABLE``."""

    def __repr__(self) -> str:
        return "UNREADABLE"


UNREADABLE: Final = _Unreadable()
"""A field whose value cannot be understood: it fails the response of a token that opens it, and of no other."""


@dataclass(frozen=True)
class Scope:
    """The scope that opens a field, and all that is inside it."""

    name: str

    def __get_pydantic_json_schema__(self, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        """Add the scope to the documentation."""
        return handler(schema) | {"x-scope": self.name}


def _require_nothing(schema: dict[str, Any]) -> None:
    schema.pop("required", None)


class DatasetModel(BaseModel):
    """An object of which any field may be absent: the token does not open it, or the provider does not show it."""

    model_config = ConfigDict(json_schema_extra=_require_nothing)


BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    # Those of 2020, still accepted. A name that ends with "_" stands for every scope that begins with it.
    "dgfip_avis_imposition": ("dgfip_",),
    "dgfip_adresse": (
        "dgfip_declarant1_",
        "dgfip_declarant2_",
        "dgfip_adresse_fiscale_",
        "dgfip_annee_impot",
        "dgfip_annee_revenus",
        "dgfip_erreur_correctif",
        "dgfip_situation_partielle",
    ),
    "cnaf_attestation_droits": ("cnaf_",),
}


def is_granted(scope: str, granted: Iterable[str]) -> bool:
    """Return whether ``granted`` scopes, bundles included, open what ``scope`` opens."""
    return any(scope == name or any(_stands_for(part, scope) for part in BUNDLES.get(name, ())) for name in granted)


def _stands_for(part: str, scope: str) -> bool:
    return scope == part or (part.endswith("_") and scope.startswith(part))


def includes(granted: Iterable[str], scope: str) -> bool:
    """Return whether ``granted`` scopes open all that ``scope``, perhaps a bundle, opens."""
    names = frozenset(granted)
    return scope in names or all(is_granted(part, names) for part in BUNDLES.get(scope, (scope,)))


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field of ``model`` as (its dotted path, the scope that opens it), in the order of the response.

    Raise ``TypeError`` for a field without a scope: nothing is open by omission.
    """
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        scope = next((mark.name for mark in field.metadata if isinstance(mark, Scope)), None)
        if scope is not None:
            yield path, scope
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{path}.")
        else:
            msg = f"{model.__name__}.{name} has no scope"
            raise TypeError(msg)


def scopes_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the scopes that open a field of ``model``, in the order of the response."""
    return tuple(dict.fromkeys(scope for _, scope in fields_of(model)))


@lru_cache(maxsize=256)
def allowed_fields(model: type[BaseModel], granted: frozenset[str]) -> frozenset[str]:
    """Return the dotted paths of the fields of ``model`` that ``granted`` scopes open."""
    return frozenset(path for path, scope in fields_of(model) if is_granted(scope, granted))


@dataclass(frozen=True)
class MaskedData:
    """The data that a response releases, and the paths that the audit lists."""

    body: dict[str, object]
    released: list[str]
    withheld: list[str]


def mask(data: ProviderData, model: type[BaseModel], fields: frozenset[str], *, keep_empty: bool) -> MaskedData:
    """Keep the allowed ``fields`` of a provider's data, in the order of ``model``.

    With ``keep_empty`` a field without a value is ``null`` (v2), else it is absent (v1). A field that is not allowed is
    always absent, and so is an object of which nothing is left. Raise ``ProviderInvalidResponse`` for an allowed field
    that is ``UNREADABLE``.
    """
    masked = MaskedData({}, [], [])
    for path, parents, leaf in _steps(model):
        source: object = data
        for parent in parents:
            source = source.get(parent) if isinstance(source, dict) else None
        if not isinstance(source, dict) or leaf not in source:
            continue
        if path not in fields:
            masked.withheld.append(path)
            continue
        value = source[leaf]
        if value is UNREADABLE:
            raise ProviderInvalidResponse
        if value is EMPTY and not keep_empty:
            continue
        target = masked.body
        for parent in parents:
            target = target.setdefault(parent, {})  # type: ignore[assignment]  # the models nest objects only
        target[leaf] = None if value is EMPTY else value
        masked.released.append(path)
    return masked


@lru_cache(maxsize=64)
def _steps(model: type[BaseModel]) -> tuple[tuple[str, list[str], str], ...]:
    """Return each field as its path, the objects that it is in, and its name in the last of them."""
    return tuple((path, path.split(".")[:-1], path.split(".")[-1]) for path, _ in fields_of(model))
