"""A token opens fields, not routes (contract §4).

A field says the scope that opens it where it is declared::

    nombreParts: Annotated[float, OpenedBy("dgfip_nombre_parts")]

and a ``Partial`` of such fields is what a route may answer. Everything about scopes - who is refused, what is kept,
what the audit lists, what the documentation says - follows from these declarations.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema

type ProviderData = dict[str, object]
"""What a provider said, by the API's field names. A field that the provider does not show is absent."""


class _Empty:
    """The type of ``BLANK``."""

    def __repr__(self) -> str:
        return "BLANK"


EMPTY: Final = _Empty()
"""In a ``Document``, a field that the provider shows without a value: ``null`` in v2, absent in v1 (contract §3.2)."""


@dataclass(frozen=True)
class Scope:
    """The scope that opens a field, and all that is inside it."""

    scope: str

    def __get_pydantic_json_schema__(self, schema: "CoreSchema", handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        """Say the scope in the documentation too."""
        return handler(schema) | {"x-scope": self.scope}


def _nothing_required(schema: dict[str, Any]) -> None:
    schema.pop("required", None)


class DatasetModel(BaseModel):
    """An object of which any field may be absent: the token does not open it, or the provider does not show it."""

    model_config = ConfigDict(json_schema_extra=_nothing_required)


BUNDLES: Final[Mapping[str, tuple[str, ...]]] = {
    # Those of 2020, still accepted. A name that ends with "_" stands for every scope that begins so.
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
    """Tell whether ``granted`` scopes, bundles included, give ``scope``."""
    return any(
        scope == given
        or any(scope == one or (one.endswith("_") and scope.startswith(one)) for one in BUNDLES.get(given, ()))
        for given in granted
    )


def includes(granted: Iterable[str], scope: str) -> bool:
    """Tell whether ``granted`` scopes give all that ``scope``, a bundle perhaps, gives."""
    given = frozenset(granted)
    return scope in given or all(is_granted(one, given) for one in BUNDLES.get(scope, (scope,)))


def fields_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield each field of ``model`` as (its dotted path, the scope that opens it), in the order of the answer.

    ``TypeError`` for a field that says no scope: nothing is open by omission.
    """
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        scope = next((mark.scope for mark in field.metadata if isinstance(mark, Scope)), None)
        if scope is not None:
            yield path, scope
        elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from fields_of(field.annotation, f"{path}.")
        else:
            msg = f"{model.__name__}.{name} says no scope"
            raise TypeError(msg)


@lru_cache(maxsize=256)
def allowed_fields(model: type[BaseModel], granted: frozenset[str]) -> frozenset[str]:
    """Return the dotted paths of the fields of ``model`` that ``granted`` scopes open."""
    return frozenset(path for path, scope in fields_of(model) if is_granted(scope, granted))


@dataclass(frozen=True)
class MaskedData:
    """What of a document leaves: the answer's body, and the paths that the audit lists."""

    body: dict[str, object]
    released: list[str]
    withheld: list[str]


def mask(document: ProviderData, model: type[BaseModel], opened: frozenset[str], *, keep_blank: bool) -> MaskedData:
    """Keep of ``document`` the opened fields of ``model``, in the model's order.

    ``keep_blank`` makes a field without a value ``null`` (v2); else it is absent (v1). A field that is not opened is
    always absent, and so is an object of which nothing is left.
    """
    selection = MaskedData({}, [], [])
    for path, parents, leaf in _steps(model):
        source: object = document
        for parent in parents:
            source = source.get(parent) if isinstance(source, dict) else None
        if not isinstance(source, dict) or leaf not in source:
            continue
        if path not in opened:
            selection.withheld.append(path)
            continue
        value = source[leaf]
        if value is EMPTY and not keep_blank:
            continue
        target = selection.body
        for parent in parents:
            target = target.setdefault(parent, {})  # type: ignore[assignment]  # the models nest objects only
        target[leaf] = None if value is EMPTY else value
        selection.released.append(path)
    return selection


@lru_cache(maxsize=64)
def _steps(model: type[BaseModel]) -> tuple[tuple[str, list[str], str], ...]:
    """Return each field's path, whole and as the objects that it goes through and its name in the last."""
    return tuple((path, path.split(".")[:-1], path.split(".")[-1]) for path, _ in fields_of(model))
