"""The habilitations table: each habilitation, its history, its one-time links and the messages sent for it.

Every write of the table is here.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from pydantic import BaseModel, ValidationError

from api_particulier.audit.record import HABILITATION, AuditRecord, writing
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Item, Table, TransactionCancelled, write_together
from api_particulier.habilitations.model import (
    Habilitation,
    HabilitationEvent,
    HistoryEntry,
    OneTimeLink,
    UnknownHabilitation,
)
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

_LONGEST_TYPE: Final = 64
_STATE: Final = "state"
_IS_NEW: Final = "attribute_not_exists(habilitation)"


@dataclass(frozen=True)
class HabilitationRepository:
    """Read and write the habilitations table."""

    dynamodb: "DynamoDBClient"
    habilitations_table: str
    in_audit: bool = False
    """Whether each change leaves an audit record, in its transaction; an operator's command writes its own before."""

    @classmethod
    def from_environment(cls) -> Self:
        """Return the repository that a function's environment variables name."""
        return cls(dynamodb(), settings().habilitations_table, in_audit=True)

    # ── Habilitations ────────────────────────────────────────────────────────────────────────────────────────────────

    def current(self, habilitation_id: str) -> Habilitation | None:
        """Return a habilitation as it is now, by a consistent read, or None."""
        item = self._table.get(_key(habilitation_id, _STATE), consistent=True)
        return Habilitation.model_validate(item) if item else None

    def find(self, habilitation_id: str) -> Habilitation:
        """Return a habilitation by its id; raise ``UnknownHabilitation`` when there is none."""
        habilitation = self.current(habilitation_id)
        if habilitation is None:
            raise UnknownHabilitation(habilitation_id)
        return habilitation

    def list_all(self) -> list[Habilitation]:
        """Return every habilitation, by id."""
        items = self._table.scan("#item = :state", {"state": _STATE})
        return sorted(map(Habilitation.model_validate, items), key=lambda habilitation: habilitation.id)

    def list_readable(self) -> Iterator[Habilitation]:
        """Yield every habilitation but those that cannot be read."""
        for item in self._table.scan("#item = :state", {"state": _STATE}):
            with suppress(ValidationError):
                yield Habilitation.model_validate(item)

    def list_for_vendor(self, siret: str) -> list[Habilitation]:
        """Return the habilitations that a software vendor asked for, by id: one or more for each administration."""
        items = self._table.query("vendor_siret = :siret", {"siret": siret}, index="by_vendor")
        return [Habilitation.model_validate(item) for item in items]

    def update(
        self,
        event: HabilitationEvent,
        entry: HistoryEntry,
        current: Habilitation | None,
        updated: Habilitation | None,
    ) -> bool:
        """Write a habilitation as an event updated it, if it did, and its history entry, in one transaction.

        Return False when nothing was written: the event is in the history already, or ``current`` is out of date.
        """
        condition, values = ("version = :version", {"version": current.version}) if current else (_IS_NEW, {})
        state_key = _key(event.habilitation, _STATE)
        state = (
            self._table.putting(state_key | _state_attributes(updated), condition=condition, values=values)
            if updated
            else self._table.checking(state_key, condition, values)
        )
        history = self._table.putting(_history_item(event, entry), condition=_IS_NEW)
        try:
            write_together(self.dynamodb, [state, history, *self._in_audit(event, entry, updated or current)])
        except TransactionCancelled:
            return False
        return True

    def forget_contacts(self, habilitation: Habilitation) -> None:
        """Remove the contacts of a habilitation, and what its history keeps as received; nothing if it changed."""
        if habilitation.request is None:
            return
        request = habilitation.request.model_copy(update={"contacts": ()})
        changes = {"request": request.model_dump(mode="json", exclude_none=True), "version": habilitation.version}
        key = _key(habilitation.id, _STATE)
        if self._table.update(key, "SET #request = :request", condition="version = :version", values=changes) is None:
            return
        events = {"id": habilitation.id, "event": "event#"}
        for item in self._table.query("habilitation = :id AND begins_with(#item, :event)", events):
            if "payload" in item:
                self._table.update(_key(habilitation.id, item["item"]), "REMOVE payload")

    # ── Their history ────────────────────────────────────────────────────────────────────────────────────────────────

    def history(self, habilitation_id: str) -> list[HistoryEntry]:
        """Return the history of a habilitation, the oldest entry first."""
        items = self._table.query(
            "habilitation = :id AND begins_with(#item, :event)",
            {"id": habilitation_id, "event": "event#"},
            consistent=True,
        )
        return [HistoryEntry.model_validate(item) for item in items]

    def is_known(self, event: HabilitationEvent) -> bool:
        """Return whether an event is in the history."""
        return self._table.get(_key(event.habilitation, event.item), consistent=True) is not None

    def is_processed(self, event: HabilitationEvent) -> bool:
        """Return whether all the effects of an event are done."""
        item = self._table.get(_key(event.habilitation, event.item), consistent=True)
        return item is not None and "settled" in item

    def mark_processed(self, event: HabilitationEvent) -> None:
        """Record that all the effects of an event are done."""
        self._table.update(_key(event.habilitation, event.item), "SET settled = :true", values={"true": True})

    def add_history(self, habilitation_id: str, event_type: str, actor: str, now: datetime) -> None:
        """Add an entry that changes nothing of the habilitation: a link created or opened, a key changed."""
        write_together(self.dynamodb, self.adding_history(habilitation_id, event_type, actor, now))

    def adding_history(
        self, habilitation_id: str, event_type: str, actor: str, now: datetime
    ) -> "list[TransactWriteItemTypeDef]":
        """Return the writes of ``add_history`` as members of a transaction."""
        event = HabilitationEvent.for_history(habilitation_id, event_type, actor, now)
        entry = HistoryEntry(event=event_type, at=event.at, received=now, actor=actor)
        return [self._table.putting(_history_item(event, entry)), *self._in_audit(event, entry, None)]

    def _in_audit(
        self, event: HabilitationEvent, entry: HistoryEntry, habilitation: Habilitation | None
    ) -> "list[TransactWriteItemTypeDef]":
        return [writing(_audit_record(event, entry, habilitation))] if self.in_audit else []

    # ── One-time links, and the messages that carry them ─────────────────────────────────────────────────────────────

    def add_link(self, link: OneTimeLink, *, forget_at: datetime) -> None:
        """Write a one-time link, which DynamoDB deletes after ``forget_at``."""
        attributes = {"of": link.habilitation, "token": link.token_id, "until": link.expires}
        self._table.put(_link_key(link.digest) | attributes | {"forget_at": int(forget_at.timestamp())})

    def find_link(self, digest: str) -> OneTimeLink | None:
        """Return a link by the SHA-256 of its secret, by a consistent read, or None."""
        item = self._table.get(_link_key(digest), consistent=True)
        if item is None:
            return None
        opened = datetime.fromisoformat(item["opened"]) if "opened" in item else None
        return OneTimeLink(digest, item["of"], item["token"], item["until"], opened, item.get("opener"))

    def marking_link_opened(
        self, link: OneTimeLink, opener: str | None, now: datetime
    ) -> "list[TransactWriteItemTypeDef]":
        """Return the writes that record the opening of a link, unless another came first, and its history entry."""
        opening = self._table.updating(
            _link_key(link.digest),
            "SET opened = :now" + (", opener = :opener" if opener else ""),
            condition="attribute_exists(habilitation) AND attribute_not_exists(opened)",
            values={"now": now.astimezone(UTC).isoformat()} | ({"opener": opener} if opener else {}),
        )
        return [opening, *self.adding_history(link.habilitation, "link_opened", "the link", now)]

    def acquire_mailing(self, habilitation_id: str, token_id: str) -> bool:
        """Reserve the message that carries the link of a key; return False when it is sent or being sent."""
        return self._table.put(_key(habilitation_id, f"mail#{token_id}"), condition=_IS_NEW)

    def release_mailing(self, habilitation_id: str, token_id: str) -> None:
        """Cancel ``acquire_mailing``: the message was not sent."""
        self._table.delete(_key(habilitation_id, f"mail#{token_id}"))

    @property
    def _table(self) -> Table:
        return Table(self.dynamodb, self.habilitations_table)


