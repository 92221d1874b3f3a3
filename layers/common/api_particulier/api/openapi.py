"""What a function says of its routes; the documentation is generated from it (docs/decisions/0022-openapi.md).

A dataset's routes follow from its declaration. Every other function lists its own in ``ROUTES``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from api_particulier.api.parameters import Parameter
from api_particulier.errors import (
    ApiError,
    CircuitOpen,
    ProviderInMaintenance,
    ProviderInvalidResponse,
    ProviderRateLimited,
    ProviderUnavailable,
)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one address, in French for who calls it.

    What is common to all routes is added by the documentation: a key where the template asks for one, the gateway's
    answers, the headers of every answer.
    """

    name: str
    """The operation's, unique: that of a function in the clients that are generated from the documentation."""
    path: str
    """The resource, as the template has it."""
    summary: str
    answer: Any
    """The type of the body: a model, or what JSON has without one."""
    example: object
    """A body, about nobody."""
    method: Literal["GET", "POST"] = "GET"
    description: str = ""
    media_type: str = "application/json"
    xml: bool = False
    """Whether it is XML for who asks for it."""
    parameters: tuple[Parameter, ...] = ()
    """In the query; ``description`` says which go together."""
    body: Any = None
    """The type of the request's body, in JSON."""
    body_example: object = None
    errors: tuple[ApiError | type[ApiError], ...] = ()
    """Its own, besides the common ones: a kind of error, or one as it is answered where the words are this route's."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of its answer, each with its meaning, besides the common ones."""
    asks: Mapping[str, str] = field(default_factory=dict)
    """Those that a request must have."""


OF_PROVIDER: Final = (
    ProviderRateLimited,
    ProviderUnavailable,
    CircuitOpen,
    ProviderInMaintenance,
    ProviderInvalidResponse,
)
"""What may come of asking a provider."""
