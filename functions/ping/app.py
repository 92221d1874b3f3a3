"""Ping: whether the API answers, and whether a provider does.

It needs no key, so a provider gets at most one ping a minute from all environments together: the result is kept in the
statistics table, and an environment acquires the minute there before it pings.
"""

from datetime import UTC, datetime
from time import time
from typing import Any, Final, Literal

from api_particulier.api.handler import handle_read
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request, negotiate_format
from api_particulier.api.response import Response, success
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.errors import ApiError, NotAcceptable, NotConfigured, ProviderInMaintenance, ProviderUnavailable
from api_particulier.providers import api_secu, caf, dgfip, health
from api_particulier.providers.health import Verdict
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
            summary=f"{label} répond-elle ?",
            description="Le fournisseur n'est interrogé qu'une fois par minute, quel que soit le nombre d'appels.",
            answer=Literal["pong"],
            example="pong",
            xml=True,
            errors=(NotAcceptable, ProviderUnavailable, ProviderInMaintenance, NotConfigured),
        )
        for provider, label, path in (
            ("dgfip", "La DGFIP", "/api/impots/ping"),
            ("caf", "La CAF", "/api/caf/ping"),
            ("dss", "API-SECU, derrière les neuf prestations de la v3,", "/api/dss/ping"),
        )
    ),
)


PROVIDERS: Final = {"/api/impots/ping": "dgfip", "/api/caf/ping": "caf", "/api/dss/ping": "dss"}
"""Each route with its provider; ``/api/ping`` has none."""


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer a ping: the string "pong", or the error that a dataset of this provider would answer."""
    return handle_read(event, context, "ping", _build_response)


def _build_response(request: Request) -> Response:
    output = negotiate_format(request)
    if request.route in PROVIDERS:
        _check(PROVIDERS[request.route])
    return success("pong", request.id, output)


def _check(provider: str) -> None:
    """Refuse unless a provider is up by its last verdict, which is renewed when it is older than ``PERIOD``.

    A provider that is asked for the first time is up until its verdict.
    """
    stats = Table(dynamodb(), settings().stats_table)
    known = health.read(stats, provider)
    if maintenance := known.maintenance(datetime.now(UTC)):
        raise ProviderInMaintenance(maintenance.end, maintenance.message)
    verdict = known.verdict
    if time() - known.asked_at >= PERIOD and health.acquire_ping_slot(stats, provider, PERIOD):
        verdict = _ping(provider)
        health.record(stats, provider, verdict)
    if verdict == "not_configured":
        raise NotConfigured
    if verdict == "down":
        raise ProviderUnavailable


def _ping(provider: str) -> Verdict:
    try:
        {"dgfip": dgfip.ping, "caf": caf.ping, "dss": api_secu.ping}[provider]()
    except NotConfigured:
        return "not_configured"
    except ApiError:
        return "down"
    return "up"
