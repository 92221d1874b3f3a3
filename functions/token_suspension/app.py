"""Suspension: stops a token whose questions are an enumeration, as the functions of the datasets suspect it.

Nobody calls it but their queue, which brings a suspicion once or more. The alarm comes first: killed after it, the next
delivery rings again rather than nobody. The entry of the audit and the habilitation's history are written with the
token's new state, together, and so once.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel

from api_particulier.audit.record import SUSPENSION, AuditRecord, writing
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.lifecycle import KeyNotActive, UnknownToken
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import ACTIVE
from api_particulier.observability import LogEvent, alert

WHO: Final = "the watch on enumerations"


class _Suspicion(BaseModel):
    """What a dataset's function sends."""

    token: str
    at: AwareDatetime


def lambda_handler(event: dict[str, Any], _context: object) -> None:
    """Suspend the tokens that a batch of the queue tells of; whatever fails has the batch brought again."""
    for suspicion in _latest(event["Records"]):
        _suspend(suspicion)


def _latest(records: Iterable[dict[str, Any]]) -> Iterable[_Suspicion]:
    """Return one suspicion a token: each question of the walk told of one."""
    read = sorted((_Suspicion.model_validate_json(one["body"]) for one in records), key=lambda one: one.at)
    return {one.token: one for one in read}.values()


def _suspend(suspicion: _Suspicion) -> None:
    gateway, now = KeyStore.of_function(), datetime.now(UTC)
    try:
        token = lifecycle.find(gateway, suspicion.token)
    except UnknownToken:  # abandoned meanwhile
        return
    if token.state != ACTIVE or (token.resumed and suspicion.at <= token.resumed):
        return
    entry = AuditRecord(now, "", "suspension", "", "", record_type=SUSPENSION, suspicion="suspended", status=200)
    entry.identify(token)
    told = [writing(entry)]
    if token.habilitation:
        told.append(
            {"Put": HabilitationRepository.of_function().put_of_note(token.habilitation, "key_suspended", WHO, now)}
        )
    alert(LogEvent.TOKEN_SUSPENDED, token=token.id, habilitation=token.habilitation)
    with suppress(KeyNotActive):  # somebody was faster, or revoked it
        lifecycle.suspend(gateway, token, *told)
