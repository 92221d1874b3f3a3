"""Where keys are: the usage plan that lets them in, and the table that says what they open.

The gateway alone keeps a key's value; the table its SHA-256. A lease in the table, the item ``issuing#<id>``, lets one
caller at a time make the key of an id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from api_particulier.aws import apigateway, dynamodb
from api_particulier.keys.token import Token, token_of
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient

LEASE: Final = timedelta(seconds=30)
"""How long an id is its issuer's: longer than a function lives, so who died has lost it and who lives has not."""
RESERVED: Final = "issuing#"


class KeyRefused(Exception):
    """What was asked of a key cannot be done; the text says why, and holds ids only."""


@dataclass(frozen=True)
class KeyStore:
    """Where keys are: the usage plan that lets them in, and the table that says what they open."""

    api: "APIGatewayClient"
    dynamodb: "DynamoDBClient"
    usage_plan: str
    """Its id; empty where it is to be found by its name, at the first key that is issued."""
    tokens_table: str

    @classmethod
    def of_function(cls) -> Self:
        """Return that of a function's environment.

        No variable names the usage plan: the stack would depend on itself, since the plan needs the API, and the API
        the functions behind its routes.
        """
        return cls(apigateway(), dynamodb(), "", settings().tokens_table)

    @cached_property
    def plan(self) -> str:
        """The usage plan's id; ``KeyRefused`` when there is none of its name."""
        if self.usage_plan:
            return self.usage_plan
        name = f"api-particulier-{settings().environment}"
        for page in self.api.get_paginator("get_usage_plans").paginate():
            for one in page["items"]:
                if one["name"] == name:
                    return one["id"]
        raise KeyRefused(f"no usage plan is named {name}")

    def keys_named(self, token_id: str) -> list[Mapping[str, Any]]:
        """Return the gateway's keys of this name, the first made first."""
        name = name_of(token_id)
        pages = self.api.get_paginator("get_api_keys").paginate(nameQuery=name, includeValues=True)
        found = [one for page in pages for one in page["items"] if one["name"] == name]
        return sorted(found, key=lambda one: (one["createdDate"], one["id"]))

    def delete_key(self, gateway_key: str) -> None:
        try:
            self.api.delete_api_key(apiKey=gateway_key)
        except ClientError as error:
            if not is_error(error, "NotFoundException"):
                raise

    def enable_key(self, gateway_key: str, *, enabled: bool) -> None:
        operation: Any = {"op": "replace", "path": "/enabled", "value": str(enabled).lower()}
        try:
            self.api.update_api_key(apiKey=gateway_key, patchOperations=[operation])
        except ClientError as error:  # one that was deleted is disabled for ever
            if not is_error(error, "NotFoundException"):
                raise

    def find(self, token_id: str) -> Token | None:
        """Return a token by its id, whatever its state; None when there is none."""
        found = next(self.query("by_id", "id", token_id), None)
        # The index may be late; the item is not.
        item = self.read(str(found["key_hash"])) if found else None
        return token_of(item) if item else None

    def read(self, key_hash: str) -> dict[str, Any] | None:
        """Return an item as it is at this very moment."""
        found = self.dynamodb.get_item(
            TableName=self.tokens_table, Key={"key_hash": {"S": key_hash}}, ConsistentRead=True
        ).get("Item")
        return _deserialized(found) if found else None

    def query(self, index: str, attribute: str, value: str) -> Iterator[dict[str, Any]]:
        pages = self.dynamodb.get_paginator("query").paginate(
            TableName=self.tokens_table,
            IndexName=index,
            KeyConditionExpression="#attribute = :value",
            ExpressionAttributeNames={"#attribute": attribute},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        return (_deserialized(item) for page in pages for item in page["Items"])

    def scan(self, condition: str, values: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
        with_values: Any = {"ExpressionAttributeValues": values} if values else {}
        pages = self.dynamodb.get_paginator("scan").paginate(
            TableName=self.tokens_table, FilterExpression=condition, ConsistentRead=True, **with_values
        )
        return (_deserialized(item) for page in pages for item in page["Items"])

    def update(
        self, token: Token, change: str, condition: str, values: Mapping[str, str | list[str]]
    ) -> dict[str, Any]:
        """Change an item and return it; ``change`` or ``condition`` speaks of ``#state``."""
        serialize = TypeSerializer().serialize
        attributes = self.dynamodb.update_item(
            TableName=self.tokens_table,
            Key={"key_hash": {"S": token.key_hash}},
            UpdateExpression=f"SET {change}",
            ConditionExpression=condition,
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues={name: serialize(value) for name, value in values.items()},
            ReturnValues="ALL_NEW",
        )["Attributes"]
        return _deserialized(attributes)

    def take_lease(self, token_id: str, owner: str, now: datetime) -> bool:
        """Reserve an id until ``LEASE`` from now; False when somebody holds it."""
        until = (now + LEASE).timestamp()
        try:
            self.dynamodb.put_item(
                TableName=self.tokens_table,
                Item=reservation(token_id) | {"owner": {"S": owner}, "until": {"N": f"{until:.3f}"}},
                ConditionExpression="attribute_not_exists(key_hash) OR #until <= :now",
                ExpressionAttributeNames={"#until": "until"},
                ExpressionAttributeValues={":now": {"N": f"{now.timestamp():.3f}"}},
            )
        except ClientError as error:
            if not is_error(error, "ConditionalCheckFailedException"):
                raise
            return False
        return True

    def end_lease(self, token_id: str, owner: str) -> None:
        """Let the next one work at once; the reservation stays, to say that something may be half-made."""
        try:
            self.dynamodb.update_item(
                TableName=self.tokens_table,
                Key=reservation(token_id),
                UpdateExpression="SET #until = :past",
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#until": "until", "#owner": "owner"},
                ExpressionAttributeValues={":past": {"N": "0"}, ":owner": {"S": owner}},
            )
        except ClientError as error:
            if not is_error(error, "ConditionalCheckFailedException"):
                raise

    def drop_lease(self, token_id: str, owner: str) -> None:
        try:
            self.dynamodb.delete_item(
                TableName=self.tokens_table,
                Key=reservation(token_id),
                ConditionExpression="#owner = :owner",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues={":owner": {"S": owner}},
            )
        except ClientError as error:
            if not is_error(error, "ConditionalCheckFailedException"):
                raise


def name_of(token_id: str) -> str:
    return f"api-particulier-{token_id}"


def reservation(token_id: str) -> dict[str, Any]:
    # Without ``id``: it is in no index, and in no list of tokens.
    return {"key_hash": {"S": f"{RESERVED}{token_id}"}}


def _deserialized(item: Mapping[str, Any]) -> dict[str, Any]:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def is_error(error: ClientError, code: str) -> bool:
    return error.response["Error"]["Code"] == code
