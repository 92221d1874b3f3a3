"""What the audit knows of one citizen: found though it names nobody, for as long as it keeps anything.

Who asked about them, when, for what purpose and which fields they got is theirs to know, refusals included.

A citizen has a pseudonym a month and a KMS key, so they are looked for under each of these: 37 months, and the keys
from before each rotation. Past months' keys are derived for the question and forgotten with it.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from boto3.dynamodb.types import TypeDeserializer

from api_particulier.audit import pseudonyms
from api_particulier.audit.record import DATASET, RETENTION

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient

_AT_ONCE: Final = 8
"""Months looked up at a time."""
_SHOWN: Final = 5000
"""More would not fit in an answer of Lambda's; the total counts them all."""
_PARIS: Final = ZoneInfo("Europe/Paris")


@dataclass(frozen=True)
class AuditArchive:
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
        return sorted(found, key=lambda entry: (str(entry["at"]), str(entry["id"])))

    def _of_month(self, identifier: str, key_id: str, month: str) -> Iterator[dict[str, Any]]:
        citizen = pseudonyms.compute(pseudonyms.derive_month_key(self.kms, key_id, month), identifier)
        deserialize = TypeDeserializer().deserialize
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.table,
            IndexName="by_citizen",
            KeyConditionExpression="citizen = :citizen",
            ExpressionAttributeValues={":citizen": {"S": citizen}},
        )
        for page in pages:
            yield from ({name: deserialize(value) for name, value in item.items()} for item in page["Items"])


def access_log(archive: AuditArchive, identifier: str, now: datetime) -> dict[str, Any]:
    """Return the body of ``/api/citoyen/acces``: what administrations asked about a citizen, the latest first.

    Botocore's errors when the audit cannot be read.
    """
    since = now - RETENTION
    asked = [entry for entry in archive.entries(identifier, since, now) if entry.get("kind") == DATASET]
    return {
        "periode": {"debut": f"{since.astimezone(_PARIS):%Y-%m-%d}", "fin": f"{now.astimezone(_PARIS):%Y-%m-%d}"},
        "total": len(asked),
        "acces": [
            {
                "date": entry["at"],
                "administration": entry["organisation"],
                "siret": entry["siret"],
                "finalite": entry.get("purpose"),
                "jeuDeDonnees": entry["dataset"],
                "champs": entry["released"],
                "statut": int(entry["status"]),
            }
            for entry in asked[: -_SHOWN - 1 : -1]
        ],
    }
