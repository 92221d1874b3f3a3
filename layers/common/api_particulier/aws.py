"""The AWS clients, one of each an environment, made at the first use.

A function that cannot write its audit entry answers no data, so a client gives up early enough for that refusal to
leave before Lambda stops the function.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

CALL_SECONDS: Final = 5
"""What a call may last at worst: two tries of a second to connect and one to read, and up to one between them."""

_CONFIG = Config(connect_timeout=1, read_timeout=1, retries={"mode": "standard", "total_max_attempts": 2})
_PATIENT = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 6})


@lru_cache(maxsize=1)
def dynamodb() -> "DynamoDBClient":
    return boto3.client("dynamodb", config=_CONFIG)


@lru_cache(maxsize=1)
def kms() -> "KMSClient":
    return boto3.client("kms", config=_CONFIG)


@lru_cache(maxsize=1)
def s3() -> Any:
    return boto3.client("s3", config=_CONFIG)


@lru_cache(maxsize=1)
def secretsmanager() -> "SecretsManagerClient":
    return boto3.client("secretsmanager", config=_CONFIG)


@lru_cache(maxsize=1)
def apigateway() -> "APIGatewayClient":
    # The control plane: slower, refuses above a few requests a second, and asked by nobody who awaits data.
    return boto3.client("apigateway", config=_PATIENT)


@lru_cache(maxsize=1)
def sqs() -> "SQSClient":
    return boto3.client("sqs", config=_CONFIG)


@lru_cache(maxsize=1)
def ses() -> Any:
    # One try: a message that was taken without a word would be sent twice.
    return boto3.client("sesv2", config=_PATIENT.merge(Config(retries={"mode": "standard", "total_max_attempts": 1})))
