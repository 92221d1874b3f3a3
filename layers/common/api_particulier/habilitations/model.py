"""The habilitation: which administration may read what, for what purpose, and how that came and went.

Only administrations are entitled (article L114-8 of the code des relations entre le public et l'administration). A
software vendor may ask for one, which it names, if it says why that one is entitled. DataPass decides, or an operator;
both tell us by events, and an event is applied once, in the order in which things happened: one that is delivered
twice, or late, is kept in the history and changes nothing.

Contacts are the only personal data here; no ``repr`` shows them, and no message of an exception holds any.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from stdnum.exceptions import ValidationError as InvalidNumber
from stdnum.fr import siret as sirets
from uuid6 import uuid7

from api_particulier.scopes import BUNDLES, Scope

LIFETIME: Final = timedelta(days=18 * 30.4375)
"""How long an approval lasts: 18 months."""


class State(StrEnum):
    """Where a request stands; the words are DataPass's."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    CHANGES_REQUESTED = "changes_requested"
    VALIDATED = "validated"
    REFUSED = "refused"
    REVOKED = "revoked"
    ARCHIVED = "archived"


FINAL_STATES: Final = frozenset({State.REVOKED, State.ARCHIVED})
"""Nothing follows these."""


class HabilitationEventType(StrEnum):
    """What may happen to a habilitation. Whatever else DataPass sends is kept, and changes nothing."""

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
"""Other names that these have had."""


class ApplicantType(StrEnum):
    """Who asks."""

    COLLECTIVITE = "collectivite"
    ADMINISTRATION = "administration"
    EDITEUR = "editeur"
    PARTICULIER = "particulier"
    ENTREPRISE = "entreprise"


class UnprocessableEvent(Exception):
    """An event that cannot be applied; its text says why, in words of ours."""


class UnknownHabilitation(LookupError):
    """No habilitation has this id."""


def checked_siret(value: str) -> str:
    """Return a SIRET without its spaces; ``ValueError`` unless it has 14 digits, and Luhn's key or La Poste's own."""
    try:
        return sirets.validate(value)
    except InvalidNumber:
        msg = "not a SIRET"
        raise ValueError(msg) from None


type Siret = Annotated[str, AfterValidator(checked_siret)]
type Role = Literal["applicant", "technical", "business"]
ROLES: Final[tuple[Role, ...]] = get_args(Role.__value__)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Contact(_Record):
    """Somebody to write to. DataPass also tells telephone numbers: nothing here calls anybody, so none is kept."""

    role: Role
    email: str = Field(default="", repr=False)
    given_name: str = Field(default="", repr=False)
    family_name: str = Field(default="", repr=False)
    job: str = Field(default="", repr=False)


class Vendor(_Record):
    """The software vendor that asks on behalf of the administration."""

    name: str = ""
    siret: Siret


class Request(_Record):
    """What is asked: for which administration, by whom, why, and which scopes."""

    kind: ApplicantType
    organisation: str
    """The administration that is entitled, never its vendor."""
    siret: Siret
    vendor: Vendor | None = None
    purpose: str = ""
    justification: str = ""
    """How it makes things simpler for citizens; of a vendor, also why the administration is entitled."""
    legal_basis: str = "Article L114-8 du code des relations entre le public et l'administration"
    scopes: tuple[str, ...] = ()
    contacts: tuple[Contact, ...] = Field(default=(), repr=False)

    @property
    def refusal(self) -> str | None:
        """Why who asks is not entitled; None when they are (the catalogue's page of the API)."""
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
    """One habilitation as it stands."""

    id: str
    state: State
    reopened: bool = False
    """An approved request is being changed: what was approved holds meanwhile."""
    request: Request | None = None
    """The latest that is known of what is asked; None when all that was told is that it ended."""
    granted: tuple[str, ...] = ()
    """The scopes approved that the API knows; those that it does not are in ``unknown``."""
    unknown: tuple[str, ...] = ()
    token_id: str | None = None
    """The id of the key made, or being made, for it; reserved before anything is made."""
    expires: datetime | None = None
    """The end of what was approved."""
    applied: int = 0
    """When what was last applied happened: Unix seconds."""
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Tell whether its key is to work: approved once, and neither revoked nor archived since."""
        return self.token_id is not None and self.state not in FINAL_STATES

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses that notices go to: the applicant's and the technical contact's, each once."""
        contacts = self.request.contacts if self.request else ()
        found = [one.email for role in ROLES[:2] for one in contacts if one.role == role and one.email]
        return tuple(dict.fromkeys(found))


@dataclass(frozen=True)
class HabilitationEvent:
    """An event of a habilitation's life, told by DataPass or by an operator."""

    habilitation: str
    event: str
    at: int
    """When it happened: Unix seconds."""
    who: str
    digest: str
    """SHA-256 of what told it, or what stands for one: the same twice is one event."""
    request: Request | None = field(default=None, repr=False)
    note: str = ""
    payload: str | None = field(default=None, repr=False)
    """What was told, kept for an event that we do not know."""

    @classmethod
    def by_operator(cls, habilitation: str, event: HabilitationEventType, who: str, now: datetime, **told: Any) -> Self:
        """Return what somebody of ours does, now; ``told`` may be its request and its note."""
        return cls(habilitation, event, int(now.timestamp()), who, _unique(), **told)

    @classmethod
    def noted(cls, habilitation: str, event: str, who: str, now: datetime) -> Self:
        """Return what is told of a habilitation and changes nothing of it."""
        return cls(habilitation, event, int(now.timestamp()), who, _unique())

    @property
    def item(self) -> str:
        """The sort key of its place in the history, which is in the order in which things happened."""
        return f"event#{self.at:020}#{self.digest}"


def _unique() -> str:
    """Return what stands for the digest of something told once: after those of its second, in the order of time."""
    return f"z{uuid7().hex}"


class HistoryEntry(_Record):
    """One line of a history: what happened, when, who said so, and what it changed."""

    event: str
    at: int
    received: datetime
    who: str
    before: State | None = None
    after: State | None = None
    late: bool = False
    """It happened before what had been applied already: it changed nothing."""
    note: str = ""


@lru_cache(maxsize=1)
def known_scopes() -> frozenset[str]:
    """Return the scopes that open something, bundles included, from the fields that the providers' modules declare."""
    from api_particulier.providers import caf_fields, dgfip_fields  # noqa: PLC0415 - only who approves pays for it

    return frozenset(
        scope for module in (dgfip_fields, caf_fields) for value in vars(module).values() for scope in _scopes_of(value)
    ) | frozenset(BUNDLES)


def _scopes_of(value: object) -> Iterator[str]:
    marks: list[object] = list(getattr(value, "__metadata__", ()))
    if isinstance(value, type) and issubclass(value, BaseModel):
        marks += [mark for one in value.model_fields.values() for mark in one.metadata]
    yield from (mark.name for mark in marks if isinstance(mark, Scope))
