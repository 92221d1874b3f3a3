"""Ping: whether the API answers, and whether the provider behind a family of datasets does.

Anyone may ask, without a key, so it costs a provider at most one call a minute, whoever asks and from however many
environments: the last verdict is kept in the statistics table, and who renews it claims the minute there first.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import time
from typing import Any, Final, Literal

from api_particulier.api.handler import serve_without_key
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response
from api_particulier.aws import dynamodb
from api_particulier.errors import ApiError, NotAcceptable, ProviderInMaintenance, ProviderUnavailable
from api_particulier.providers import health
from api_particulier.settings import settings

PERIOD: Final = 60
"""Seconds during which a verdict on a provider is not asked again."""

ROUTES = (
    Route(
        name="ping",
        path="/api/ping",
        summary="L'API répond-elle ?",
        answer=Literal["pong"],
        example="pong",
        xml=True,
        errors=(NotAcceptable,),
    ),
    *(
        Route(
            name=f"ping_{provider}",
            path=path,
            summary=f"{who} répond-elle ?",
            description="Le fournisseur n'est interrogé qu'une fois par minute, quel que soit le nombre d'appels.",
            answer=Literal["pong"],
            example="pong",
            xml=True,
            errors=(NotAcceptable, ProviderUnavailable, ProviderInMaintenance),
        )
        for provider, who, path in (("dgfip", "La DGFIP", "/api/impots/ping"), ("caf", "La CAF", "/api/caf/ping"))
    ),
)


def _ping_dgfip() -> None:
    from api_particulier.providers import dgfip  # noqa: PLC0415 - a plain ping does not pay for it

    dgfip.ping()


def _ping_caf() -> None:
    from api_particulier.providers import caf  # noqa: PLC0415 - a plain ping does not pay for the parser

    caf.ping()


PROVIDERS: Final[Mapping[str, tuple[str, Callable[[], None]]]] = {
    "/api/impots/ping": ("dgfip", _ping_dgfip),
    "/api/caf/ping": ("caf", _ping_caf),
}
"""Each route with the provider it tells of, and how that one is pinged; ``/api/ping`` has none."""


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer a ping: the string "pong", or the error that a dataset of this provider would answer."""
    return serve_without_key(event, "ping", _pong, or_xml=True)


def _pong(request: Request) -> str:
    if request.route in PROVIDERS:
        _check(*PROVIDERS[request.route])
    return "pong"


def _check(provider: str, ping: Callable[[], None]) -> None:
    """Refuse unless ``provider`` is up by the last verdict on it, which is renewed when it is older than ``PERIOD``.

    A provider that is being asked for the first time is up until proved down.
    """
    known = health.read(dynamodb(), settings().stats_table, provider)
    if maintenance := known.maintenance(datetime.now(UTC)):
        raise ProviderInMaintenance(maintenance.end, maintenance.message)
    answers = known.answers
    if time() - known.asked_at >= PERIOD and health.acquire_ping_slot(provider, PERIOD):
        try:
            ping()
        except ApiError:
            answers = False
        else:
            answers = True
        health.record(provider, answers=answers)
    if answers is False:
        raise ProviderUnavailable
