"""Probes: every five minutes, ask each provider for a test identity's file, and write down whether it answered.

Nobody calls it but the clock. What a provider answers goes nowhere.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import BaseModel

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.aws import dynamodb, secretsmanager
from api_particulier.errors import ApiError, BadRequest, NotFound
from api_particulier.observability import LogEvent, log, measure_certificate
from api_particulier.providers import caf, dgfip, health, uptime
from api_particulier.settings import settings


class Identities(BaseModel):
    """The secret: whose files are asked for, as the providers gave them for tests, or nobody's."""

    numeroFiscal: str
    referenceAvis: str
    numeroAllocataire: str
    codePostal: str

    @property
    def query(self) -> Mapping[str, list[str]]:
        return {name: [value] for name, value in self.model_dump().items()}


def _ask_dgfip(identities: Identities | None) -> None:
    dgfip.probe(AvisNumbers.read(identities.query)) if identities else dgfip.ping()


def _ask_caf(identities: Identities | None) -> None:
    caf.famille(AllocataireNumbers.read(identities.query)) if identities else caf.ping()


PROBES: Final[Mapping[str, Callable[[Identities | None], None]]] = {"dgfip": _ask_dgfip, "caf": _ask_caf}


def lambda_handler(_event: dict[str, Any], _context: object) -> None:
    """Probe each provider that is not in announced maintenance, and measure how long our certificate is still good."""
    identities = _identities()
    for provider, ask in PROBES.items():
        now = datetime.now(UTC)
        if health.read(dynamodb(), settings().stats_table, provider).maintenance(now):
            continue
        answered = _answers(provider, ask, identities)
        health.record(provider, answers=answered)
        uptime.record(dynamodb(), settings().stats_table, provider, now, answered=answered)
    ends = caf.certificate_end()
    if ends is not None:
        measure_certificate(caf.PROVIDER, (ends - datetime.now(UTC)).days)


def _answers(provider: str, ask: Callable[[Identities | None], None], identities: Identities | None) -> bool:
    try:
        ask(identities)
    except (NotFound, BadRequest) as error:  # it answers, and does not know the identity any more
        log(LogEvent.PROBE_UNKNOWN, provider=provider, outcome=error.code)
    except ApiError:
        return False
    return True


def _identities() -> Identities | None:
    """Read the secret; None while nobody has filled it: the providers are pinged."""
    try:
        secret = secretsmanager().get_secret_value(SecretId=settings().probe_secret_id or "")
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return Identities.model_validate_json(secret["SecretString"])
