"""What DataPass, the state's habilitation service, tells us: signed events, and how they are read.

The shape and the events are DataPass's: https://github.com/etalab/data_pass/blob/develop/docs/webhooks.md
Each event carries the whole request as it stands, so one that is lost is made good by the next.
"""

import hashlib
import hmac
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api_particulier.aws import secret
from api_particulier.errors import BadSignature
from api_particulier.habilitations.model import (
    ALIASES,
    ROLES,
    ApplicantType,
    Contact,
    HabilitationEvent,
    HabilitationEventType,
    Request,
    Role,
    Siret,
    UnprocessableEvent,
    Vendor,
)
from api_particulier.settings import settings

WHO: Final = "DataPass"
_MODEL: Final = "authorization_request/api_particulier"
_AHEAD: Final = timedelta(hours=24)
"""How far ahead of ours DataPass's clock may be: one event of a distant future would make all others late."""
_SECRET_KEPT: Final = 60
"""Seconds; a secret that is changed is known then."""
_PREFIXES: Final[dict[Role, str]] = {"technical": "contact_technique", "business": "contact_metier"}
_NEEDS_NO_REQUEST: Final = frozenset(
    {
        HabilitationEventType.REVOKE,
        HabilitationEventType.ARCHIVE,
        HabilitationEventType.REFUSE,
        HabilitationEventType.CANCEL_REOPENING,
    }
)


class _Told(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Organisation(_Told):
    siret: Siret
    raison_sociale: str = ""
    name: str = ""


class _Applicant(_Told):
    email: str = ""
    given_name: str = ""
    family_name: str = ""
    job_title: str = ""


class _Form(_Told):
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    intitule: str | None = None
    description: str | None = None
    scopes: tuple[str, ...] | None = None
    cadre_juridique_nature: str | None = None
    cadre_juridique_url: str | None = None


class _Data(_Told):
    form_uid: str = ""
    applicant: _Applicant | None = None
    organization: _Organisation
    service_provider: dict[str, Any] | None = None
    data: _Form = _Form()


class SignedEvent(_Told):
    """Un événement d'une demande d'habilitation, tel que DataPass l'envoie."""

    event: str = Field(min_length=1, max_length=64, description="Ce qui est arrivé : approve, revoke, …")
    fired_at: int = Field(ge=0, strict=True, description="Quand, en secondes depuis 1970")
    model_type: str = Field(description=f"`{_MODEL}`")
    model_id: int = Field(ge=0, strict=True, description="Le numéro de la demande")
    data: dict[str, Any] = Field(default={}, description="La demande, telle qu'elle est à présent")


class Trial(_Told):
    """Ce que DataPass envoie pour essayer une adresse."""

    test: bool = Field(description="Vrai")


def check_signature(body: bytes, signature: str | None) -> None:
    """Compare, in constant time, ``sha256=<hexadecimal HMAC-SHA256 of the body>`` with ours; or ``BadSignature``."""
    shared = _secret()
    expected = f"sha256={hmac.new(shared, body, hashlib.sha256).hexdigest()}"
    # Without a secret nothing is signed: an empty one is everybody's.
    if not shared or not hmac.compare_digest(expected.encode(), (signature or "").strip().encode(errors="replace")):
        raise BadSignature


def read(body: bytes, now: datetime) -> HabilitationEvent | None:
    """Read a signed event; None for DataPass's trial. ``Unprocessable`` for what cannot be read."""
    try:
        told = SignedEvent.model_validate_json(body)
    except ValidationError:
        if _is_trial(body):
            return None
        msg = "the event cannot be read"
        raise UnprocessableEvent(msg) from None
    if told.model_type != _MODEL:
        msg = "the event is of another API"
        raise UnprocessableEvent(msg)
    if told.fired_at > (now + _AHEAD).timestamp():
        msg = "the event is of the future"
        raise UnprocessableEvent(msg)
    event = ALIASES.get(told.event, told.event)
    return HabilitationEvent(
        habilitation=str(told.model_id),
        event=event,
        at=told.fired_at,
        who=WHO,
        digest=hashlib.sha256(body).hexdigest(),
        request=_request(told.data, event),
        payload=None if event in HabilitationEventType else body.decode(),
    )


def _is_trial(body: bytes) -> bool:
    try:
        return Trial.model_validate_json(body).test
    except ValidationError:
        return False


def _request(told: dict[str, Any], event: str) -> Request | None:
    if event not in HabilitationEventType:
        return None
    try:
        return _request_of(_Data.model_validate(told))
    except ValidationError:
        if event in _NEEDS_NO_REQUEST:
            return None
        msg = "the request cannot be read"
        raise UnprocessableEvent(msg) from None


def _request_of(data: _Data) -> Request:
    form = data.data
    basis = " ".join(filter(None, (form.cadre_juridique_nature, form.cadre_juridique_url)))
    vendor = data.service_provider if (data.service_provider or {}).get("siret") else None
    return Request(
        kind=_kind(data, is_vendor=vendor is not None),
        organisation=data.organization.raison_sociale or data.organization.name,
        siret=data.organization.siret,
        vendor=Vendor(name=str(vendor.get("name") or ""), siret=str(vendor["siret"])) if vendor else None,
        purpose=form.intitule or "",
        justification=form.description or "",
        scopes=form.scopes or (),
        contacts=tuple(filter(None, (_contact(data, role) for role in ROLES))),
        **({"legal_basis": basis} if basis else {}),
    )


def _kind(data: _Data, *, is_vendor: bool) -> ApplicantType:
    """Tell who asks. DataPass lets in administrations only, and its forms' names tell a collectivité."""
    if is_vendor:
        return ApplicantType.EDITEUR
    return ApplicantType.COLLECTIVITE if "collectivite" in data.form_uid else ApplicantType.ADMINISTRATION


def _contact(data: _Data, role: Role) -> Contact | None:
    if role == "applicant":
        one = data.applicant
        if one is None:
            return None
        told = {"email": one.email, "given": one.given_name, "family": one.family_name, "job": one.job_title}
    else:
        prefix, said = _PREFIXES[role], data.data.model_extra or {}
        told = {
            "email": _said(said, f"{prefix}_email"),
            "given": _said(said, f"{prefix}_given_name"),
            "family": _said(said, f"{prefix}_family_name"),
            "job": _said(said, f"{prefix}_job_title") or _said(said, f"{prefix}_job"),
        }
    if not told["email"]:
        return None
    return Contact(
        role=role, email=told["email"], given_name=told["given"], family_name=told["family"], job=told["job"]
    )


def _said(told: dict[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""


def _secret() -> bytes:
    return secret(settings().datapass_secret_id, max_age=_SECRET_KEPT).strip().encode()
