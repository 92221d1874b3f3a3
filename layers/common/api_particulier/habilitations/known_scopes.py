"""The scopes that open a field of the API: an approval grants no others."""

from collections.abc import Iterator
from functools import lru_cache

from pydantic import BaseModel

from api_particulier.providers import caf_fields, dgfip_fields
from api_particulier.scopes import BUNDLES, Scope


@lru_cache(maxsize=1)
def known_scopes() -> frozenset[str]:
    """Return the scopes of the fields that the providers' modules declare, and the bundles of them."""
    declared = [*vars(dgfip_fields).values(), *vars(caf_fields).values()]
    return frozenset(scope for value in declared for scope in _scopes_of(value)) | frozenset(BUNDLES)


def _scopes_of(value: object) -> Iterator[str]:
    """Yield the scopes that an annotated type, or the fields of a model, declare."""
    metadata: list[object] = list(getattr(value, "__metadata__", ()))
    if isinstance(value, type) and issubclass(value, BaseModel):
        metadata += [mark for field in value.model_fields.values() for mark in field.metadata]
    yield from (mark.name for mark in metadata if isinstance(mark, Scope))
