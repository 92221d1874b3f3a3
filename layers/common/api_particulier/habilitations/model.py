"""The habilitation: which administration may read which data, for what purpose, and its history.

Only administrations are entitled (article L114-8 of the code des relations entre le public et l'administration). A
software vendor may ask for an administration, which it names, if it justifies that this one is entitled. DataPass or an
operator decides. Each decision is an event, and an event is applied once, in the order of its date: one that is
delivered twice, or late, is kept in the history and changes nothing.

Contacts are the only personal data here; no ``repr`` and no message of an exception contains them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from stdnum.exceptions import ValidationError as InvalidNumber
from stdnum.fr import siret as sirets
from uuid6 import uuid7

LIFETIME: Final = timedelta(days=18 * 30.4375)
"""How long an approval lasts: 18 months."""


class State(StrEnum):
    """The state of a request, in DataPass's words."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CHANGES_REQUESTED = "changes_requested"
    VALIDATED = "validated"
    REFUSED = "refused"
    REVOKED = "revoked"
    ARCHIVED = "archived"


FINAL_STATES: Final = frozenset({State.REVOKED, State.ARCHIVED})
"""No event changes a habilitation in these states."""


class HabilitationEventType(StrEnum):
    """The events that change a habilitation; an event of another type is kept in the history only."""

    CREATE = "create"
    UPDATE = "update"
    TRANSFER = "transfer"
    SUBMIT = "submit"
    REQUEST_CHANGES = "request_changes"
    REFUSE = "refuse"
    APPROVE = "approve"
    REOPEN = "reopen"
    CANCEL_REOPENING = "cancel_reopening"
    REVOKE = "revoke"
    ARCHIVE = "archive"


ALIASES: Final[Mapping[str, HabilitationEventType]] = {
    "validate": HabilitationEventType.APPROVE,
    "start_reopening": HabilitationEventType.REOPEN,
}
"""Former names of these types."""


class ApplicantType(StrEnum):
    """The kind of applicant."""

    COLLECTIVITE = "collectivite"
    ADMINISTRATION = "administration"
    EDITEUR = "editeur"
    PARTICULIER = "particulier"
    ENTREPRISE = "entreprise"


class UnprocessableEvent(Exception):
    """An event that cannot be applied; its text is the reason, and contains nothing of the event."""


class UnknownHabilitation(LookupError):
    """No habilitation has this id."""


def checked_siret(value: str) -> str:
    """Return a SIRET without its spaces; raise ``ValueError`` when its digits or its check digit are wrong.

    La Poste's SIRETs have a check of their own.
    """
    try:
        return sirets.validate(value)
    except InvalidNumber:
        msg = "not a SIRET"
        raise ValueError(msg) from None


LONGEST: Final[Mapping[str, int]] = {"organisation": 200, "purpose": 300, "justification": 5_000, "legal_basis": 500}
"""Characters that are kept of each text of a request: a purpose is in every audit record."""
_LONGEST_NAME: Final = 100
_LONGEST_EMAIL: Final = 254
"""RFC 5321 allows no longer address."""
_MOST_SCOPES: Final = 200
_LONGEST_SCOPE: Final = 100


type Siret = Annotated[str, AfterValidator(checked_siret)]
type Role = Literal["applicant", "technical", "business"]
ROLES: Final[tuple[Role, ...]] = get_args(Role.__value__)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Contact(_Record):
    """A person to write to. DataPass also sends telephone numbers, which have no use here: they are not kept."""

    role: Role
    email: str = Field(default="", repr=False)
    given_name: str = Field(default="", repr=False)
    family_name: str = Field(default="", repr=False)
    job: str = Field(default="", repr=False)

    @property
    def shortened(self) -> Self:
        """The contact with texts of a length that is kept; without its address when this is too long to be one."""
        email = self.email if len(self.email) <= _LONGEST_EMAIL else ""
        names = {name: getattr(self, name)[:_LONGEST_NAME] for name in ("given_name", "family_name", "job")}
        return self.model_copy(update={"email": email, **names})


class Vendor(_Record):
    """The software vendor that asks on behalf of the administration."""

    name: str = ""
    siret: Siret


