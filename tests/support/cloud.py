"""AWS in process, played by moto: the tables, the KMS keys and the queue that the template gives to functions."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from os import environ
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from moto.core.base_backend import BaseBackend
from moto.core.serialize import AttributePicker, AttributePickerContext
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.s3 import urls as s3_urls
from moto.s3.models import S3Backend

from api_particulier.keys import mac, token
from tests.support.template import resources
from tests.support.wire import serve

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import DynamoDBServiceResource, Table


SEALS_BUCKET = "seals"
"""The bucket of the audit."""


@dataclass
class Cloud:
    """The four tables of the template."""

    tokens: "Table"
    audit: "Table"
    stats: "Table"
    habilitations: "Table"

    def issue_key(self, *scopes: str, key: str | None = None, **changes: Any) -> str:
        """Store a signed active token with these scopes and return its key; ``changes`` replace attributes of it."""
        key = key or secrets.token_hex(32)
        item = {
            "key_hash": token.hash_key(key),
            "id": secrets.token_hex(8),
            "organisation": "VILLE EXEMPLE",
            "siret": "13002526500013",
            "scopes": list(scopes),
            "state": "active",
            "created": datetime.now(UTC).isoformat(),
            "expires": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
        }
        self.put_token(item | changes)
        return key

    def put_token(self, item: Mapping[str, Any]) -> None:
        """Store the item of a token, signed as the issuing code signs it, unless it has a MAC."""
        try:
            signed = {"mac": mac.sign(_client("kms"), environ["TOKEN_KEY_ID"], token.Token.from_item(item))}
        except (TypeError, ValueError):
            signed = {}  # malformed: no code signs it
        self.tokens.put_item(Item=signed | dict(item))

    def audit_records(self) -> list[dict[str, Any]]:
        """Return the items of the audit table, oldest first (their ids are UUIDv7)."""
        return sorted(self.audit.scan()["Items"], key=lambda item: str(item["id"]))


@lru_cache(maxsize=1)
def _session() -> boto3.Session:
    """Return the session that all tests share: loading the description of one service takes a tenth of a second."""
    return boto3.Session()


@lru_cache
def _client(service: Any) -> Any:
    """Return the client that all tests share; moto starts empty in each test."""
    return _session().client(service)


@lru_cache(maxsize=1)
def _dynamodb() -> "DynamoDBServiceResource":
    return _session().resource("dynamodb")


_formatted_urls = dict[type[BaseBackend], Any]()
_format_urls: Callable[[BaseBackend], Any] = vars(BaseBackend)["urls"].fget


def _urls(backend: BaseBackend) -> Any:
    """Return the handlers of a service of moto by URL, formatted once."""
    if type(backend) not in _formatted_urls:
        _formatted_urls[type(backend)] = _format_urls(backend)
    return _formatted_urls[type(backend)]


_pick = AttributePicker.__call__


def _picked(picker: AttributePicker, context: AttributePickerContext) -> Any:
    """Return a member of a response; the value of a DynamoDB attribute has one, and no other name for it."""
    parent = getattr(context.shape, "parent", None)
    if parent is not None and parent.name == "AttributeValue":
        return context.obj.get(context.key)
    return _pick(picker, context)


@lru_cache(maxsize=1)
def moto_app() -> DomainDispatcherApplication:
    return DomainDispatcherApplication(create_backend_app)


@contextmanager
def moto_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Create the template's tables, KMS keys and queue in moto, and set the environment variables that name them."""
    monkeypatch.setattr("moto.core.models.RESPONSES_METHODS", [])  # a thousand patterns, for calls without botocore
    with mock_aws(), serve(moto_app()) as url:
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", _session())
        tables = {}
        for logical_id, properties in resources("AWS::DynamoDB::Table").items():
            name = logical_id.removesuffix("Table").lower()
            supported = {"AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"}
            arguments = {key: value for key, value in properties.items() if key in supported}
            tables[name] = _dynamodb().create_table(TableName=name, **arguments)
        # moto reloads the module of its URLs, and formats each of them, at every request.
        monkeypatch.setattr(S3Backend, "_url_module", s3_urls)
        monkeypatch.setattr(BaseBackend, "urls", property(_urls))
        monkeypatch.setattr(AttributePicker, "__call__", _picked)
        # moto generates an RSA pair for every key, a twentieth of a second each; a MAC key needs none.
        monkeypatch.setattr("moto.kms.models.generate_private_key", lambda _: None)
        for logical_id in ("PseudonymKey", "EntryKey", "OperatorKey", "TokenKey"):
            variable = f"{logical_id.removesuffix('Key').upper()}_KEY_ID"
            properties = resources("AWS::KMS::Key")[logical_id]
            key = _client("kms").create_key(KeySpec=properties["KeySpec"], KeyUsage=properties["KeyUsage"])
            monkeypatch.setenv(variable, key["KeyMetadata"]["KeyId"])
        queue = _client("sqs").create_queue(QueueName="suspicions")
        monkeypatch.setenv("SUSPICIONS_QUEUE", queue["QueueUrl"])
        place = {"LocationConstraint": "eu-west-3"}
        _client("s3").create_bucket(
            Bucket=SEALS_BUCKET, CreateBucketConfiguration=place, ObjectLockEnabledForBucket=True
        )
        monkeypatch.setenv("SEALS_BUCKET", SEALS_BUCKET)
        # Calls that do not go through boto3, which moto intercepts, reach moto's server.
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
        yield Cloud(**tables)
