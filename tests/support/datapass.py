"""DataPass, played by hand: events of a fictional town, signed, sent to the front door of the function."""

import copy
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest

from api_particulier.aws import apigateway, dynamodb, sqs
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token, token_of
from tests.support.function import Answer, Cloud, call, event, forget

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient

SECRET = "secret-of-examples"
SIRET = "21000015400018"
OTHER_SIRET = "21000025300018"
VENDOR_SIRET = "21000035200018"
SCOPES = ["dgfip_revenu_fiscal_reference", "dgfip_nombre_parts", "cnaf_quotient_familial"]
FIRED_AT = int((datetime.now(UTC) - timedelta(days=30)).timestamp())
"""A month ago: events of tests happen then, and a little later."""
APPROVE: dict[str, Any] = json.loads(event("datapass_webhook/approve")["body"])


def told(name: str = "approve", at: int = FIRED_AT, model_id: int = 26001, **data: Any) -> dict[str, Any]:
    """Return an event; ``data`` replaces members of the request, or of its form when these are the form's."""
    made = copy.deepcopy(APPROVE)
    made |= {"event": name, "fired_at": at, "model_id": model_id}
    for member, value in data.items():
        inner = made["data"] if member in made["data"] else made["data"]["data"]
        inner[member] = value
    return made


def signed(payload: Mapping[str, Any] | bytes, secret: str = SECRET) -> dict[str, Any]:
    """Return the gateway's event of a payload, signed."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    made = event("datapass_webhook/approve", headers={"X-Hub-Signature-256": signature(body, secret)})
    return made | {"body": body.decode()}


def signature(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


class Town:
    """The function, its tables, its queue and its gateway, in moto."""

    def __init__(self, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud = cloud
        self.api: APIGatewayClient = boto3.client("apigateway")
        self.plan = self.api.create_usage_plan(name="api-particulier-local")["id"]
        self._sqs = boto3.client("sqs")
        self._queue = self._sqs.create_queue(QueueName="dead-letters")["QueueUrl"]
        secret = boto3.client("secretsmanager").create_secret(Name="datapass", SecretString=f"{SECRET}\n")["ARN"]
        monkeypatch.setenv("DATAPASS_SECRET_ID", secret)
        monkeypatch.setenv("DATAPASS_DEAD_LETTERS", self._queue)

    def tell(self, name: str = "approve", at: int = FIRED_AT, model_id: int = 26001, **data: Any) -> Answer:
        return self.send(told(name, at, model_id, **data))

    def send(self, payload: Mapping[str, Any] | bytes) -> Answer:
        return call(signed(payload), "datapass_webhook")

    @property
    def register(self) -> HabilitationRepository:
        return HabilitationRepository(boto3.client("dynamodb"), self.cloud.habilitations.name)

    @property
    def gateway(self) -> KeyStore:
        return KeyStore(self.api, boto3.client("dynamodb"), self.plan, self.cloud.tokens.name)

    def gateway_keys(self) -> list[str]:
        """Return the values of the keys that the gateway lets in."""
        made = self.api.get_api_keys(includeValues=True)["items"]
        planned = {one["id"] for one in self.api.get_usage_plan_keys(usagePlanId=self.plan)["items"]}
        return [one["value"] for one in made if one["id"] in planned]

    def tokens(self) -> list[Token]:
        return [token_of(item) for item in self.cloud.tokens.scan()["Items"]]

    def kept(self) -> list[dict[str, Any]]:
        """Return all that the table of habilitations holds."""
        return [dict(item) for item in self.cloud.habilitations.scan()["Items"]]

    def dead_letters(self) -> list[str]:
        found = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, VisibilityTimeout=0)
        return [message["Body"] for message in found.get("Messages", [])]

    def introspect(self, key: str) -> Answer:
        forget()
        return call(event("introspect/introspect", key=key), "introspect")

    def one_at_a_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make each call to AWS atomic, as it is: moto's are so one at a time only."""
        lock = RLock()
        for client in cast("tuple[Any, ...]", (apigateway(), dynamodb(), sqs())):
            made = client._make_api_call  # noqa: SLF001 - the one way of every call

            def alone(operation: str, arguments: Any, made: Any = made) -> Any:
                with lock:
                    return made(operation, arguments)

            monkeypatch.setattr(client, "_make_api_call", alone)
