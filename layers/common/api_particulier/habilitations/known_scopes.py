"""The scopes that open a field of the API: an approval grants no others."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

from pydantic import BaseModel

from api_particulier.providers import caf_fields, dgfip_fields, dss_fields
from api_particulier.scopes import BUNDLES, Scope, is_granted


@lru_cache(maxsize=1)
def known_scopes() -> frozenset[str]:
    """Return the scopes of the fields that the providers' modules declare, and the bundles of them."""
    declared = [*vars(dgfip_fields).values(), *vars(caf_fields).values(), *vars(dss_fields).values()]
    return frozenset(scope for value in declared for scope in _scopes_of(value)) | frozenset(BUNDLES)


def expanded(granted: Iterable[str]) -> frozenset[str]:
    """Return the granted scopes, and those of the fields that their bundles open."""
    names = frozenset(granted)
    return names | frozenset(scope for scope in known_scopes() - BUNDLES.keys() if is_granted(scope, names))


def _scopes_of(value: object) -> Iterator[str]:
    """Yield the scopes that an annotated type, or the fields of a model, declare."""
    metadata: list[object] = list(getattr(value, "__metadata__", ()))
    if isinstance(value, type) and issubclass(value, BaseModel):
        metadata += [mark for field in value.model_fields.values() for mark in field.metadata]
    yield from (mark.name for mark in metadata if isinstance(mark, Scope))
