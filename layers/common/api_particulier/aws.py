"""AWS's services: one boto3 client each for an environment, kept alive between its calls.

Without its audit record a call releases no data, so every client gives up early enough for that refusal to leave
before Lambda ends the function.

``prepare`` makes the clients of a dataset's call while a function initialises, so that SnapStart's snapshot holds
them. A snapshot holds no connection: urllib3 opens one at the first request. Credentials renew themselves, since those
of a restored environment come from the container provider. Python's random numbers are seeded again after a restore,
because every environment would draw the same ones.
"""

import random
from functools import lru_cache
from os import environ
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import boto3
from aws_lambda_powertools.utilities.parameters import GetParameterError, SecretsProvider
from botocore.config import Config
from botocore.exceptions import ClientError
from pydantic import BaseModel, ValidationError

from api_particulier.errors import NotConfigured
from api_particulier.observability import LogEvent, log

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

CALL_SECONDS: Final = 5
"""At worst, what a call to DynamoDB or KMS lasts: two tries of a second to connect and one to read, and the pause."""


@lru_cache(maxsize=1)
def dynamodb() -> "DynamoDBClient":
    return cast("DynamoDBClient", _client("dynamodb"))


@lru_cache(maxsize=1)
def kms() -> "KMSClient":
    return cast("KMSClient", _client("kms"))


@lru_cache(maxsize=1)
def _secrets() -> SecretsProvider:
    return SecretsProvider(boto3_client=cast("SecretsManagerClient", _client("secretsmanager")))


type SecretName = Literal[
    "ApiSecuClient", "CafCertificate", "DatapassSecret", "ImpotParticulierClient", "ProbeIdentities"
]
"""The secrets of the template, which an operator fills."""
_NO_VALUE: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException", "KeyError"})
"""Reading a secret that CloudFormation made and nothing filled, that is being deleted, and whose value has no text."""


class SecretUnavailable(Exception):
    """A secret cannot be read; the text is the service's error code."""


def secret(name: SecretName, secret_id: str | None, *, max_age: int = 0) -> str:
    """Return the value of a secret, which may have been read up to ``max_age`` seconds ago.

    Raise ``NotConfigured`` when it has no value yet, ``SecretUnavailable`` when it cannot be read.
    """
    try:
        value = str(_secrets().get(secret_id or "", max_age=max_age, force_fetch=not max_age)).strip()
    except GetParameterError as error:
        cause = error.__context__
        code = cause.response["Error"]["Code"] if isinstance(cause, ClientError) else type(cause).__name__
        if code not in _NO_VALUE:
            raise SecretUnavailable(code) from None
        value = ""
    if not value:
        raise not_configured(name, "empty")
    return value


def json_secret[M: BaseModel](name: SecretName, secret_id: str | None, model: type[M]) -> M:
    """Return a secret that is a JSON object; raise ``NotConfigured`` also when it is not that object."""
    value = secret(name, secret_id)
    try:
        return model.model_validate_json(value)
    except ValidationError:  # its text holds the value
        raise not_configured(name, "malformed") from None


def not_configured(name: SecretName, outcome: Literal["empty", "malformed"]) -> NotConfigured:
    """Log the state of a secret, and return the error of what needs it."""
    log(LogEvent.NOT_CONFIGURED, secret=name, outcome=outcome)
    return NotConfigured()


@lru_cache(maxsize=1)
def s3() -> Any:
    return _client("s3")


@lru_cache(maxsize=1)
def sqs() -> "SQSClient":
    return cast("SQSClient", _client("sqs"))


@lru_cache(maxsize=1)
def apigateway() -> "APIGatewayClient":
    # The control plane: slower, throttled above a few requests a second, and never on the way of a citizen's data.
    return cast("APIGatewayClient", _client("apigateway", seconds=5, attempts=6))


@lru_cache(maxsize=1)
def ses() -> Any:
    # One attempt: a message that SES accepted before the connection fell would be sent twice.
    return _client("sesv2", seconds=5, attempts=1)


def prepare() -> None:
    """Make the clients that every call with a key needs, while a function initialises; do nothing elsewhere."""
    if "AWS_LAMBDA_FUNCTION_NAME" not in environ:
        return
    dynamodb()
    kms()
    try:
        from snapshot_restore_py import register_after_restore  # noqa: PLC0415 - part of Lambda's runtime only
    except ImportError:
        return
    register_after_restore(random.seed)


def _client(service: str, *, seconds: float = 1, attempts: int = 2) -> Any:
    # Without its validation of parameters boto3 spends a fifth less on a write; DynamoDB refuses what is malformed.
    config = Config(
        connect_timeout=min(seconds, 2),
        read_timeout=seconds,
        retries={"mode": "standard", "total_max_attempts": attempts},
        parameter_validation=False,
        tcp_keepalive=True,
    )
    return boto3.client(service, config=config)  # type: ignore[call-overload]  # a service of those above
