"""Probes: every five minutes, ask each provider for the data of a test identity, and store whether it answered.

A schedule invokes it. The data of the response is dropped.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.aws import SecretUnavailable, dynamodb, secret
from api_particulier.dynamodb import Table
from api_particulier.errors import ApiError, BadRequest, NotFound
from api_particulier.observability import LogEvent, log, measure_certificate
from api_particulier.providers import caf, dgfip, health, uptime
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


PROBES: Final[Mapping[str, Callable[[Identities | None], None]]] = {"dgfip": _ask_dgfip, "caf": _ask_caf}


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Probe each provider that is not in announced maintenance; measure how long the CAF's certificate is valid."""
    identities = _identities()
    stats = Table(dynamodb(), settings().stats_table)
    for provider, ask in PROBES.items():
        now = datetime.now(UTC)
        if health.read(stats, provider).maintenance(now):
            continue
        is_up = _is_up(provider, ask, identities)
        health.record(stats, provider, is_up=is_up)
        uptime.record(stats, provider, now, answered=is_up)
    end = caf.certificate_end()
    if end is not None:
        measure_certificate(caf.PROVIDER, (end - datetime.now(UTC)).days)


def _is_up(provider: str, ask: Callable[[Identities | None], None], identities: Identities | None) -> bool:
    try:
        ask(identities)
    except (NotFound, BadRequest) as error:  # it answers, and no longer knows the test identity
        log(LogEvent.PROBE_UNKNOWN, provider=provider, outcome=error.code)
    except ApiError:
        return False
    return True


def _identities() -> Identities | None:
    """Return the secret's identities; None while the secret has no value: the providers are pinged."""
    try:
        return Identities.model_validate_json(secret(settings().probe_secret_id))
    except SecretUnavailable as error:
        if str(error) != "ResourceNotFoundException":
            raise
        return None
