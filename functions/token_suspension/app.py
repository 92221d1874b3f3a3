"""Suspend the tokens that the datasets' functions suspect of an enumeration, and write to their contacts.

A queue brings each suspicion at least once. The alert comes before the suspension: if the function is killed between
the two, the next delivery alerts again. The audit record and the history entry are written in the transaction that
suspends the token, so once. A message without a valid MAC of a dataset's function does nothing but raise an alarm.
"""

from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.batch.types import PartialItemFailureResponse
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord
from pydantic import AwareDatetime, BaseModel, ValidationError

from api_particulier.audit import mac
from api_particulier.audit.record import SUSPENSION, AuditRecord, writing
from api_particulier.habilitations import warnings
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.lifecycle import KeyNotActive, UnknownToken
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import ACTIVE
from api_particulier.observability import LogEvent, alert, log_unexpected

ACTOR: Final = "the watch on enumerations"


class _Suspicion(BaseModel):
    """What a dataset's function sends."""

    token: str
    at: AwareDatetime
    sanction: warnings.Sanction
    mac: str

    @property
    def is_authentic(self) -> bool:
        """Whether a dataset's function sent it; raises botocore's errors when KMS does not answer."""
        sent = {"token": self.token, "at": self.at.isoformat(), "sanction": self.sanction, mac.MAC: self.mac}
        return mac.verify(sent, self.at)


def lambda_handler(event: dict[str, Any], _context: object) -> PartialItemFailureResponse:
    """Suspend the tokens of a batch of suspicions; return the messages that failed, which the queue brings again."""
    messages = _latest(event["Records"])
    if not messages:
        return {"batchItemFailures": []}
    # Without the exception for a batch that failed whole: Lambda would log its text.
    processor = BatchProcessor(EventType.SQS, raise_on_entire_batch_failure=False)
    return process_partial_response({"Records": messages}, _process, processor)


def _latest(messages: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the latest message of each token, since every call of a walk sends a message, and the unreadable ones.

    A warning does not hide a suspension, nor a message that was not sent by a function one that was.
    """
    latest: dict[tuple[str, str], tuple[datetime, dict[str, Any]]] = {}
    unreadable = []
    for message in messages:
        try:
            suspicion = _Suspicion.model_validate_json(message["body"])
        except ValidationError:
            unreadable.append(message)
            continue
        if not suspicion.is_authentic:
            alert(LogEvent.SUSPICION_FORGED)
            continue
        key = suspicion.token, suspicion.sanction
        if key not in latest or latest[key][0] <= suspicion.at:
            latest[key] = suspicion.at, message
    return [*unreadable, *(message for _, message in latest.values())]


def _process(record: SQSRecord) -> None:
    """Suspend the token of a message; log a failure by the type of its exception, before the processor catches it."""
    try:
        _suspend(_Suspicion.model_validate_json(record.body))
    except Exception as error:
        log_unexpected(error, record.message_id)
        raise


def _suspend(suspicion: _Suspicion) -> None:
    store, now = KeyStore.from_environment(), datetime.now(UTC)
    try:
        token = lifecycle.find(store, suspicion.token)
    except UnknownToken:
        return
    if token.state != ACTIVE or (token.resumed and suspicion.at <= token.resumed):
        return
    habilitations = HabilitationRepository.from_environment()
    if suspicion.sanction == "warn":
        warnings.send(habilitations, token, "warn", now)
        return
    record = AuditRecord(now, "", "suspension", "", "", record_type=SUSPENSION, suspicion="suspended", status=200)
    record.identify(token)
    writes = [writing(record)]
    if token.habilitation:
        writes += habilitations.adding_history(token.habilitation, "key_suspended", ACTOR, now)
    alert(LogEvent.TOKEN_SUSPENDED, token=token.id, habilitation=token.habilitation)
    with suppress(KeyNotActive):  # another delivery suspended it, or an operator revoked it
        lifecycle.suspend(store, token, *writes)
        warnings.send(habilitations, token, "suspend", now)
