"""The front door of a function, in process: an event of ``events/`` in, a response out; the tables are in moto."""

import copy
import importlib
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

from api_particulier.keys import token
from tests.support import openapi
from tests.support.template import ROOT, resources
from tests.support.wire import serve

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

EVERY_SCOPE = ("dgfip_avis_imposition", "cnaf_attestation_droits")


def forget() -> None:
    """Make the layer as it is in a new environment: settings unread, nothing cached, no connection."""
    for name, module in list(sys.modules.items()):
        if name.startswith("api_particulier"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


@dataclass
class Cloud:
    """The tables and the key that a function uses, in moto."""

    tokens: "Table"
    audit: "Table"
    stats: "Table"
    habilitations: "Table"

    def token(self, *scopes: str, **changes: Any) -> str:
        """Store a token of these scopes and return its key."""
        key = secrets.token_hex(32)
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
        self.tokens.put_item(Item=item | changes)
        return key

    def entries(self) -> list[dict[str, Any]]:
        """Return the audit entries, in order."""
        return sorted(self.audit.scan()["Items"], key=lambda entry: str(entry["id"]))


@lru_cache(maxsize=1)
def _session() -> boto3.Session:
    """Return one session for every test: it remembers the descriptions of the services, a tenth of a second each."""
    return boto3.Session()


@lru_cache
def _client(service: Any) -> Any:
    """Return one client for every test: what it speaks to is moto's, and anew in each."""
    return _session().client(service)


@lru_cache(maxsize=1)
def moto_app() -> DomainDispatcherApplication:
    return DomainDispatcherApplication(create_backend_app)


@contextmanager
def moto_cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Make the tables and the key of the template, in moto, and say where they are in the environment."""
    with mock_aws(), serve(moto_app()) as url:
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", _session())
        dynamodb = boto3.resource("dynamodb")
        tables = {}
        for logical, properties in resources("AWS::DynamoDB::Table").items():
            name = logical.removesuffix("Table").lower()
            keep = {"AttributeDefinitions", "KeySchema", "BillingMode", "GlobalSecondaryIndexes"}
            created = {key: value for key, value in properties.items() if key in keep}
            tables[name] = dynamodb.create_table(TableName=name, **created)
        # moto would draw an RSA pair for every key, a twentieth of a second each; a MAC needs none.
        monkeypatch.setattr("moto.kms.models.generate_private_key", lambda _: None)
        for variable, logical in (("PSEUDONYM_KEY_ID", "PseudonymKey"), ("ENTRY_KEY_ID", "EntryKey")):
            key = resources("AWS::KMS::Key")[logical]
            made = _client("kms").create_key(KeySpec=key["KeySpec"], KeyUsage=key["KeyUsage"])
            monkeypatch.setenv(variable, made["KeyMetadata"]["KeyId"])
        queue = _client("sqs").create_queue(QueueName="suspicions")
        monkeypatch.setenv("SUSPICIONS_QUEUE", queue["QueueUrl"])
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)  # of the calls that do not go by boto3,
        monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")  # which moto stands in for
        yield Cloud(**tables)


@dataclass
class Answer:
    """What a caller gets."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> Any:
        return json.loads(self.text)


def event(name: str, *, key: str | None = None, headers: dict[str, str] | None = None, **query: str) -> dict[str, Any]:
    """Return the event ``events/<name>.json`` with another key, other headers, another query."""
    made: dict[str, Any] = copy.deepcopy(json.loads((ROOT / "events" / f"{name}.json").read_text()))
    changed = ({"X-API-Key": key} if key is not None else {}) | (headers or {})
    made["headers"] |= changed
    made["multiValueHeaders"] |= {header: [value] for header, value in changed.items()}
    if query:
        made["queryStringParameters"] = query
        made["multiValueQueryStringParameters"] = {parameter: [value] for parameter, value in query.items()}
    return made


def call(made: dict[str, Any], function: str) -> Answer:
    """Hand the event to the function, as Lambda does; what it answers is to be what the documentation says."""
    handler = importlib.import_module(f"functions.{function}.app").lambda_handler
    response = handler(made, None)
    answer = Answer(response["statusCode"], response["headers"], response["body"])
    if openapi.is_documented(made["resource"]):
        openapi.hold(made["httpMethod"], made["resource"], answer)
    return answer


def ask(name: str, *, key: str | None = None, headers: dict[str, str] | None = None, **query: str) -> Answer:
    """Call the function of ``events/<name>.json``."""
    return call(event(name, key=key, headers=headers, **query), name.split("/", maxsplit=1)[0])
