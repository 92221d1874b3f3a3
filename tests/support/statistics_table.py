"""The statistics table in memory, for tests of many audit records and of transactions that fail.

moto copies every table before each transaction: 20,000 records take it minutes. This table has only the two writes
and the query that statistics make, and refuses them as DynamoDB does.
"""

from collections.abc import Callable, Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError


class StatisticsTable:
    """A DynamoDB client that knows this table only."""

    def __init__(self) -> None:
        self.exceptions = boto3.client("dynamodb").exceptions
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.before_transaction: Callable[[], None] = lambda: None
        """Called before each transaction; it raises to have the transaction refused."""
        self.after_transaction: Callable[[], None] = lambda: None
        """Called after each transaction; it raises to have the response lost."""

    def transaction_cancelled(self, *reasons: str) -> ClientError:
        """Return the error of a cancelled transaction, with a reason for each of its writes."""
        response: Any = {
            "Error": {"Code": "TransactionCanceledException", "Message": ""},
            "CancellationReasons": [{"Code": reason} for reason in reasons],
        }
        error: ClientError = self.exceptions.TransactionCanceledException(response, "TransactWriteItems")
        return error

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803 - boto3's name
        assert 0 < len(TransactItems) <= 100
        self.before_transaction()
        writes = [(kind, write) for action in TransactItems for kind, write in action.items()]
        keys = [_key(write["Item" if kind == "Put" else "Key"]) for kind, write in writes]
        assert len(set(keys)) == len(keys), "two writes of one item"
        reasons = [
            "ConditionalCheckFailed" if kind == "Put" and key in self.items else "None"
            for key, (kind, _) in zip(keys, writes, strict=True)
        ]
        if set(reasons) != {"None"}:
            raise self.transaction_cancelled(*reasons)
        for key, (kind, write) in zip(keys, writes, strict=True):
            if kind == "Put":
                assert write["ConditionExpression"] == "attribute_not_exists(pk)"
                self.items[key] = write["Item"]
            else:
                assert write["UpdateExpression"] == "ADD calls :more"
                item = self.items.setdefault(key, write["Key"] | {"calls": {"N": "0"}})
                more = int(write["ExpressionAttributeValues"][":more"]["N"])
                self.items[key] = item | {"calls": {"N": str(int(item["calls"]["N"]) + more)}}
        self.after_transaction()

    def get_paginator(self, operation: str) -> "StatisticsTable":
        assert operation == "query"
        return self

    def paginate(self, *, ExpressionAttributeValues: dict[str, Any], **_: object) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's name
        """Query the counters."""
        partition, first, after = (ExpressionAttributeValues[name]["S"] for name in (":counters", ":first", ":after"))
        found = [item for (pk, sk), item in sorted(self.items.items()) if pk == partition and first <= sk <= after]
        for start in range(0, len(found), 50):
            yield {"Items": found[start : start + 50]}


def _key(item: dict[str, Any]) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]