def _key(habilitation_id: str, item: str) -> Item:
    return {"habilitation": habilitation_id, "item": item}


def _link_key(digest: str) -> Item:
    return _key(f"link#{digest}", "link")


def _state_attributes(habilitation: Habilitation) -> Item:
    vendor = habilitation.request.vendor if habilitation.request else None
    return _attributes(habilitation) | ({"vendor_siret": vendor.siret} if vendor else {})


def _history_item(event: HabilitationEvent, entry: HistoryEntry) -> Item:
    payload = {"payload": event.payload} if event.payload else {}
    return _key(event.habilitation, event.item) | _attributes(entry) | payload


def _audit_record(event: HabilitationEvent, entry: HistoryEntry, habilitation: Habilitation | None) -> AuditRecord:
    """Return the audit record of a change: the event by its digest, and what is granted after it."""
    request = habilitation.request if habilitation else None
    return AuditRecord(
        at=datetime.now(UTC),
        request_id="",
        dataset=HABILITATION,
        route=entry.event[:_LONGEST_TYPE],
        address="",
        record_type=HABILITATION,
        token=HABILITATION,
        user=entry.actor,
        organisation=request.organisation if request else None,
        siret=request.siret if request else None,
        habilitation=event.habilitation,
        warnings=[
            f"event: {event.digest}",
            f"state: {entry.before} to {entry.after}",
            f"granted: {' '.join(habilitation.granted) if habilitation else ''}",
        ],
        status=200,
    )


def _attributes(model: BaseModel) -> Item:
    return {name: value for name, value in model.model_dump(mode="json").items() if value is not None}
