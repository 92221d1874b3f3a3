"""Habilitations, as operators change them: granted, refused, revoked, handed over, and events replayed."""

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
from api_particulier.keys.lifecycle import KeyNotActive
from api_particulier.keys.token import Token
from ops.deployment import Deployment

if TYPE_CHECKING:
    from mypy_boto3_sqs.type_defs import MessageTypeDef


@dataclass(frozen=True)
class Replayed:
    """What became of an event that had been set aside."""

    habilitation: str | None
    event: str | None
    outcome: str
    """``applied``, or why it could not be: then it is still set aside."""


def new_id() -> str:
    return str(uuid7())


def tell(  # noqa: PLR0913 - what an operator does, each part by its name
    on: Deployment,
    habilitation_id: str,
    event: HabilitationEventType,
    now: datetime,
    *,
    request: Request | None = None,
    note: str = "",
) -> Habilitation:
    """Apply an operator's event, with what follows from it; ``Unprocessable`` when it makes no sense."""
    change = HabilitationEvent.by_operator(habilitation_id, event, on.operator, now, request=request, note=note)
    standing = provisioning.process(on.register, on.gateway, change, now)
    return standing or on.register.find(habilitation_id)


def link(on: Deployment, habilitation_id: str, now: datetime) -> tuple[str, Token]:
    """Make a one-time link to the latest key of a habilitation; ``NotLive`` when none lives."""
    on.register.find(habilitation_id)
    live = provisioning.active_keys(on.gateway, habilitation_id, now)
    if not live:
        raise KeyNotActive(f"of the habilitation {habilitation_id}")
    secret = key_link.create(on.register, habilitation_id, live[0].id, on.operator, now)
    return key_link.link(on.base_url, secret), live[0]


def replay(on: Deployment, now: datetime) -> list[Replayed]:
    """Process again the events that were set aside, each once; their order does not matter, they are dated."""
    queue = on.outputs["DatapassDeadLetters"]
    messages: dict[str, MessageTypeDef] = {}
    # Those received are hidden for a minute: a round that finds nothing new has seen them all.
    while found := on.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        new = {one["MessageId"]: one for one in found if one["MessageId"] not in messages}
        messages |= new
        if not new:
            break
    replayed = []
    for message in messages.values():
        one = _replay(on, message["Body"].encode(), now)
        if one.outcome == "applied":
            on.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        else:
            on.sqs.change_message_visibility(
                QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0
            )
        replayed.append(one)
    return replayed


def _replay(on: Deployment, body: bytes, now: datetime) -> Replayed:
    try:
        change = datapass.read(body, now)
    except UnprocessableEvent as why:
        return Replayed(None, None, str(why))
    if change is None:
        return Replayed(None, None, "applied")
    try:
        provisioning.process(on.register, on.gateway, change, now)
    except UnprocessableEvent as why:
        return Replayed(change.habilitation, change.type, str(why))
    return Replayed(change.habilitation, change.type, "applied")
