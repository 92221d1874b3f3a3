"""AWS's JSON services, for calls that somebody awaits: botocore's credentials, signer and errors, without its client.

boto3's client spends 0.85 ms of CPU on a write of which the signature is 0.07, and takes 150 ms of a cold start to
describe services of which three operations are used. What is left here is the protocol: a POST of JSON, signed
(docs/decisions/0027-signed-calls.md).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from random import random
from ssl import SSLError
from time import sleep
from typing import Any, Final

from botocore.auth import SigV4Auth
from botocore.credentials import ContainerProvider, CredentialResolver, Credentials, EnvProvider
from botocore.exceptions import (
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's name
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    ReadTimeoutError,
)

from api_particulier.connections import Connections, LostError, UnreadableError, trusting_public_authorities
from api_particulier.settings import settings

TRY_SECONDS: Final = 1.0
"""To connect, and again to wait for the answer's next bytes."""
PAUSE_SECONDS: Final = 0.1
"""At most, before the second and last try."""
_PASSING: Final = frozenset(
    {
        "InternalServerError",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
"""Errors that another try may not get; HTTP's own 5xx besides."""
_OK: Final = 200
_FAILING: Final = 500
_MAX_BYTES: Final = 16 * 1024 * 1024
"""A page of DynamoDB's is one megabyte of items; told in JSON, a few."""


class Service:
    """One service, over connections that are kept alive."""

    def __init__(self, name: str, target: str) -> None:
        """``name`` is in its address and in signatures; ``target`` (``TrentService``, say) precedes an operation's."""
        self._region = settings().aws_default_region
        self._name, self._target = name, target
        self._url = f"{settings().aws_endpoint_url or f'https://{name}.{self._region}.amazonaws.com'}/"
        tls = trusting_public_authorities() if self._url.startswith("https") else None
        self._connections = Connections(self._url, tls, _Patience(), at_most=_MAX_BYTES)

    def call(self, operation: str, request: Mapping[str, object]) -> dict[str, Any]:
        """Return what an operation answers, as boto3's client would; ``ClientError`` or ``BotoCoreError`` likewise.

        What may pass is tried twice, so an operation that is not to be done twice says so in its conditions.
        """
        body = json.dumps(request).encode()
        try:
            return self._try(operation, body)
        except (ConnectionError, HTTPClientError, _PassingError):
            sleep(random() * PAUSE_SECONDS)  # noqa: S311 - so that many do not come back at once
            return self._try(operation, body)

    def _try(self, operation: str, body: bytes) -> dict[str, Any]:
        status, content = self._send(self._sign(operation, body))
        try:
            answer: Any = json.loads(content)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            answer = {}
        elif status == _OK:
            return answer
        code = str(answer.get("__type", "")).rpartition("#")[2] or str(status)
        passing = status >= _FAILING or code in _PASSING
        told = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise _named(code, _PassingError if passing else ClientError)(answer | told, operation)

    def _sign(self, operation: str, body: bytes) -> "_Request":
        request = _Request(self._url, body)
        request.headers["Host"] = self._connections.host
        request.headers["X-Amz-Target"] = f"{self._target}.{operation}"
        # DynamoDB says 1.0 and the others 1.1; their bodies are the same.
        request.headers["Content-Type"] = f"application/x-amz-json-{'1.0' if self._name == 'dynamodb' else '1.1'}"
        SigV4Auth(_credentials().get_frozen_credentials(), self._name, self._region).add_auth(request)  # type: ignore[arg-type]  # the parts of one that it reads
        return request

    def _send(self, request: "_Request") -> tuple[int, bytes]:
        try:
            answer = self._connections.ask(request.method, "/", request.headers, request.body)
        except TimeoutError:
            raise ReadTimeoutError(endpoint_url=self._url) from None
        except (LostError, UnreadableError, SSLError):
            raise EndpointConnectionError(endpoint_url=self._url) from None
        return answer.status, answer.content


@dataclass
class _Request:
    """What botocore's signer reads of its ``AWSRequest``, which prepares itself anew at each look, and writes."""

    url: str
    body: bytes
    method: str = "POST"
    params: None = None
    headers: dict[str, str] = field(default_factory=dict)
    context: dict[str, Any] = field(default_factory=dict)


class _Patience:
    def to_connect(self) -> float:
        return TRY_SECONDS

    to_read = to_connect


class _PassingError(ClientError):
    """An error of the service that another try may not get."""


@lru_cache(maxsize=64)
def _named(code: str, kind: type[ClientError]) -> type[ClientError]:
    """Return the type of an error, of the service's own name as boto3's are: a log tells it."""
    return type(code, (kind,), {}) if code.isidentifier() else kind


@lru_cache(maxsize=1)
def _credentials() -> Credentials:
    """Return those of the function's role: in its environment or, after a snapshot, at an address told there."""
    found = CredentialResolver([EnvProvider(), ContainerProvider()]).load_credentials()
    if found is None:
        raise NoCredentialsError
    return found
