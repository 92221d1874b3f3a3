"""DataPass's events: a habilitation is asked for, approved, changed, taken away, and its key follows.

DataPass tries again whatever is not answered 200, 201 or 204, and after five failures in a row it stops sending
anything at all. So an event that no other try would help is answered 200 once it is safe in the dead-letter queue,
where an alarm tells of it; when it is our own means that fail, it is put there too, and the answer asks for another
try, whose answer can tell the key's id (docs/operations/habilitations.md).
"""

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, Field

from api_particulier.api.handler import handle_public
from api_particulier.api.openapi import Route
from api_particulier.api.request import Request
from api_particulier.api.response import Response, success
from api_particulier.aws import sqs
from api_particulier.errors import ApiError, BadSignature
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
        errors=(BadSignature,),
        asks={"X-Hub-Signature-256": "`sha256=` suivi du HMAC-SHA256 du corps, en hexadécimal."},
    ),
)


def lambda_handler(event: dict[str, Any], context: object) -> Response:
    """Answer ``POST /api/datapass/v2/api_particulier/webhook``."""
    return handle_public(event, context, "datapass", _build_response)


def _build_response(request: Request) -> Response:
    return success(_receive(request), request.id)


def _receive(request: Request) -> dict[str, str]:
    datapass.check_signature(request.body, request.headers.get("x-hub-signature-256"))
    try:
        return _process(request)
    except UnprocessableEvent as why:
        _set_aside(request, str(why))
        return {}
    except ApiError:
        raise
    except Exception as error:
        _set_aside(request, type(error).__name__)
        raise


def _process(request: Request) -> dict[str, str]:
    now = datetime.now(UTC)
    change = datapass.read(request.body, now)
    if change is None:
        return {}
    register, gateway = HabilitationRepository.of_function(), KeyStore.of_function()
    standing = provisioning.process(register, gateway, change, now)
    known = change.event if change.event in HabilitationEventType else "unknown"
    log(LogEvent.HABILITATION_RECEIVED, habilitation=change.habilitation, change=known, request_id=request.id)
    if standing is None or change.event != HabilitationEventType.APPROVE or not standing.is_open:
        return {}
    assert standing.token_id is not None  # noqa: S101 - it is open
    _send_link(register, standing, change, request, now)
    return {"token_id": standing.token_id}


def _send_link(
    register: HabilitationRepository, standing: Habilitation, change: HabilitationEvent, request: Request, now: datetime
) -> None:
    """Send, once a key, the link that shows it; without anybody to write to, an operator makes one."""
    assert standing.token_id is not None  # noqa: S101 - it is open
    if not standing.recipients or not settings().mail_sender:
        return
    if not register.claim_mailing(standing.id, standing.token_id):
        return
    try:
        secret = key_link.create(register, standing.id, standing.token_id, change.who, now)
        email.send(
            # One person, so that it is known who opened it: whoever installs the key, else who asked for it.
            standing.recipients[-1:],
            "API Particulier : votre clé d'accès",
            key_link.message(standing, key_link.link(settings().public_url or request.base_url, secret)),
        )
    except email.MailFailed as error:
        # The key is made, and DataPass is to know it: the link waits for another try, or for an operator.
        register.release_mailing(standing.id, standing.token_id)
        _set_aside(request, f"MailFailed: {error}")
    except BaseException:
        register.release_mailing(standing.id, standing.token_id)
        raise


def _set_aside(request: Request, why: str) -> None:
    """Keep an event, as it was signed, for somebody to look at and replay."""
    sqs().send_message(
        QueueUrl=settings().datapass_dead_letters or "", MessageBody=request.body.decode(errors="replace")
    )
    alert(LogEvent.HABILITATION_UNPROCESSABLE, exception=why, request_id=request.id)
