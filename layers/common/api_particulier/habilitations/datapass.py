"""Read the signed events of DataPass, the state's habilitation service.

Their format: https://github.com/etalab/data_pass/blob/develop/docs/webhooks.md
Each event carries the whole current request, so the next event makes up for one that is lost.
"""

import hashlib
import hmac
import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

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

ACTOR: Final = "DataPass"
_MODEL: Final = "authorization_request/api_particulier"
_AHEAD: Final = timedelta(hours=24)
"""How far ahead DataPass's clock may be: an event dated in a distant future would make all the others late."""
_TELEPHONE: Final = re.compile("phone|mobile|fax", re.IGNORECASE)
"""In the name of a field that holds a telephone number."""
_LONGEST_KEPT: Final = 100_000
"""Bytes of an event of unknown type; an item of DynamoDB has 400,000."""
SIGNATURE: Final = "X-Hub-Signature-256"
"""The header of a signature, and the attribute that keeps it beside an event in the dead-letter queue."""
_SECRET_KEPT: Final = 60
"""Seconds that the secret is cached, so how long a changed one takes to be known."""
_PREFIXES: Final[dict[Role, str]] = {"technical": "contact_technique", "business": "contact_metier"}
_NEEDS_NO_REQUEST: Final = frozenset(
    {
        HabilitationEventType.REVOKE,
        HabilitationEventType.ARCHIVE,
        HabilitationEventType.REFUSE,
        HabilitationEventType.CANCEL_REOPENING,
    }
)


def _text_or_nothing(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> tuple[str, ...]:
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def _object_or_empty(value: object) -> object:
    return {} if value is None else value


# DataPass leaves out what a form does not ask, or sends null for it.
type _Text = Annotated[str, BeforeValidator(_text_or_nothing)]
type _Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]


