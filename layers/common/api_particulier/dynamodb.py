"""Items of the DynamoDB tables as plain Python values, and every conditional write.

An expression writes an attribute as ``#name`` (many short names are reserved words of DynamoDB) and a value as
``:value``. The placeholders of names are filled in here; a caller gives the values, by their names without the colon.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

type Item = dict[str, Any]
"""Attributes by name: strings, integers, floats, booleans, None, lists, maps and sets of strings."""

_SERIALIZER: Final = TypeSerializer()
_DESERIALIZER: Final = TypeDeserializer()
_PAUSE: Final = 0.05
"""Seconds before keys that DynamoDB did not read are asked for again."""
_NAME: Final = re.compile(r"#(\w+)")


class TransactionCancelled(Exception):
    """A transaction wrote nothing: a condition failed, or another write was under way."""

    def __init__(self, reasons: Sequence[str]) -> None:
        """Keep a code for each write, in order: ``None``, ``ConditionalCheckFailed``, ``TransactionConflict``."""
        super().__init__(*reasons)
        self.reasons = reasons


@dataclass(frozen=True)
class Table:
    """One table. Every method raises botocore's errors when DynamoDB refuses or cannot be reached."""

    client: "DynamoDBClient"
    name: str

    def get(self, key: Mapping[str, str], *, consistent: bool = False, attributes: str = "") -> Item | None:
        """Return an item, or those of its attributes that ``attributes`` names (``#a, #b``), or None.

        A consistent read sees every write that has ended.
        """
        request: dict[str, Any] = self._names(attributes, None) | {"Key": serialize(key), "ConsistentRead": consistent}
        if attributes:
            request["ProjectionExpression"] = attributes
        found = self.client.get_item(**request)
        return deserialize(found["Item"]) if "Item" in found else None

    def get_all(self, keys: Sequence[Mapping[str, str]]) -> list[Item]:
        """Return the items of at most 100 keys, in no order, without those that do not exist."""
        asked: Any = {self.name: {"Keys": [serialize(key) for key in keys], "ConsistentRead": True}}
        found: list[Item] = []
        while True:
            response = self.client.batch_get_item(RequestItems=asked)
            found += map(deserialize, response["Responses"].get(self.name, []))
            if not (asked := response.get("UnprocessedKeys")):
                return found
            sleep(_PAUSE)

    def put(self, item: Mapping[str, Any], *, condition: str = "", values: Mapping[str, Any] | None = None) -> bool:
        """Write a whole item; return False when the condition does not hold."""
        request = {"Item": serialize(item), **self._write(condition, values)}
        return _attempt(self.client.put_item, request) is not None

    def update(
        self, key: Mapping[str, str], change: str, *, condition: str = "", values: Mapping[str, Any] | None = None
    ) -> Item | None:
        """Change an item and return it as it is then; return None when the condition does not hold.

        Without a condition, an item that does not exist is created.
        """
        request = self._update(key, change, condition, values) | {"ReturnValues": "ALL_NEW"}
        changed = _attempt(self.client.update_item, request)
        return None if changed is None else deserialize(changed.get("Attributes", {}))

    def delete(self, key: Mapping[str, str], *, condition: str = "", values: Mapping[str, Any] | None = None) -> bool:
        """Delete an item, which may not exist; return False when the condition does not hold."""
        request = {"Key": serialize(key), **self._write(condition, values)}
        return _attempt(self.client.delete_item, request) is not None

    def query(
        self,
        condition: str,
        values: Mapping[str, Any],
        *,
        index: str = "",
        consistent: bool = False,
        latest_first: bool = False,
    ) -> Iterator[Item]:
        """Yield the items of a partition, page after page, in the order of their sort keys."""
        request: dict[str, Any] = self._names(condition, values)
        request |= {"KeyConditionExpression": condition, "ConsistentRead": consistent}
        request |= {"ScanIndexForward": False} if latest_first else {}
        if index:
            request["IndexName"] = index
        pages: Any = self.client.get_paginator("query").paginate(**request)
        yield from (deserialize(item) for page in pages for item in page["Items"])

    def count(self, condition: str, values: Mapping[str, Any], only: str = "", *, index: str) -> int:
        """Return how many items of an index's partition meet a condition on their other attributes."""
        request: dict[str, Any] = self._names(f"{condition} {only}", values)
        request |= {"KeyConditionExpression": condition, "IndexName": index, "Select": "COUNT"}
        request |= {"FilterExpression": only} if only else {}
        pages: Any = self.client.get_paginator("query").paginate(**request)
        return sum(page["Count"] for page in pages)

    def scan(self, condition: str, values: Mapping[str, Any] | None = None) -> Iterator[Item]:
        """Yield every item of the table that meets a condition, by consistent reads."""
        request: dict[str, Any] = self._names(condition, values)
        request |= {"FilterExpression": condition, "ConsistentRead": True}
        pages: Any = self.client.get_paginator("scan").paginate(**request)
        yield from (deserialize(item) for page in pages for item in page["Items"])

    # The same writes as members of a transaction, for ``write_together``.

    def putting(
        self, item: Mapping[str, Any], *, condition: str = "", values: Mapping[str, Any] | None = None
    ) -> "TransactWriteItemTypeDef":
        """Return the write of a whole item."""
        return _member("Put", {"Item": serialize(item), **self._write(condition, values)})

    def updating(
        self, key: Mapping[str, str], change: str, *, condition: str = "", values: Mapping[str, Any] | None = None
    ) -> "TransactWriteItemTypeDef":
        """Return the change of an item."""
        return _member("Update", self._update(key, change, condition, values))

    def deleting(
        self, key: Mapping[str, str], *, condition: str = "", values: Mapping[str, Any] | None = None
    ) -> "TransactWriteItemTypeDef":
        """Return the deletion of an item."""
        return _member("Delete", {"Key": serialize(key), **self._write(condition, values)})

    def checking(
        self, key: Mapping[str, str], condition: str, values: Mapping[str, Any] | None = None
    ) -> "TransactWriteItemTypeDef":
        """Return a condition on an item that the transaction does not change."""
        return _member("ConditionCheck", {"Key": serialize(key), **self._write(condition, values)})

    def _update(
        self, key: Mapping[str, str], change: str, condition: str, values: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        conditional = {"ConditionExpression": condition} if condition else {}
        expressions = f"{change} {condition}"
        return {"Key": serialize(key), "UpdateExpression": change, **conditional, **self._names(expressions, values)}

    def _write(self, condition: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
        conditional = {"ConditionExpression": condition} if condition else {}
        return conditional | self._names(condition, values)

    def _names(self, expressions: str, values: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return what every request needs besides its expressions: the table, the names and the values in them."""
        request: dict[str, Any] = {"TableName": self.name}
        if names := {f"#{name}": name for name in _NAME.findall(expressions)}:
            request["ExpressionAttributeNames"] = names
        if values:
            request["ExpressionAttributeValues"] = {f":{name}": _serialize(value) for name, value in values.items()}
        return request


def write_together(client: "DynamoDBClient", writes: Sequence["TransactWriteItemTypeDef"]) -> None:
    """Make all of these writes, or none: raise ``TransactionCancelled`` then; at most 100 writes."""
    try:
        client.transact_write_items(TransactItems=writes)
    except client.exceptions.TransactionCanceledException as error:
        reasons = error.response["CancellationReasons"]
        raise TransactionCancelled([reason.get("Code", "None") for reason in reasons]) from None


def serialize(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of an item as DynamoDB has them; None is written as NULL."""
    return {name: _serialize(value) for name, value in values.items()}


def deserialize(attributes: Mapping[str, Any]) -> Item:
    """Return plain values for the attributes of an item, as DynamoDB or its stream has them."""
    return {name: _plain(_DESERIALIZER.deserialize(value)) for name, value in attributes.items()}


def _serialize(value: Any) -> Any:
    match value:
        case str():  # nearly every value: boto3's serializer would try eight types before it
            return {"S": value}
        case list():
            return {"L": [_serialize(item) for item in value]}
        case float():
            return _SERIALIZER.serialize(Decimal(str(value)))
    return _SERIALIZER.serialize(value)


def _plain(value: Any) -> Any:
    """Return an integer or a float for the ``Decimal`` that boto3 reads, at any depth."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
    return value


def _member(kind: str, request: dict[str, Any]) -> "TransactWriteItemTypeDef":
    return {kind: request}  # type: ignore[misc]  # mypy knows only literal keys


def _attempt(operation: Callable[..., Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Make one write; return None when its condition does not hold."""
    try:
        return operation(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return None