class Request(_Record):
    """A request: which administration is to read which scopes, for what purpose, and the contacts."""

    kind: ApplicantType
    organisation: str
    """The administration that is entitled, never its vendor."""
    siret: Siret
    vendor: Vendor | None = None
    purpose: str = ""
    justification: str = ""
    """How it simplifies citizens' procedures; from a vendor, also why the administration is entitled."""
    legal_basis: str = "Article L114-8 du code des relations entre le public et l'administration"
    scopes: tuple[str, ...] = ()
    contacts: tuple[Contact, ...] = Field(default=(), repr=False)

    @property
    def shortened(self) -> Self:
        """The request with texts of a length that is kept; raise ``UnprocessableEvent`` for scopes that no form has."""
        if len(self.scopes) > _MOST_SCOPES or any(len(scope) > _LONGEST_SCOPE for scope in self.scopes):
            msg = "the request has too many scopes, or too long ones"
            raise UnprocessableEvent(msg)
        texts = {name: getattr(self, name)[:length] for name, length in LONGEST.items()}
        vendor = (
            self.vendor.model_copy(update={"name": self.vendor.name[: LONGEST["organisation"]]})
            if self.vendor
            else None
        )
        contacts = tuple(contact for contact in (each.shortened for each in self.contacts) if contact.email)
        return self.model_copy(update={**texts, "vendor": vendor, "contacts": contacts})

    def differences(self, other: Self) -> list[str]:
        """Return the names of the fields in which another request differs."""
        return [name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)]

    @property
    def refusal(self) -> str | None:
        """Why the applicant is not entitled, or None (source: the page of the API on api.gouv.fr)."""
        if self.kind in {ApplicantType.PARTICULIER, ApplicantType.ENTREPRISE}:
            return "Seules les administrations sont habilitées à utiliser API Particulier."
        if self.kind is not ApplicantType.EDITEUR:
            return None
        if self.vendor is None:
            return "Un éditeur demande pour l'entité qu'il représente : il faut son SIRET et celui de cette entité."
        if not self.justification.strip():
            return (
                "Un éditeur doit justifier dans quelle mesure l'entité pour laquelle il opère rentre dans le cadre"
                " de l'article L114-8."
            )
        return None


class Habilitation(_Record):
    """The current state of a habilitation."""

    id: str
    state: State
    reopened: bool = False
    """A change of an approved request is being examined; what was approved stays valid."""
    request: Request | None = None
    """The latest version received; None when the only event received ended the habilitation."""
    granted: tuple[str, ...] = ()
    """The approved scopes that the API knows; the others are in ``unknown``."""
    unknown: tuple[str, ...] = ()
    token_id: str | None = None
    """The id of its key, reserved before the key is made."""
    expires: datetime | None = None
    """The end of the approval."""
    applied: int = 0
    """The date of the last event applied: Unix seconds."""
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether its key is to work: approved once, and neither revoked nor archived since."""
        return self.token_id is not None and self.state not in FINAL_STATES

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses that messages are sent to: the applicant's and the technical contact's, without duplicates."""
        contacts = self.request.contacts if self.request else ()
        found = [contact.email for role in ROLES[:2] for contact in contacts if contact.role == role and contact.email]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class HabilitationEvent:
    """An event of a habilitation's life, sent by DataPass or made by an operator."""

    habilitation: str
    type: str
    """A ``HabilitationEventType``, or a type that is unknown here."""
    at: int
    """When it happened: Unix seconds."""
    actor: str
    """DataPass, or the operator's identity."""
    digest: str
    """What identifies it among the events of its second: the SHA-256 of what was received, or a unique identifier."""
    request: Request | None = field(default=None, repr=False)
    note: str = ""
    payload: str | None = field(default=None, repr=False)
    """The body received, kept for an event of unknown type only."""

    @classmethod
    def by_operator(  # noqa: PLR0913 - the parts of an event, two of them by name
        cls,
        habilitation: str,
        event_type: HabilitationEventType,
        actor: str,
        now: datetime,
        *,
        request: Request | None = None,
        note: str = "",
    ) -> Self:
        """Return the event of an operator's decision, made now."""
        return cls(habilitation, event_type, int(now.timestamp()), actor, _unique(), request, note)

    @classmethod
    def for_history(cls, habilitation: str, event_type: str, actor: str, now: datetime) -> Self:
        """Return an event that happens now and changes nothing of the habilitation."""
        return cls(habilitation, event_type, int(now.timestamp()), actor, _unique())

    @property
    def item(self) -> str:
        """The sort key of its history entry: entries are in the order of their dates."""
        return f"event#{self.at:020}#{self.digest}"


def _unique() -> str:
    """Return a unique digest that sorts after those of DataPass's events of the same second, and by time."""
    return f"z{uuid7().hex}"


class HistoryEntry(_Record):
    """An entry of a habilitation's history: what happened, when, by which actor, and what it changed."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    event: str
    """The type of the event."""
    at: int
    received: datetime
    actor: str = Field(alias="who")
    before: State | None = None
    after: State | None = None
    late: bool = False
    """It happened before the last event applied, and changed nothing."""
    note: str = ""


@dataclass(frozen=True)
class OneTimeLink:
    """A link that shows a key once; its secret is not kept."""

    digest: str
    """The SHA-256 of its secret, in hexadecimal."""
    habilitation: str
    token_id: str
    expires: int
    """Unix seconds."""
    opened: datetime | None = None
    opener: str | None = None
    """The SHA-256 of what its opener drew to be recognised again, in hexadecimal."""
