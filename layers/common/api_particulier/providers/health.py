"""What is known of a provider, by every function at once: one item of the statistics table a provider.

It holds the circuit (``circuit.py``), the last verdict of a ping or a probe, and the maintenances that an operator
announced, so that a call reads all of it at once. Only who has news writes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from api_particulier.aws import dynamodb
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


@dataclass(frozen=True)
class Maintenance:
    """A time during which a provider is not asked, as an operator announced it."""

    start: datetime
    end: datetime
    message: str
    """For callers, in French."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        start, end = (datetime.fromisoformat(item[name]["S"]) for name in ("start", "end"))
        return cls(start, end, item["message"]["S"])

    @property
    def item(self) -> dict[str, "AttributeValueTypeDef"]:
        return {
            "start": {"S": self.start.isoformat(timespec="seconds")},
            "end": {"S": self.end.isoformat(timespec="seconds")},
            "message": {"S": self.message},
        }


@dataclass(frozen=True)
class Health:
    """What is known of a provider."""

    failures: int = 0
    """In a row, whoever asked."""
    open_until: float | None = None
    """Until when nobody asks, in seconds since 1970; None while the circuit is closed."""
    answers: bool | None = None
    """The last verdict of a ping or a probe."""
    checked_at: datetime | None = None
    asked_at: float = 0.0
    """When somebody last took the right to ping, in seconds since 1970."""
    maintenances: tuple[Maintenance, ...] = ()

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        """Read the item, empty for a provider of which nothing is known yet."""
        return cls(
            failures=int(item["failures"]["N"]) if "failures" in item else 0,
            open_until=float(item["open_until"]["N"]) if "open_until" in item else None,
            answers=item["verdict"]["S"] == "up" if "verdict" in item else None,
            checked_at=datetime.fromtimestamp(float(item["checked_at"]["N"]), UTC) if "checked_at" in item else None,
            asked_at=float(item["asked_at"]["N"]) if "asked_at" in item else 0.0,
            maintenances=tuple(Maintenance.of(one["M"]) for one in item.get("maintenances", {"L": ()})["L"]),
        )

    def maintenance(self, at: datetime) -> Maintenance | None:
        """Return the maintenance of a moment; of several, the one that ends last."""
        now = [one for one in self.maintenances if one.start <= at < one.end]
        return max(now, key=lambda one: one.end, default=None)


def key_of(provider: str) -> dict[str, "AttributeValueTypeDef"]:
    return {"pk": {"S": f"provider#{provider}"}, "sk": {"S": "health"}}


def read(client: "DynamoDBClient", table: str, provider: str) -> Health:
    """Read what is known; botocore's errors when the table does not answer."""
    return Health.of(client.get_item(TableName=table, Key=key_of(provider)).get("Item", {}))


def acquire_ping_slot(provider: str, period: float) -> bool:
    """Take the right to ping ``provider``, which nobody has taken for so many seconds; False when somebody has."""
    now = time()
    try:
        dynamodb().update_item(
            TableName=settings().stats_table,
            Key=key_of(provider),
            UpdateExpression="SET asked_at = :now",
            ConditionExpression="attribute_not_exists(asked_at) OR asked_at <= :before",
            ExpressionAttributeValues={":now": {"N": f"{now:.3f}"}, ":before": {"N": f"{now - period:.3f}"}},
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        return False
    return True


def record(provider: str, *, answers: bool) -> None:
    """Tell everybody the verdict of a ping or a probe."""
    dynamodb().update_item(
        TableName=settings().stats_table,
        Key=key_of(provider),
        UpdateExpression="SET verdict = :verdict, checked_at = :now",
        ExpressionAttributeValues={
            ":verdict": {"S": "up" if answers else "down"},
            ":now": {"N": f"{time():.3f}"},
        },
    )
