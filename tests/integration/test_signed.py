"""Calls of AWS that do not go by boto3: signed as it signs, tried again as it would, failing with its errors."""

import gc
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from socket import socket
from threading import Barrier, Event
from typing import Any

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
)

from api_particulier import signed
from api_particulier.aws import dynamodb, kms, secretsmanager
from tests.support.function import Cloud
from tests.support.wire import (
    Server,
    answering,
    closing_after,
    converse,
    dripping,
    read_request,
    refusing,
    resetting,
    response,
    silent,
)

ITEM: Any = {"pk": {"S": "é"}, "sk": {"S": "1"}, "n": {"N": "1"}, "list": {"L": [{"S": "a"}, {"NULL": True}]}}
KEY: Any = {name: ITEM[name] for name in ("pk", "sk")}
GOOD = response(b'{"Item": {}}', headers={"Content-Type": "application/x-amz-json-1.0"})


def error(code: str, status: int = 400) -> bytes:
    return response(json.dumps({"__type": f"com.amazonaws#{code}", "message": "of TILLEUL"}).encode(), status=status)


def get() -> Any:
    return dynamodb().get_item(TableName="stats", Key=KEY)


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put AWS at an address; nobody pauses between two tries."""
    monkeypatch.setattr(signed, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(signed, "TRY_SECONDS", 0.2)

    def put(url: str) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)

    return put


def test_an_item_is_written_changed_found_and_removed_as_by_boto3(cloud: Cloud) -> None:
    table, plain = dynamodb(), boto3.client("dynamodb")
    table.put_item(TableName="stats", Item=ITEM)
    assert plain.get_item(TableName="stats", Key=KEY)["Item"] == ITEM
    changed = table.update_item(
        TableName="stats",
        Key=KEY,
        UpdateExpression="ADD n :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )
    assert changed["Attributes"] == ITEM | {"n": {"N": "2"}} == get()["Item"]
    found = table.query(
        TableName="stats", KeyConditionExpression="pk = :pk", ExpressionAttributeValues={":pk": ITEM["pk"]}
    )
    assert (found["Count"], found["Items"]) == (1, [changed["Attributes"]])
    table.delete_item(TableName="stats", Key=KEY)
    assert "Item" not in get()
    assert cloud.stats.scan()["Items"] == []


@pytest.mark.usefixtures("cloud")
def test_a_mac_and_a_secret_are_those_of_boto3() -> None:
    made = boto3.client("kms").create_key(KeySpec="HMAC_256", KeyUsage="GENERATE_VERIFY_MAC")["KeyMetadata"]["KeyId"]
    asked: Any = {"KeyId": made, "MacAlgorithm": "HMAC_SHA_256", "Message": "été".encode()}
    assert kms().generate_mac(**asked)["Mac"] == boto3.client("kms").generate_mac(**asked)["Mac"]
    boto3.client("secretsmanager").create_secret(Name="some", SecretString="été")
    assert secretsmanager().get_secret_value(SecretId="some")["SecretString"] == "été"


@pytest.mark.usefixtures("cloud")
def test_a_refusal_is_the_error_of_boto3() -> None:
    refused: Any = {"TableName": "stats", "Item": ITEM, "ConditionExpression": "attribute_exists(pk)"}
    errors = []
    for table in (dynamodb(), boto3.client("dynamodb")):
        with pytest.raises(ClientError) as raised:
            table.put_item(**refused)
        told = raised.value
        errors.append((type(told).__name__, told.response["Error"]["Code"], told.operation_name))
    assert errors[0] == errors[1] == (*["ConditionalCheckFailedException"] * 2, "PutItem")


def test_what_is_sent_is_signed_with_the_roles_credentials(
    at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of the role")
    with listening(GOOD) as (url, heard):
        at(url)
        get()
    head, _, body = heard[0].partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    said = {name.lower(): value for name, value in (one.split(": ", 1) for one in lines)}
    assert line == "POST / HTTP/1.1"
    assert json.loads(body) == {"TableName": "stats", "Key": KEY}
    assert said["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert said["x-amz-security-token"] == "of the role"
    signer = SigV4Auth(Credentials("testing", "testing", "of the role"), "dynamodb", "eu-west-3")
    request = AWSRequest("POST", f"{url}/", data=body)
    for name in ("x-amz-target", "content-type", "x-amz-security-token"):
        request.headers[name] = said[name]
    request.context["timestamp"] = request.headers["X-Amz-Date"] = said["x-amz-date"]
    request.headers["Host"] = said["host"]
    signature = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    assert said["authorization"].endswith(f"Signature={signature}")


@pytest.mark.parametrize(
    ("first", "tries"),
    [
        (error("ProvisionedThroughputExceededException"), 2),
        (error("ThrottlingException"), 2),
        (error("InternalServerError", 500), 2),
        (response(b"<html>", status=503), 2),
        (b"", 2),
        (error("ValidationException"), 1),
        (error("AccessDeniedException"), 1),
    ],
)
def test_what_may_pass_is_tried_once_more(at: Callable[[str], None], first: bytes, tries: int) -> None:
    with listening(first, GOOD) as (url, heard):
        at(url)
        if tries == 1:
            with pytest.raises(ClientError) as refused:
                get()
            assert "TILLEUL" not in str(refused.value)
        else:
            assert get() == {"Item": {}}
    assert len(heard) == tries


@pytest.mark.parametrize(
    ("server", "raised"),
    [
        (refusing, EndpointConnectionError),
        (resetting, EndpointConnectionError),
        (silent, ReadTimeoutError),
        (dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b""), ReadTimeoutError),
        (closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), EndpointConnectionError),
        (answering(b"no HTTP\r\n\r\n"), EndpointConnectionError),
        (answering(response(b"no JSON")), ClientError),
        (answering(response(b"[]")), ClientError),
        (answering(response(b"no JSON", status=400)), ClientError),
        (answering(error("InternalServerError", 500)), ClientError),
    ],
)
def test_what_fails_is_an_error_of_botocore_that_tells_nothing(
    at: Callable[[str], None], server: Server, raised: type[Exception]
) -> None:
    with server() as url:
        at(url)
        with pytest.raises((BotoCoreError, ClientError)) as failed:
            get()
    assert isinstance(failed.value, raised)
    assert "TILLEUL" not in str(failed.value)


def test_without_credentials_nothing_is_sent(at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with listening(GOOD) as (url, heard):
        at(url)
        with pytest.raises(NoCredentialsError):
            get()
    assert heard == []


def test_restored_from_a_snapshot_credentials_are_those_of_the_moment(
    at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"AccessKeyId": "RESTORED", "SecretAccessKey": "s", "Token": "t", "Expiration": "2999-01-01T00:00:00Z"}
    role = response(json.dumps(told).encode(), headers={"Content-Type": "application/json"})
    with listening(role) as (address, _), listening(GOOD) as (url, heard):
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{address}/role")
        at(url)
        get()
    assert b"Credential=RESTORED/" in heard[0]


@pytest.mark.parametrize("value", [1.5, b"bytes", {"a": "set"}, object()])
def test_what_no_item_of_ours_holds_is_not_written(value: object) -> None:
    from api_particulier.aws import attribute

    with pytest.raises(TypeError):
        attribute(value)


def test_a_value_is_read_as_it_was_written() -> None:
    from api_particulier.aws import attribute, value_of

    for value in ("é", "", 0, -3, True, [], ["a", 1, [False]]):
        assert value_of(attribute(value)) == value
    assert value_of({"SS": ["a"]}) == ["a"]
    with pytest.raises(TypeError):
        value_of({"B": "AA=="})


@contextmanager
def listening(*answers: bytes) -> Iterator[tuple[str, list[bytes]]]:
    """Answer these one after another, the last for ever; an empty one closes the connection. Yields what is heard."""
    from tests.support.wire import converse

    heard = list[bytes]()

    def answer(connection: Any, _: object) -> None:
        while request := read_request(connection):
            heard.append(request)
            said = answers[min(len(heard), len(answers)) - 1]
            if not said:
                return
            connection.sendall(said)

    with converse(answer) as url:
        yield url, heard


def test_calls_at_once_have_a_connection_each_and_leave_none_open(
    at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    both, connections = Barrier(2), list[int]()

    def answer(connection: socket, _: Event) -> None:
        while read_request(connection):
            connections.append(connection.getpeername()[1])
            if len(connections) <= both.parties:
                both.wait(10)  # neither is answered before the other has asked
            connection.sendall(GOOD)

    with converse(answer) as url:
        at(url)
        monkeypatch.setattr(signed, "TRY_SECONDS", 10)
        dynamodb()  # one for both: two threads that are the first would make one each
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(lambda _: get(), range(2))) == [{"Item": {}}] * 2
        assert get() == get() == {"Item": {}}
        assert len(connections) == 4
        assert len(set(connections)) == len(set(connections[:2])) == 2
        dynamodb.cache_clear()  # an unclosed one would be warned of, which fails a test
        gc.collect()