class _Received(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class _Organisation(_Received):
    siret: Siret
    raison_sociale: _Text = ""
    name: _Text = ""


class _Applicant(_Received):
    email: _Text = ""
    given_name: _Text = ""
    family_name: _Text = ""
    job_title: _Text = ""


class _Form(_Received):
    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    intitule: _Text = ""
    description: _Text = ""
    scopes: _Texts = ()
    cadre_juridique_nature: _Text = ""
    cadre_juridique_url: _Text = ""


class _Data(_Received):
    form_uid: _Text = ""
    applicant: _Applicant | None = None
    organization: _Organisation
    service_provider: dict[str, Any] | None = None
    data: Annotated[_Form, BeforeValidator(_object_or_empty)] = _Form()


class SignedEvent(_Received):
    """Un événement d'une demande d'habilitation, tel que DataPass l'envoie."""

    event: str = Field(min_length=1, max_length=64, description="Ce qui est arrivé : approve, revoke, …")
    fired_at: int = Field(ge=0, strict=True, description="Quand, en secondes depuis 1970")
    model_type: str = Field(description=f"`{_MODEL}`")
    model_id: int = Field(ge=0, strict=True, description="Le numéro de la demande")
    data: Annotated[dict[str, Any], BeforeValidator(_object_or_empty)] = Field(
        default={}, description="La demande, telle qu'elle est à présent"
    )


class Trial(_Received):
    """Ce que DataPass envoie pour essayer une adresse."""

    test: bool = Field(description="Vrai")


def check_signature(body: bytes, signature: str | None) -> None:
    """Raise ``BadSignature`` unless the signature is ``sha256=`` and the hexadecimal HMAC-SHA256 of the body.

    Raise ``NotConfigured`` for a signed event while the secret is empty.
    """
    if not signature or not signature.strip():
        raise BadSignature
    if not is_signed(body, signature, secret("DatapassSecret", settings().datapass_secret_id, max_age=_SECRET_KEPT)):
        raise BadSignature


def is_signed(body: bytes, signature: str, shared: str) -> bool:
    """Check a signature with the secret that DataPass shares, which is not empty; in constant time."""
    expected = f"sha256={hmac.new(shared.encode(), body, hashlib.sha256).hexdigest()}"
    return hmac.compare_digest(expected.encode(), signature.strip().encode(errors="replace"))


def read(body: bytes, now: datetime) -> HabilitationEvent | None:
    """Read a signed event; return None for DataPass's trial of the address.

    Raise ``UnprocessableEvent`` for an event that cannot be read.
    """
    try:
        received = SignedEvent.model_validate_json(body)
    except ValidationError:
        if _is_trial(body):
            return None
        msg = "the event cannot be read"
        raise UnprocessableEvent(msg) from None
    if received.model_type != _MODEL:
        msg = "the event is of another API"
        raise UnprocessableEvent(msg)
    if received.fired_at > (now + _AHEAD).timestamp():
        msg = "the event is of the future"
        raise UnprocessableEvent(msg)
    event_type = ALIASES.get(received.event, received.event)
    whole = _request(received.data, event_type)
    request = _shortened(whole, event_type) if whole else None
    return HabilitationEvent(
        habilitation=str(received.model_id),
        type=event_type,
        at=received.fired_at,
        actor=ACTOR,
        digest=hashlib.sha256(body).hexdigest(),
        request=request,
        note=f"shortened: {', '.join(cut)}" if whole and request and (cut := whole.differences(request)) else "",
        payload=_kept(body) if event_type not in HabilitationEventType else None,
    )


def _shortened(request: Request, event_type: str) -> Request | None:
    try:
        return request.shortened
    except UnprocessableEvent:
        if event_type in _NEEDS_NO_REQUEST:
            return None
        raise


def _kept(body: bytes) -> str:
    """Return an event of unknown type without its telephone numbers, for its history.

    Raise ``UnprocessableEvent`` for a large one.
    """
    if len(body) > _LONGEST_KEPT:
        msg = "the event is unknown, and too large to be kept"
        raise UnprocessableEvent(msg)
    return json.dumps(_without_telephones(json.loads(body)), ensure_ascii=False)


def _without_telephones(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_telephones(inner) for name, inner in value.items() if not _TELEPHONE.search(name)}
    return [_without_telephones(inner) for inner in value] if isinstance(value, list) else value


def _is_trial(body: bytes) -> bool:
    try:
        return Trial.model_validate_json(body).test
    except ValidationError:
        return False


def _request(data: dict[str, Any], event_type: str) -> Request | None:
    if event_type not in HabilitationEventType:
        return None
    try:
        return _to_request(_Data.model_validate(data))
    except ValidationError:
        if event_type in _NEEDS_NO_REQUEST:
            return None
        msg = "the request cannot be read"
        raise UnprocessableEvent(msg) from None


def _to_request(data: _Data) -> Request:
    form = data.data
    basis = " ".join(filter(None, (form.cadre_juridique_nature, form.cadre_juridique_url)))
    vendor = data.service_provider if (data.service_provider or {}).get("siret") else None
    return Request(
        kind=_applicant_type(data, is_vendor=vendor is not None),
        organisation=data.organization.raison_sociale or data.organization.name or data.organization.siret,
        siret=data.organization.siret,
        vendor=Vendor(name=str(vendor.get("name") or ""), siret=str(vendor["siret"])) if vendor else None,
        purpose=form.intitule,
        justification=form.description,
        scopes=form.scopes,
        contacts=tuple(filter(None, (_contact(data, role) for role in ROLES))),
        **({"legal_basis": basis} if basis else {}),
    )


def _applicant_type(data: _Data, *, is_vendor: bool) -> ApplicantType:
    """Return the kind of applicant. DataPass accepts administrations only; the names of its forms give their kind."""
    if is_vendor:
        return ApplicantType.EDITEUR
    return ApplicantType.COLLECTIVITE if "collectivite" in data.form_uid else ApplicantType.ADMINISTRATION


def _contact(data: _Data, role: Role) -> Contact | None:
    contact = _applicant(data) if role == "applicant" else _form_contact(data.data, role)
    return contact if contact and contact.email else None


def _applicant(data: _Data) -> Contact | None:
    applicant = data.applicant
    if applicant is None:
        return None
    return Contact(
        role="applicant",
        email=applicant.email,
        given_name=applicant.given_name,
        family_name=applicant.family_name,
        job=applicant.job_title,
    )


def _form_contact(form: _Form, role: Role) -> Contact:
    prefix, fields = _PREFIXES[role], form.model_extra or {}
    return Contact(
        role=role,
        email=_text(fields, f"{prefix}_email"),
        given_name=_text(fields, f"{prefix}_given_name"),
        family_name=_text(fields, f"{prefix}_family_name"),
        job=_text(fields, f"{prefix}_job_title") or _text(fields, f"{prefix}_job"),
    )


def _text(fields: dict[str, Any], name: str) -> str:
    """Return a field of the form, or an empty string when it is absent or of another type."""
    return _text_or_nothing(fields.get(name))
