"""The state of each provider and dataset: now, over 30 days, and as announced (``GET /api/status``)."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.providers import health, uptime
from api_particulier.providers.health import Health
from api_particulier.public.statistics import day_of
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PROVIDERS: Final = ("dgfip", "caf")
REMEMBERED: Final = 5
"""Seconds during which an environment does not read the history again."""

type State = Literal["disponible", "perturbe", "indisponible", "maintenance", "inconnu"]


def state_of(known: Health, now: datetime) -> State:
    """Return the state of a provider; a circuit that opened and that nothing has closed is that of one that is down."""
    if known.maintenance(now):
        return "maintenance"
    if known.open_until is not None or known.is_up is False:
        return "indisponible"
    return "inconnu" if known.is_up is None else "disponible"


def overall(states: Iterable[State]) -> State:
    """Return the state of the whole: disturbed while some providers answer and others do not."""
    states = set(states)
    if "indisponible" in states:
        return "perturbe" if states & {"disponible", "inconnu"} else "indisponible"
    return "maintenance" if "maintenance" in states else "disponible"


def current() -> dict[str, Any]:
    """Return what this deployment is like, at most ``REMEMBERED`` seconds ago."""
    return _current_at(int(monotonic() // REMEMBERED))


@lru_cache(maxsize=1)
def _current_at(_tick: int) -> dict[str, Any]:
    return describe(dynamodb(), settings().stats_table, datetime.now(UTC))


def describe(client: "DynamoDBClient", table: str, now: datetime) -> dict[str, Any]:
    """Return the body of ``/api/status``; botocore's errors when the table does not answer."""
    known = {provider: health.read(Table(client, table), provider) for provider in PROVIDERS}
    days = {provider: uptime.history(client, table, provider, day_of(now)) for provider in PROVIDERS}
    providers = {
        provider: {
            "etat": state_of(one, now),
            "verifieA": _instant(one.checked_at),
            "disponibilite30j": uptime.percentage(days[provider]),
        }
        for provider, one in known.items()
    }
    return {
        "genereA": _instant(now),
        "etat": overall(state_of(one, now) for one in known.values()),
        "fournisseurs": providers,
        "jeuxDeDonnees": {
            name: {
                "etat": providers[provider]["etat"],
                "fournisseur": provider,
                "disponibilite30j": providers[provider]["disponibilite30j"],
            }
            for name, provider in _datasets().items()
        },
        "historique": {
            provider: [{"date": f"{day.day}", "sondes": day.probes, "reussies": day.answered} for day in days[provider]]
            for provider in PROVIDERS
        },
        "incidents": sorted(
            (
                {"fournisseur": provider, "debut": _instant(incident.start), "fin": _instant(incident.end)}
                for provider, one in known.items()
                for incident in uptime.incidents(days[provider], over=one.checked_at if one.is_up else None)
            ),
            key=lambda one: str(one["debut"]),
            reverse=True,
        ),
        "maintenances": sorted(
            (
                {
                    "fournisseur": provider,
                    "debut": _instant(one.start),
                    "fin": _instant(one.end),
                    "message": one.message,
                }
                for provider in PROVIDERS
                for one in known[provider].maintenances
                if one.end > now
            ),
            key=lambda one: str(one["debut"]),
        ),
    }


@lru_cache(maxsize=1)
def _datasets() -> dict[str, str]:
    """Return each dataset with its provider, as they declare; ``make docs`` writes the file."""
    found: dict[str, str] = json.loads(Path(__file__).with_name("datasets.json").read_text())
    return found


def _instant(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None
