"""Receive DataPass's events: a habilitation is requested, approved, changed or revoked, and its key follows.

DataPass delivers again an event that is not answered 200, 201 or 204, and after five failures in a row it stops sending
any. So an event that another delivery would not help is answered 200 once it is in the dead-letter queue, which an
alarm watches. When the failure is the service's own, the event goes to the queue too, and the error asks for another
delivery, and its response can give the id of the key (docs/operations/habilitations.md).
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import ClientError
from pydantic import BaseModel, Field

from api_particulier.api.handler import handle_public
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, success
from api_particulier.aws import sqs
from api_particulier.errors import ApiError, BadSignature, NotConfigured
from api_particulier.habilitations import datapass, email, key_link, provisioning
from api_particulier.habilitations.model import (
    Habilitation,
    HabilitationEvent,
    HabilitationEventType,
    UnprocessableEvent,
)
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore
from api_particulier.observability import LogEvent, alert, log
from api_particulier.settings import settings

_LONGEST_MESSAGE: Final = 262_144
"""Bytes of a message: the least that the maximum of an SQS queue has been."""
# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
_NOT_FOR_A_QUEUE: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Recu(BaseModel):
    """Ce qui est rendu à DataPass."""

    token_id: str | None = Field(
        default=None, description="Identifiant du jeton d'une habilitation approuvée ; absent des autres réponses"
    )


ROUTES = (
    Route(
        name="webhook_datapass",
        path="/api/datapass/v2/api_particulier/webhook",
        method="POST",
        summary="Ce que DataPass dit d'une habilitation",
        description="Réservé à DataPass, qui signe chaque événement.",
        body=datapass.SignedEvent | datapass.Trial,
        body_example={"test": True},
        answer=Recu,
        example={"token_id": "0123456789abcdef"},
        errors=(BadSignature, NotConfigured),
        asks={datapass.SIGNATURE: "`sha256=` suivi du HMAC-SHA256 du corps, en hexadécimal."},
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``POST /api/datapass/v2/api_particulier/webhook``."""
    return handle_public(event, context, "datapass_webhook", _build_response)


def _build_response(request: Request) -> Response:
    return success(_receive(request), request.id)


def _receive(request: Request) -> dict[str, str]:
    datapass.check_signature(request.body, request.headers.get(datapass.SIGNATURE.lower()))
    try:
        return _process(request)
    except UnprocessableEvent as error:
        _set_aside(request, str(error))
        return {}
    except ApiError:
        raise
    except Exception as error:
        _set_aside(request, type(error).__name__)
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ValidationException":
            return {}  # too large for the table: another delivery would be too
        raise


def _process(request: Request) -> dict[str, str]:
    now = datetime.now(UTC)
    event = datapass.read(request.body, now)
    if event is None:
        return {}
    habilitations, store = HabilitationRepository.from_environment(), KeyStore.from_environment()
    habilitation = provisioning.process(habilitations, store, event, now)
    known_type = event.type if event.type in HabilitationEventType else "unknown"
    log(LogEvent.HABILITATION_RECEIVED, habilitation=event.habilitation, change=known_type, request_id=request.id)
    if habilitation is None or event.type != HabilitationEventType.APPROVE or not habilitation.is_open:
        return {}
    assert habilitation.token_id is not None  # noqa: S101 - it is open
    _send_link(habilitations, habilitation, event, request, now)
    return {"token_id": habilitation.token_id}


def _send_link(
    habilitations: HabilitationRepository,
    habilitation: Habilitation,
    event: HabilitationEvent,
    request: Request,
    now: datetime,
) -> None:
    """Send the link that shows a key, once a key; without a recipient, an operator makes a link."""
    assert habilitation.token_id is not None  # noqa: S101 - it is open
    if not habilitation.recipients or not settings().mail_sender:
        return
    if not habilitations.acquire_mailing(habilitation.id, habilitation.token_id):
        return
    try:
        secret = key_link.create(habilitations, habilitation.id, habilitation.token_id, event.actor, now)
        email.send(
            # One person, so that a second opening is a sign of theft: the technical contact, else the applicant.
            habilitation.recipients[-1:],
            "API Particulier : votre clé d'accès",
            key_link.message(habilitation, key_link.link(settings().public_url or request.base_url, secret)),
        )
    except email.MailFailed as error:
        # The key is made, and DataPass gets its id: the link waits for another delivery, or for an operator.
        habilitations.release_mailing(habilitation.id, habilitation.token_id)
        _set_aside(request, f"MailFailed: {error}")
    except BaseException:
        habilitations.release_mailing(habilitation.id, habilitation.token_id)
        raise


def _set_aside(request: Request, reason: str) -> None:
    """Send an event, with its signature, to the dead-letter queue, for an operator to look at and replay.

    What the queue cannot hold, which is nothing or too much, is refused: the alarm rings all the same.
    """
    message = _NOT_FOR_A_QUEUE.sub("\ufffd", request.body.decode(errors="replace"))
    if 0 < len(message.encode()) <= _LONGEST_MESSAGE:
        signature = request.headers[datapass.SIGNATURE.lower()].strip()
        sqs().send_message(
            QueueUrl=settings().datapass_dead_letters or "",
            MessageBody=message,
            MessageAttributes={datapass.SIGNATURE: {"DataType": "String", "StringValue": signature}},
        )
    else:
        reason += ", not kept: the queue takes from 1 to 262144 bytes"
    alert(LogEvent.HABILITATION_UNPROCESSABLE, exception=reason, request_id=request.id)
