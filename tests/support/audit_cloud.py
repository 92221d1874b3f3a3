"""AWS as the sealing function uses it, in memory: a bucket, a key and the statistics table.

For tests and measures of many records: moto copies a whole table before each transaction. Every call goes through
``on_call`` before its effect and after it, so that a test can stop the process there and a measure can let time pass.
"""

import hmac
from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from typing import Any, Final

from botocore.exceptions import ClientError

_KEY: Final = b"the key of the seals"


class _NoSuchKey(ClientError):
    pass


class _InvalidSignature(ClientError):
    pass


class _TransactionCanceled(ClientError):
    pass


def _error(kind: type[ClientError], code: str, **more: Any) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": ""}, **more}
    return kind(response, "")


class AuditCloud:
    """The three services in one object, which is the client of each."""

    class exceptions:  # noqa: N801 - boto3's name
        NoSuchKey = _NoSuchKey
        KMSInvalidSignatureException = _InvalidSignature
        TransactionCanceledException = _TransactionCanceled

    def __init__(self, page: int = 1000) -> None:
        self.page = page
        """Objects of a page of a list."""
        self.objects: dict[str, bytes] = {}
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.on_call: Callable[[str, str], None] = lambda _operation, _moment: None
        """Called with the name of an operation and ``before``, then with ``after`` once it is done."""

    # ── S3 ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def put_object(self, *, Key: str, Body: bytes, IfNoneMatch: str, **_: object) -> None:  # noqa: N803 - boto3's names
        self.on_call("put_object", "before")
        assert IfNoneMatch == "*"
        if Key in self.objects:
            raise _error(ClientError, "PreconditionFailed")
        self.objects[Key] = Body
        self.on_call("put_object", "after")

    def get_object(self, *, Key: str, **_: object) -> dict[str, BytesIO]:  # noqa: N803 - boto3's name
        self.on_call("get_object", "before")
        if Key not in self.objects:
            raise _error(_NoSuchKey, "NoSuchKey")
        self.on_call("get_object", "after")
        return {"Body": BytesIO(self.objects[Key])}

    def get_paginator(self, operation: str) -> "AuditCloud":
        assert operation == "list_object_versions"
        return self

    def paginate(self, *, Prefix: str, KeyMarker: str = "", **_: object) -> Iterator[dict[str, Any]]:  # noqa: N803 - boto3's names
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > KeyMarker)
        for start in range(0, max(1, len(keys)), self.page):
            self.on_call("list_object_versions", "before")
            self.on_call("list_object_versions", "after")
            page = [{"Key": key, "VersionId": "1"} for key in keys[start : start + self.page]]
            yield {"Versions": page, "IsTruncated": start + self.page < len(keys)}

    # ── KMS ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def sign(self, *, Message: bytes, MessageType: str, **_: object) -> dict[str, bytes]:  # noqa: N803 - boto3's names
        self.on_call("sign", "before")
        assert (MessageType, len(Message)) == ("DIGEST", 32)
        self.on_call("sign", "after")
        return {"Signature": hmac.digest(_KEY, Message, sha256)}

    def verify(self, *, Message: bytes, Signature: bytes, **_: object) -> dict[str, bool]:  # noqa: N803 - boto3's names
        self.on_call("verify", "before")
        if Signature != hmac.digest(_KEY, Message, sha256):
            raise _error(_InvalidSignature, "KMSInvalidSignatureException")
        self.on_call("verify", "after")
        return {"SignatureValid": True}

    def generate_mac(self, *, Message: bytes, **_: object) -> dict[str, bytes]:  # noqa: N803 - boto3's name
        self.on_call("generate_mac", "before")
        self.on_call("generate_mac", "after")
        return {"Mac": sha256(Message).digest()}

    # ── DynamoDB ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def get_item(self, *, Key: dict[str, dict[str, str]], **_: object) -> dict[str, Any]:  # noqa: N803 - boto3's name
        self.on_call("get_item", "before")
        found = self.items.get((Key["pk"]["S"], Key["sk"]["S"]))
        self.on_call("get_item", "after")
        return {} if found is None else {"Item": dict(found)}

    def transact_write_items(self, *, TransactItems: list[dict[str, Any]]) -> None:  # noqa: N803 - boto3's name
        self.on_call("transact_write_items", "before")
        assert 0 < len(TransactItems) <= 100
        moved, *added = (action["Update"] for action in TransactItems)
        values = moved["ExpressionAttributeValues"]
        stored = self.items.get(("seal", "counted"), {}).get("number")
        if stored != values.get(":before"):
            reasons = [{"Code": "ConditionalCheckFailed"}, *({"Code": "None"} for _ in added)]
            raise _error(_TransactionCanceled, "TransactionCanceledException", CancellationReasons=reasons)
        self.items["seal", "counted"] = {"number": values[":number"], "hash": values[":hash"]}
        for update in added:
            key = update["Key"]["pk"]["S"], update["Key"]["sk"]["S"]
            assert update["UpdateExpression"] == "ADD calls :more"
            more = int(update["ExpressionAttributeValues"][":more"]["N"])
            before = int(self.items.get(key, {"calls": {"N": "0"}})["calls"]["N"])
            self.items[key] = {"calls": {"N": str(before + more)}}
        self.on_call("transact_write_items", "after")

    # ── What a test reads ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def counters(self) -> dict[str, int]:
        """The counters of the statistics table."""
        return {name: int(item["calls"]["N"]) for (kind, name), item in self.items.items() if kind == "counters"}
