"""What a dataset declares in ``functions/<dataset>/app.py``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel

from api_particulier.api.parameters import Parameters
from api_particulier.scopes import Fetched


@dataclass(frozen=True, kw_only=True)
class Dataset[P: Parameters]:
    """One dataset: its routes, its fields, and how its provider is asked.

    The token, the audit record and the form of errors are not in it: ``handler.handle`` sees to them.
    """

    name: str
    """That of its folder; the audit and the metrics use it."""
    provider: str
    """``dgfip`` or ``caf``."""
    routes: Mapping[str, type[BaseModel]]
    """Each route with the model of its response; the model's fields carry their scopes."""
    parameters: type[P]
    fetch: Callable[[P, frozenset[str]], Fetched]
    """Ask the provider, for the allowed fields (dotted paths); raise an ``ApiError`` when there is no data."""
