"""AWS's services, one connection or client of each an environment, made at the first use.

What a caller awaits goes by ``signed``: the first three below have the methods of boto3's clients that are used, with
the same arguments, answers and errors. boto3 itself is imported by who needs more, which no dataset does.

A function that cannot write its audit entry answers no data, so all of them give up early enough for that refusal to
leave before Lambda stops the function.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from api_particulier.signed import Service

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb import type_defs as dynamo
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_sqs import SQSClient

CALL_SECONDS: Final = 5
"""What a call may last at worst: two tries of a second to connect and one to read, and up to one between them."""


def attribute(value: object) -> "AttributeValueTypeDef":
    """Write a value as DynamoDB has it; ``TypeError`` for what an item of ours does not hold."""
    match value:
        case str():
            return {"S": value}
        case bool():
            return {"BOOL": value}
        case int():
            return {"N": str(value)}
        case list() | tuple():
            return {"L": [attribute(one) for one in value]}
    raise TypeError


def value_of(written: Mapping[str, Any]) -> object:
    """Read what ``attribute`` writes, and the null and the set of strings that others may have written."""
    ((kind, value),) = written.items()
    match kind:
        case "S" | "BOOL" | "SS":
            return value
        case "N":
            return int(value)
        case "NULL":
            return None
        case "L":
            return [value_of(one) for one in value]
    raise TypeError


class DynamoDB:
    """Operations on one item, and queries."""

    def __init__(self) -> None:
        self._call = Service("dynamodb", "DynamoDB_20120810").call

    def get_item(self, **request: Unpack["dynamo.GetItemInputTypeDef"]) -> "dynamo.GetItemOutputTypeDef":
        return cast("dynamo.GetItemOutputTypeDef", self._call("GetItem", request))

    def put_item(self, **request: Unpack["dynamo.PutItemInputTypeDef"]) -> "dynamo.PutItemOutputTypeDef":
        return cast("dynamo.PutItemOutputTypeDef", self._call("PutItem", request))

    def update_item(self, **request: Unpack["dynamo.UpdateItemInputTypeDef"]) -> "dynamo.UpdateItemOutputTypeDef":
        return cast("dynamo.UpdateItemOutputTypeDef", self._call("UpdateItem", request))

    def delete_item(self, **request: Unpack["dynamo.DeleteItemInputTypeDef"]) -> "dynamo.DeleteItemOutputTypeDef":
        return cast("dynamo.DeleteItemOutputTypeDef", self._call("DeleteItem", request))

    def query(self, **request: Unpack["dynamo.QueryInputTypeDef"]) -> "dynamo.QueryOutputTypeDef":
        return cast("dynamo.QueryOutputTypeDef", self._call("Query", request))


class KMS:
    def __init__(self) -> None:
        self._call = Service("kms", "TrentService").call

    def generate_mac(self, *, KeyId: str, MacAlgorithm: str, Message: bytes) -> dict[str, bytes]:  # noqa: N803 - boto3's names
        request = {"KeyId": KeyId, "MacAlgorithm": MacAlgorithm, "Message": b64encode(Message).decode()}
        return {"Mac": b64decode(self._call("GenerateMac", request)["Mac"])}


class SecretsManager:
    def __init__(self) -> None:
        self._call = Service("secretsmanager", "secretsmanager").call

    def get_secret_value(self, *, SecretId: str) -> dict[str, str]:  # noqa: N803 - boto3's name
        return self._call("GetSecretValue", {"SecretId": SecretId})


type AnyDynamoDB = "DynamoDB | DynamoDBClient"
"""For what a function does here, and an operator by boto3."""
type AnyKMS = "KMS | KMSClient"

dynamodb = lru_cache(maxsize=1)(DynamoDB)
kms = lru_cache(maxsize=1)(KMS)
secretsmanager = lru_cache(maxsize=1)(SecretsManager)


@lru_cache(maxsize=1)
def dynamodb_client() -> "DynamoDBClient":
    """Return the client that pages and makes transactions."""
    return cast("DynamoDBClient", _client("dynamodb"))


@lru_cache(maxsize=1)
def kms_client() -> "KMSClient":
    """Return the client that signs."""
    return cast("KMSClient", _client("kms"))


@lru_cache(maxsize=1)
def s3() -> Any:
    return _client("s3")


@lru_cache(maxsize=1)
def apigateway() -> "APIGatewayClient":
    # The control plane: slower, refuses above a few requests a second, and asked by nobody who awaits data.
    return cast("APIGatewayClient", _client("apigateway", seconds=5, tries=6))


@lru_cache(maxsize=1)
def sqs() -> "SQSClient":
    return cast("SQSClient", _client("sqs"))


@lru_cache(maxsize=1)
def ses() -> Any:
    # One try: a message that was taken without a word would be sent twice.
    return _client("sesv2", seconds=5, tries=1)


def _client(service: str, *, seconds: float = 1, tries: int = 2) -> Any:
    import boto3  # noqa: PLC0415 - 150 ms of a cold start, for who needs it
    from botocore.config import Config  # noqa: PLC0415 - the same

    connecting = min(seconds, 2)
    return boto3.client(
        service,  # type: ignore[call-overload]  # one of those above
        config=Config(
            connect_timeout=connecting, read_timeout=seconds, retries={"mode": "standard", "total_max_attempts": tries}
        ),
    )
