"""Probes: every five minutes, ask each provider for the data of a test identity, and store whether it answered.

A schedule invokes it. The data of the response is dropped. A provider for which no secret is filled yet is not asked:
its state is "not configured", and its history has no probe.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.aws import dynamodb, json_secret
from api_particulier.dynamodb import Table
from api_particulier.errors import ApiError, BadRequest, NotConfigured, NotFound
from api_particulier.observability import LogEvent, log, measure_certificate
from api_particulier.providers import api_secu, caf, dgfip, health, uptime
from api_particulier.providers.health import Verdict
from api_particulier.settings import settings


class Identities(BaseModel):
    """The secret: the test identities that the providers gave."""

    numeroFiscal: str
    referenceAvis: str
    numeroAllocataire: str
    codePostal: str

    @property
    def query(self) -> Mapping[str, list[str]]:
        return {name: [value] for name, value in self.model_dump().items()}


def _ask_dgfip(identities: Identities | None) -> None:
    dgfip.probe(AvisNumbers.parse(identities.query)) if identities else dgfip.ping()


def _ask_caf(identities: Identities | None) -> None:
    caf.famille(AllocataireNumbers.parse(identities.query)) if identities else caf.ping()


def _ask_dss(_identities: Identities | None) -> None:
    api_secu.ping()


_SOON: Final = 60
"""Days before its end from which the CAF's certificate is measured: twice what its alarm waits for."""
PROBES: Final[Mapping[str, Callable[[Identities | None], None]]] = {
    "dgfip": _ask_dgfip,
    "caf": _ask_caf,
    "dss": _ask_dss,
}


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Probe each provider that is not in announced maintenance; measure how long the CAF's certificate is valid."""
    identities = _identities()
    stats = Table(dynamodb(), settings().stats_table)
    for provider, ask in PROBES.items():
        now = datetime.now(UTC)
        if health.read(stats, provider).maintenance(now):
            continue
        verdict = _verdict(provider, ask, identities)
        health.record(stats, provider, verdict)
        if verdict != "not_configured":
            uptime.record(stats, provider, now, answered=verdict == "up")
    _measure_certificate()


def _verdict(provider: str, ask: Callable[[Identities | None], None], identities: Identities | None) -> Verdict:
    try:
        ask(identities)
    except (NotFound, BadRequest) as error:  # it answers, and no longer knows the test identity
        log(LogEvent.PROBE_UNKNOWN, provider=provider, outcome=error.code)
    except NotConfigured:
        return "not_configured"
    except ApiError:
        return "down"
    return "up"


def _measure_certificate() -> None:
    """Measure how long the CAF's certificate is valid, once it ends soon."""
    try:
        end = caf.certificate_end()
    except NotConfigured:
        return
    days = None if end is None else (end - datetime.now(UTC)).days
    if days is not None and days < _SOON:  # a metric is billed by the hour with data
        measure_certificate(caf.PROVIDER, days)


def _identities() -> Identities | None:
    """Return the secret's identities; None until the secret is filled: the providers are pinged."""
    try:
        return json_secret("ProbeIdentities", settings().probe_secret_id, Identities)
    except NotConfigured:
        return None
