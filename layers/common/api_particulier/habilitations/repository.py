"""Where habilitations are kept: each as it stands, its history, and who was sent its link.

A change is applied once, in the order in which things happened, however many deliver it, however often.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Self

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from pydantic import BaseModel

from api_particulier.aws import dynamodb
from api_particulier.habilitations.model import Habilitation, HabilitationEvent, HistoryEntry, UnknownHabilitation
from api_particulier.habilitations.transitions import apply_event
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef

_ATTEMPTS: Final = 40
_STATE: Final = "state"


@dataclass(frozen=True)
class HabilitationRepository:
    """Where habilitations are kept."""

    dynamodb: "DynamoDBClient"
    table: str

    @classmethod
    def of_function(cls) -> Self:
        """Return that of a function's environment."""
        return cls(dynamodb(), settings().habilitations_table)

    def apply(
        self, change: HabilitationEvent, *, now: datetime, is_spent: Callable[[str], bool] = lambda _: False
    ) -> tuple[Habilitation | None, bool]:
        """Apply ``change`` once and keep it in the history; return the habilitation, and whether this call changed it.

        ``Unprocessable`` as ``after`` says, and then nothing is kept. However many deliver the same change at a time,
        one applies it: state and history are written in one transaction, if nobody else has written meanwhile.
        """
        for attempt in range(_ATTEMPTS):
            is_known = self._is_known(change)
            standing = self._standing(change.habilitation)  # after: what is known has left its state
            if is_known:
                return standing, False
            left = apply_event(standing, change, is_spent=is_spent)
            step = HistoryEntry(
                event=change.event,
                at=change.at,
                received=now,
                who=change.who,
                before=standing.state if standing else None,
                after=(left or standing).state if left or standing else None,  # type: ignore[union-attr]  # one of the two is
                late=standing is not None and change.at < standing.applied,
                note=change.note,
            )
            if self._write(change, standing, left, step):
                return left or standing, left is not None
            time.sleep(secrets.randbelow(20 * (min(attempt, 5) + 1)) / 1000)
        msg = "too many changes of one habilitation at a time"
        raise TimeoutError(msg)

    def find(self, habilitation_id: str) -> Habilitation:
        """Return a habilitation by its id; ``UnknownHabilitationError`` when there is none."""
        found = self._standing(habilitation_id)
        if found is None:
            raise UnknownHabilitation(habilitation_id)
        return found

    def history(self, habilitation_id: str) -> list[HistoryEntry]:
        """Return what happened to a habilitation, the oldest first."""
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            KeyConditionExpression="habilitation = :id AND begins_with(#item, :event)",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":id": {"S": habilitation_id}, ":event": {"S": "event#"}},
            ConsistentRead=True,
        )
        return [HistoryEntry.model_validate(_plain(item)) for page in pages for item in page["Items"]]

    def list_all(self) -> list[Habilitation]:
        """Return every habilitation, by id."""
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.table,
            FilterExpression="#item = :state",
            ExpressionAttributeNames={"#item": "item"},
            ExpressionAttributeValues={":state": {"S": _STATE}},
        )
        return sorted((_read(item) for page in pages for item in page["Items"]), key=lambda one: one.id)

    def of_vendor(self, siret: str) -> list[Habilitation]:
        """Return the habilitations that a vendor asked for, by id: one or more an administration that it serves."""
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            IndexName="by_vendor",
            KeyConditionExpression="vendor_siret = :siret",
            ExpressionAttributeValues={":siret": {"S": siret}},
        )
        return [_read(item) for page in pages for item in page["Items"]]

    def note(self, habilitation_id: str, event: str, who: str, now: datetime) -> None:
        """Add to a history something that changes nothing of the habilitation: a link made, opened, a key killed."""
        self.dynamodb.put_item(**self.put_of_note(habilitation_id, event, who, now))

    def put_of_note(self, habilitation_id: str, event: str, who: str, now: datetime) -> "PutTypeDef":
        """Return the write of a note, for who writes it together with something else, or not at all."""
        change = HabilitationEvent.noted(habilitation_id, event, who, now)
        step = HistoryEntry(event=event, at=change.at, received=now, who=who)
        return {"TableName": self.table, "Item": _step_item(change, step)}

    def is_settled(self, change: HabilitationEvent) -> bool:
        """Tell whether all that had to follow from ``change`` was done."""
        found = self.dynamodb.get_item(
            TableName=self.table, Key=_key(change.habilitation, change.item), ConsistentRead=True
        )
        return "settled" in found.get("Item", {})

    def settle(self, change: HabilitationEvent) -> None:
        """Say that all that had to follow from ``change`` was done."""
        self.dynamodb.update_item(
            TableName=self.table,
            Key=_key(change.habilitation, change.item),
            UpdateExpression="SET settled = :true",
            ExpressionAttributeValues={":true": {"BOOL": True}},
        )

    def claim_mailing(self, habilitation_id: str, token_id: str) -> bool:
        """Take upon oneself, once a key, to send the link to it; False when somebody has."""
        try:
            self.dynamodb.put_item(
                TableName=self.table,
                Item=_key(habilitation_id, f"mail#{token_id}"),
                ConditionExpression="attribute_not_exists(habilitation)",
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def release_mailing(self, habilitation_id: str, token_id: str) -> None:
        """Give back what ``claim_mailing`` took: the message did not leave."""
        self.dynamodb.delete_item(TableName=self.table, Key=_key(habilitation_id, f"mail#{token_id}"))

    def _standing(self, habilitation_id: str) -> Habilitation | None:
        item = self.dynamodb.get_item(TableName=self.table, Key=_key(habilitation_id, _STATE), ConsistentRead=True).get(
            "Item"
        )
        return _read(item) if item else None

    def _is_known(self, change: HabilitationEvent) -> bool:
        found = self.dynamodb.get_item(
            TableName=self.table,
            Key=_key(change.habilitation, change.item),
            ProjectionExpression="habilitation",
            ConsistentRead=True,
        )
        return "Item" in found

    def _write(
        self, change: HabilitationEvent, standing: Habilitation | None, left: Habilitation | None, step: HistoryEntry
    ) -> bool:
        """Write the state and the history together; False when somebody has changed either meanwhile."""
        table = self.table
        unchanged: dict[str, Any] = (
            {"ConditionExpression": "version = :version", "ExpressionAttributeValues": {":version": _number(standing)}}
            if standing
            else {"ConditionExpression": "attribute_not_exists(habilitation)"}
        )
        key = _key(change.habilitation, _STATE)
        kept = {
            "TableName": table,
            "Item": _step_item(change, step),
            "ConditionExpression": "attribute_not_exists(habilitation)",
        }
        state = (
            {"Put": {"TableName": table, "Item": _state_item(left, key), **unchanged}}
            if left
            else {"ConditionCheck": {"TableName": table, "Key": key, **unchanged}}
        )
        writes: list[Any] = [state, {"Put": kept}]
        try:
            self.dynamodb.transact_write_items(TransactItems=writes)
        except ClientError as error:
            # Somebody else's write, done or under way: read again.
            if error.response["Error"]["Code"] not in {"TransactionCanceledException", "TransactionConflictException"}:
                raise
            return False
        return True


def _key(habilitation_id: str, item: str) -> dict[str, Any]:
    return {"habilitation": {"S": habilitation_id}, "item": {"S": item}}


def _number(standing: Habilitation) -> dict[str, str]:
    return {"N": str(standing.version)}


def _state_item(left: Habilitation, key: dict[str, Any]) -> dict[str, Any]:
    vendor = left.request.vendor if left.request else None
    return key | _attributes(left) | ({"vendor_siret": {"S": vendor.siret}} if vendor else {})


def _step_item(change: HabilitationEvent, step: HistoryEntry) -> dict[str, Any]:
    payload = {"payload": {"S": change.payload}} if change.payload else {}
    return _key(change.habilitation, change.item) | _attributes(step) | payload


def _attributes(record: BaseModel) -> dict[str, Any]:
    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in record.model_dump(mode="json").items() if value is not None}


def _plain(item: Mapping[str, Any]) -> dict[str, Any]:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def _read(item: Mapping[str, Any]) -> Habilitation:
    return Habilitation.model_validate(_plain(item))
