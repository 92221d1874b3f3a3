"""The status of providers and datasets: now, over 30 days, and announced maintenances (``GET /api/status``)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any, Final, Literal

from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.paris_time import day_of
from api_particulier.providers import health, uptime
from api_particulier.providers.health import Health
from api_particulier.providers.uptime import Day
from api_particulier.settings import settings

PROVIDERS: Final = ("dgfip", "caf", "dss")
PROMISE: Final = 95
"""Percent of the probes of 30 days that succeed, of each provider: what the DINUM promises."""
CACHE_SECONDS: Final = 5
"""How long an environment keeps the status."""
_UNASKED: Final = timedelta(minutes=5)
"""A benefit that no call tried again for so long has the state of its provider."""

type State = Literal["disponible", "perturbe", "indisponible", "maintenance", "non_configure", "inconnu"]
type _Body = dict[str, Any]


def state_of(known: Health, now: datetime) -> State:
    """Return the state of a provider; it is down while its circuit breaker is open."""
    if known.maintenance(now):
        return "maintenance"
    if known.verdict == "not_configured":
        return "non_configure"
    if known.open_until is not None or known.verdict == "down":
        return "indisponible"
    return "disponible" if known.verdict == "up" else "inconnu"


def overall(states: Iterable[State]) -> State:
    """Return the state of the service: disturbed while some providers are down, or not configured, and others work."""
    states = set(states)
    if states & {"indisponible", "non_configure"}:
        return "perturbe" if states & {"disponible", "inconnu"} else "indisponible"
    return "maintenance" if "maintenance" in states else "disponible"


def current() -> _Body:
    """Return the status of this deployment, at most ``CACHE_SECONDS`` old."""
    return _current_at(int(monotonic() // CACHE_SECONDS))


@lru_cache(maxsize=1)
def _current_at(_tick: int) -> _Body:
    return describe(Table(dynamodb(), settings().stats_table), datetime.now(UTC))


def describe(table: Table, now: datetime) -> _Body:
    """Return the body of ``/api/status``; raise botocore's errors when the table does not answer."""
    healths = {provider: health.read(table, provider) for provider in PROVIDERS}
    histories = {provider: uptime.history(table, provider, day_of(now)) for provider in PROVIDERS}
    providers = {name: _provider(healths[name], histories[name], now) for name in PROVIDERS}
    datasets = {name: _dataset(provider, providers[provider]) for name, provider in _datasets().items()}
    for benefit in _failing_benefits(table, now):
        if datasets[f"dss_{benefit}"]["etat"] in {"disponible", "inconnu"}:
            datasets[f"dss_{benefit}"]["etat"] = "indisponible"
    return {
        "genereA": _instant(now),
        "etat": overall(known["etat"] for known in (*providers.values(), *datasets.values())),
        "fournisseurs": providers,
        "engagement": promise(histories),
        "jeuxDeDonnees": datasets,
        "historique": {name: [_day(day) for day in days] for name, days in histories.items()},
        "incidents": _incidents(healths, histories),
        "maintenances": _maintenances(healths, now),
    }


def _failing_benefits(table: Table, now: datetime) -> list[str]:
    """Return the benefits whose own circuit breaker is open, by calls of the last minutes: a fund may fail alone."""
    healths = {benefit: health.read(table, health.circuit_of("dss", benefit)) for benefit in health.BENEFITS}
    since = (now - _UNASKED).timestamp()
    return [benefit for benefit, known in healths.items() if known.open_until is not None and known.open_until > since]


def _provider(known: Health, days: Sequence[Day], now: datetime) -> _Body:
    return {
        "etat": state_of(known, now),
        "verifieA": _instant(known.checked_at),
        "disponibilite30j": uptime.percentage(days),
    }


def promise(histories: Mapping[str, Sequence[Day]]) -> _Body:
    """Return whether each provider kept the promise; None while one of them has no probe."""
    counts = [(sum(day.answered for day in days), sum(day.probes for day in days)) for days in histories.values()]
    kept = all(answered * 100 >= PROMISE * probes for answered, probes in counts)
    return {"seuil": PROMISE, "tenu": kept if all(probes for _, probes in counts) else None}


def _dataset(name: str, provider: _Body) -> _Body:
    return {"etat": provider["etat"], "fournisseur": name, "disponibilite30j": provider["disponibilite30j"]}


def _day(day: Day) -> _Body:
    return {"date": f"{day.day}", "sondes": day.probes, "reussies": day.answered}


def _incidents(healths: Mapping[str, Health], histories: Mapping[str, Sequence[Day]]) -> list[_Body]:
    """Return the incidents of all providers, latest first."""
    found = [
        {"fournisseur": provider, "debut": _instant(incident.start), "fin": _instant(incident.end)}
        for provider, known in healths.items()
        for incident in uptime.incidents(
            histories[provider], up_since=known.checked_at if known.verdict == "up" else None
        )
    ]
    return sorted(found, key=lambda incident: str(incident["debut"]), reverse=True)


def _maintenances(healths: Mapping[str, Health], now: datetime) -> list[_Body]:
    """Return the maintenances of all providers that are not over, earliest first."""
    found = [
        {
            "fournisseur": provider,
            "debut": _instant(maintenance.start),
            "fin": _instant(maintenance.end),
            "message": maintenance.message,
        }
        for provider, known in healths.items()
        for maintenance in known.maintenances
        if maintenance.end > now
    ]
    return sorted(found, key=lambda maintenance: str(maintenance["debut"]))


@lru_cache(maxsize=1)
def _datasets() -> dict[str, str]:
    """Return the provider of each dataset, from the file that ``make docs`` writes."""
    found: dict[str, str] = json.loads(Path(__file__).with_name("datasets.json").read_text())
    return found


def _instant(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment else None
