"""What the audit knows of one citizen: found though it names nobody, for as long as it keeps anything.

A citizen has a pseudonym a month and a KMS key, so they are looked for under each of these: 37 months, and the keys
from before each rotation. Past months' keys are derived for the question and forgotten with it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer

from api_particulier import pseudonyms

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient

_AT_ONCE: Final = 8
"""Months looked up at a time."""


@dataclass(frozen=True)
class Archive:
    """The audit table, and the KMS keys that citizens were named with: the one in use and those before it."""

    dynamodb: "DynamoDBClient"
    table: str
    kms: "KMSClient"
    key_ids: Sequence[str]

    def entries(self, identifier: str, since: datetime, until: datetime) -> list[dict[str, Any]]:
        """Return the entries about an identifier (``api_particulier.parameters``) between two moments, in order.

        Botocore's errors when one of the months cannot be read: never a part of the answer for the whole.
        """
        looked_up = product(self.key_ids, pseudonyms.months(since, until))
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = [
                entry
                for entries in pool.map(lambda one: list(self._of_month(identifier, *one)), looked_up)
                for entry in entries
                if since <= datetime.fromisoformat(entry["at"]) < until
            ]
        return sorted(found, key=lambda entry: str(entry["id"]))

    def _of_month(self, identifier: str, key_id: str, month: str) -> Iterator[dict[str, Any]]:
        citizen = pseudonyms.under(pseudonyms.derive(self.kms, key_id, month), identifier)
        deserialize = TypeDeserializer().deserialize
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            IndexName="by_citizen",
            KeyConditionExpression="citizen = :citizen",
            ExpressionAttributeValues={":citizen": {"S": citizen}},
        )
        for page in pages:
            yield from ({name: deserialize(value) for name, value in item.items()} for item in page["Items"])
