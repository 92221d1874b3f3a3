"""DataPass, played by the test: signed events about a fictional town, sent to the webhook function."""

import copy
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from os import environ
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest

from api_particulier.aws import apigateway, dynamodb, sqs
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token
from ops.deployment import Deployment
from tests.support.cloud import Cloud
from tests.support.function import Response, event, invoke, new_environment

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

SECRET = "secret-of-examples"
SIRET = "21000015400018"
OTHER_SIRET = "21000025300018"
VENDOR_SIRET = "21000035200018"
SCOPES = ["dgfip_revenu_fiscal_reference", "dgfip_nombre_parts", "cnaf_quotient_familial"]
FIRED_AT = int((datetime.now(UTC) - timedelta(days=30)).timestamp())
"""A month ago, in seconds since the epoch: the events of tests start then."""
APPROVED_EVENT: dict[str, Any] = json.loads(event("datapass_webhook/approve")["body"])


def datapass_event(name: str = "approve", at: int = FIRED_AT, model_id: int = 26001, **data: Any) -> dict[str, Any]:
    """Return an event of DataPass; ``data`` replaces members of the request, or of its form."""
    payload = copy.deepcopy(APPROVED_EVENT)
    payload |= {"event": name, "fired_at": at, "model_id": model_id}
    for member, value in data.items():
        inner = payload["data"] if member in payload["data"] else payload["data"]["data"]
        inner[member] = value
    return payload


def signed_request(payload: Mapping[str, Any] | bytes, secret: str = SECRET) -> dict[str, Any]:
    """Return the event of the gateway for a signed payload."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    request = event("datapass_webhook/approve", headers={"X-Hub-Signature-256": signature(body, secret)})
    return request | {"body": body.decode()}


def signature(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


class Town:
    """The webhook function, with its tables, its dead-letter queue and its gateway in moto."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self.api: APIGatewayClient = boto3.client("apigateway")
        self.plan = self.api.create_usage_plan(name="api-particulier-local")["id"]
        self._sqs = boto3.client("sqs")
        self._queue = self._sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        secret = boto3.client("secretsmanager").create_secret(Name="datapass", SecretString=f"{SECRET}\n")["ARN"]
        monkeypatch.setenv("DATAPASS_SECRET_ID", secret)
        monkeypatch.setenv("DATAPASS_DEAD_LETTERS", self._queue)

    def notify(self, name: str = "approve", at: int = FIRED_AT, model_id: int = 26001, **data: Any) -> Response:
        return self.send(datapass_event(name, at, model_id, **data))

    def send(self, payload: Mapping[str, Any] | bytes) -> Response:
        return invoke(signed_request(payload), "datapass_webhook")

    @property
    def repository(self) -> HabilitationRepository:
        return HabilitationRepository(boto3.client("dynamodb"), self.cloud.habilitations.name)

    @property
    def key_store(self) -> KeyStore:
        return replace(KeyStore.from_environment(), api=self.api, usage_plan=self.plan)

    def gateway_keys(self) -> list[str]:
        """Return the values of the gateway's API keys that belong to the usage plan."""
        keys = self.api.get_api_keys(includeValues=True)["items"]
        planned = {key["id"] for key in self.api.get_usage_plan_keys(usagePlanId=self.plan)["items"]}
        return [key["value"] for key in keys if key["id"] in planned]

    def tokens(self) -> list[Token]:
        return self.key_store.list_all()

    def show_key(self) -> str:
        """Draw the key of the only token, as its link does, and return it."""
        (token,) = self.tokens()
        return lifecycle.draw(self.key_store, token, datetime.now(UTC))

    def stored_items(self) -> list[dict[str, Any]]:
        """Return all items of the habilitations table."""
        return [dict(item) for item in self.cloud.habilitations.scan()["Items"]]

    def dead_letters(self) -> list[str]:
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", [])]

    @property
    def deployment(self) -> Deployment:
        """The town's resources, as the operator's command has them."""
        on = Deployment(boto3.Session(), "api-particulier")
        vars(on)["outputs"] = {
            "UsagePlanId": self.plan,
            "TokensTable": self.cloud.tokens.name,
            "HabilitationsTable": self.cloud.habilitations.name,
            "DatapassDeadLetters": self._queue,
            "DatapassSecret": "datapass",
            "Environment": "local",
            "TokenKeyId": environ["TOKEN_KEY_ID"],
        }
        return on

    def set_aside(self, body: str, signature: str | None) -> None:
        """Put a message in the dead-letter queue, as the webhook or as a stranger does."""
        signed = {"X-Hub-Signature-256": {"DataType": "String", "StringValue": signature}} if signature else {}
        self._sqs.send_message(QueueUrl=self._queue, MessageBody=body, MessageAttributes=signed)  # type: ignore[arg-type]  # one attribute

    def introspect(self, key: str) -> Response:
        new_environment()
        return invoke(event("introspect/introspect", key=key), "introspect")

    def serialise_aws_calls(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make each call to AWS atomic, as in AWS; two calls of moto at once are not."""
        lock = RLock()
        for client in cast("tuple[Any, ...]", (apigateway(), dynamodb(), sqs())):
            make_api_call = client._make_api_call  # noqa: SLF001 - the one function that every call goes through

            def call_alone(operation: str, arguments: Any, make_api_call: Any = make_api_call) -> Any:
                with lock:
                    return make_api_call(operation, arguments)

            monkeypatch.setattr(client, "_make_api_call", call_alone)
