"""How a function describes its routes; the documentation is generated from it (docs/decisions/0022-openapi.md).

A dataset's routes follow from its declaration. Every other function lists its own in ``ROUTES``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from api_particulier.api.parameters import Parameter
from api_particulier.errors import (
    ApiError,
    CircuitOpen,
    NotConfigured,
    ProviderInMaintenance,
    ProviderInvalidResponse,
    ProviderRateLimited,
    ProviderUnavailable,
)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one address, in French for callers.

    The documentation adds what is common to all routes: a key where the template requires one, the gateway's
    responses, the headers of every response.
    """

    name: str
    """The operation's unique name, which clients generated from the documentation give to a function."""
    path: str
    """The resource, as the template declares it."""
    summary: str
    answer: Any
    """The type of the body: a model, or what JSON has without one."""
    example: object
    """A body, about fictional people."""
    method: Literal["GET", "POST"] = "GET"
    description: str = ""
    media_type: str = "application/json"
    xml: bool = False
    """Whether callers may have XML."""
    parameters: tuple[Parameter, ...] = ()
    """In the query; ``description`` explains which go together."""
    body: Any = None
    """The type of the request's body, in JSON."""
    body_example: object = None
    errors: tuple[ApiError | type[ApiError], ...] = ()
    """The route's own, besides the common ones: an error, or an instance where the message is this route's."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers of the response, each with its meaning, besides the common ones."""
    asks: Mapping[str, str] = field(default_factory=dict)
    """Headers that a request must have."""


OF_PROVIDER: Final = (
    ProviderRateLimited,
    ProviderUnavailable,
    CircuitOpen,
    ProviderInMaintenance,
    ProviderInvalidResponse,
    NotConfigured,
)
"""The failures of a provider."""
