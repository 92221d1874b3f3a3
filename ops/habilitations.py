"""Habilitations as an operator changes them: approved, refused, revoked; one-time links and replayed events."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from uuid6 import uuid7

from api_particulier.habilitations import datapass, key_link, provisioning
from api_particulier.habilitations.model import (
    Habilitation,
    HabilitationEvent,
    HabilitationEventType,
    Request,
    UnprocessableEvent,
)
from api_particulier.keys import lifecycle
from api_particulier.keys.lifecycle import KeyNotActive
from api_particulier.keys.token import Token
from ops.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef


@dataclass(frozen=True)
class Replayed:
    """The result of an event from the dead-letter queue."""

    habilitation: str | None
    event: str | None
    outcome: str
    """``applied``, or the reason of a failure: the event is then still in the queue."""


def new_id() -> str:
    """Return an id for a habilitation that DataPass does not know."""
    return str(uuid7())


def decide(  # noqa: PLR0913 - the parts of a decision, each by its name
    deployment: Deployment,
    habilitation_id: str,
    event: HabilitationEventType,
    now: datetime,
    *,
    request: Request | None = None,
    note: str = "",
) -> Habilitation:
    """Apply a decision of the operator and its effects on keys; raise ``UnprocessableEvent`` if it is impossible."""
    decision = HabilitationEvent.by_operator(
        habilitation_id, event, deployment.operator, now, request=request, note=note
    )
    changed = provisioning.process(deployment.habilitations, deployment.key_store, decision, now)
    return changed or deployment.habilitations.find(habilitation_id)


def link(deployment: Deployment, habilitation_id: str, now: datetime) -> tuple[str, Token]:
    """Make a one-time link to the latest key of a habilitation or, if it was shown before, to one that replaces it.

    Raise ``KeyNotActive`` without an active key, ``TooManyActiveKeys`` when a third would be active.
    """
    deployment.habilitations.find(habilitation_id)
    tokens = provisioning.active_keys(deployment.key_store, habilitation_id, now)
    if not tokens:
        raise KeyNotActive(f"of the habilitation {habilitation_id}")
    token = tokens[0]
    if not token.is_pending:
        token = lifecycle.rotate(deployment.key_store, token, lifecycle.OVERLAP, now)
        deployment.habilitations.add_history(habilitation_id, "key_rotated", deployment.operator, now)
    secret = key_link.create(deployment.habilitations, habilitation_id, token.id, deployment.operator, now)
    return key_link.link(deployment.base_url, secret), token


def replay(deployment: Deployment, now: datetime, *, changes: bool = True) -> list[Replayed]:
    """Process each event of the dead-letter queue again, in any order: events carry their date.

    An event whose signature is not DataPass's, under its secret or the one before, is left in the queue and changes
    nothing. Without ``changes``, none is processed: the outcome is what would be done.
    """
    queue = deployment.outputs["DatapassDeadLetters"]
    secrets = deployment.secret_versions(deployment.outputs["DatapassSecret"])
    messages: dict[str, MessageTypeDef] = {}
    # A received message is hidden for a minute: without a new message, all of them have been received.
    while received := deployment.sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, MessageAttributeNames=[datapass.SIGNATURE]
    ).get("Messages"):
        new = {message["MessageId"]: message for message in received if message["MessageId"] not in messages}
        messages |= new
        if not new:
            break
    replayed = []
    for message in messages.values():
        result = _replay(deployment, message, secrets, now, changes=changes)
        if result.outcome == "applied":
            deployment.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        else:
            deployment.sqs.change_message_visibility(
                QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        replayed.append(result)
    return replayed


def _replay(
    deployment: Deployment, message: "MessageTypeDef", secrets: list[str], now: datetime, *, changes: bool
) -> Replayed:
    body = message["Body"].encode()
    attributes = message.get("MessageAttributes", {})
    signature = attributes[datapass.SIGNATURE].get("StringValue", "") if datapass.SIGNATURE in attributes else ""
    if not any(datapass.is_signed(body, signature, secret) for secret in secrets):
        return Replayed(None, None, "refused: DataPass did not sign it")
    try:
        event = datapass.read(body, now)
    except UnprocessableEvent as error:
        return Replayed(None, None, str(error))
    if event is None:
        return Replayed(None, None, "applied" if changes else "a trial, to be deleted")
    if not changes:
        return Replayed(event.habilitation, event.type, "to be processed")
    try:
        provisioning.process(deployment.habilitations, deployment.key_store, event, now)
    except UnprocessableEvent as error:
        return Replayed(event.habilitation, event.type, str(error))
    return Replayed(event.habilitation, event.type, "applied")
