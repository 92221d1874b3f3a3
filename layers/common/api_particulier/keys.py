"""The life of a key: issued, shown, prolonged, rotated, narrowed, taken away (docs/decisions/0009-issuing-keys.md).

A key is two things that live and die together: an API Gateway key in the usage plan, which counts the calls, and an
item of the tokens table, which says what it opens. The gateway alone keeps the key's value; the table its SHA-256.

The two are not written in one transaction, so ``issue`` can be killed between any two of its steps. Calling it again
with the same id finishes the work: it finds by name what the gateway already has. A lease in the tokens table, the
item ``issuing#<id>``, lets one caller work on an id at a time; it goes in the very transaction that writes the token.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final, Self

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError
from uuid6 import uuid7

from api_particulier.aws import apigateway, dynamodb_client
from api_particulier.scopes import includes
from api_particulier.settings import settings
from api_particulier.tokens import ACTIVE, REVOKED, Token, hash_key, item_of, token_of

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LIFETIME: Final = timedelta(days=18 * 30.4375)
"""18 months, unless said otherwise."""
OVERLAP: Final = timedelta(days=30)
"""How long a rotated key still works, unless said otherwise."""
KEPT: Final = timedelta(days=90)
"""How long a key that has ended can still be prolonged."""
LEASE: Final = timedelta(seconds=30)
"""How long an id is its issuer's: longer than a function lives, so who died has lost it and who lives has not."""
_PATIENCE: Final = 15.0
"""Seconds to wait for another issuer of the same id."""
_RESERVED: Final = "issuing#"
_IS_ACTIVE: Final = "#state = :active"


class KeyRefused(Exception):
    """What was asked of a key cannot be done; the text says why, and holds ids only."""


class UnknownToken(KeyRefused):
    def __init__(self, token_id: str) -> None:
        super().__init__(f"no token has the id {token_id}")


class NotLive(KeyRefused):
    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is revoked or expired")


class TwoLiveKeys(KeyRefused):
    """At most two keys live at a time: the one in use, and the one that takes its place."""

    def __init__(self, *token_ids: str) -> None:
        super().__init__(f"two keys already live, {' and '.join(sorted(token_ids))}: let one expire, or revoke it")


class NotNarrower(KeyRefused):
    def __init__(self, *scopes: str) -> None:
        super().__init__(f"narrowing cannot add {', '.join(sorted(scopes))}")


class StillIssuing(KeyRefused):
    """Somebody else works on it, or died less than ``LEASE`` ago: the same call, a little later, succeeds."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is being issued; try again in {LEASE.seconds} seconds")


@dataclass(frozen=True)
class NewToken:
    """A key to issue. The caller chooses its id and keeps it: issuing it twice makes one key."""

    organisation: str
    siret: str
    scopes: frozenset[str]
    expires: datetime
    id: str
    allowed: tuple[str, ...] = ()
    habilitation: str | None = None
    purpose: str | None = None
    """What the key is for; in every entry of the audit."""
    replaces: str | None = None

    @staticmethod
    def new_id() -> str:
        return str(uuid7())


@dataclass(frozen=True)
class Gateway:
    """Where keys are: the usage plan that lets them in, and the table that says what they open."""

    api: "APIGatewayClient"
    dynamodb: "DynamoDBClient"
    usage_plan: str
    """Its id; empty where it is to be found by its name, at the first key that is issued."""
    tokens_table: str

    @classmethod
    def of_function(cls) -> Self:
        """Return that of a function's environment.

        No variable names the usage plan: the stack would depend on itself, since the plan needs the API, and the API
        the functions behind its routes.
        """
        return cls(apigateway(), dynamodb_client(), "", settings().tokens_table)

    @cached_property
    def plan(self) -> str:
        """The usage plan's id; ``KeyRefused`` when there is none of its name."""
        if self.usage_plan:
            return self.usage_plan
        name = f"api-particulier-{settings().environment}"
        for page in self.api.get_paginator("get_usage_plans").paginate():
            for one in page["items"]:
                if one["name"] == name:
                    return one["id"]
        raise KeyRefused(f"no usage plan is named {name}")


# ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find(gateway: Gateway, token_id: str) -> Token:
    """Return a token by its id, whatever its state; ``UnknownToken`` when there is none."""
    found = _find(gateway, token_id)
    if found is None:
        raise UnknownToken(token_id)
    return found


def of_habilitation(gateway: Gateway, habilitation: str) -> list[Token]:
    """Return every token of a habilitation, whatever its state, the latest first."""
    items = _query(gateway, "by_habilitation", "habilitation", habilitation)
    return sorted(map(token_of, items), key=lambda token: token.created, reverse=True)


def list_all(gateway: Gateway) -> list[Token]:
    """Return every token, whatever its state, the latest first."""
    return sorted(map(token_of, _scan(gateway, "attribute_exists(id)")), key=lambda one: one.created, reverse=True)


def live_beside(gateway: Gateway, token: Token, now: datetime) -> list[Token]:
    """Return the other live keys of the token's habilitation; without one, of those that a rotation tied to it."""
    if token.habilitation:
        family: Iterator[Token | None] | list[Token] = of_habilitation(gateway, token.habilitation)
    else:
        family = (_find(gateway, one) for one in (token.replaces, token.successor) if one)
    return [one for one in family if one is not None and one.id != token.id and one.is_active(now)]


# ── Issuing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def issue(gateway: Gateway, new: NewToken, now: datetime) -> Token:
    """Make a key of 256 random bits that opens ``new.scopes`` until ``new.expires``.

    Called any number of times with the same id, at once or after a crash at any step, it ends with one gateway key, in
    the plan, and one item, whatever that item's state has become since. ``StillIssuing`` when another caller holds the
    id for longer than one waits.
    """
    return _issue(gateway, new, now, None)


def reveal(gateway: Gateway, token: Token) -> str:
    """Return the key itself, which only the gateway keeps; ``NotLive`` when the gateway no longer has it."""
    try:
        return gateway.api.get_api_key(apiKey=token.gateway_key_id or "-", includeValue=True)["value"]
    except ClientError as error:
        if not _is(error, "NotFoundException"):
            raise
        raise NotLive(token.id) from None


def rotate(gateway: Gateway, token: Token, overlap: timedelta, now: datetime) -> Token:
    """Issue a second key that opens the same, for a life of its own; ``token`` works until the overlap's end.

    The new key and the old one's end are written at once; a rotation that died is finished by asking again.
    ``NotLive``, or ``TwoLiveKeys`` when the habilitation (the token, when it has none) already has two.
    """
    token = find(gateway, token.id)
    if not token.is_active(now):
        raise NotLive(token.id)
    if beside := live_beside(gateway, token, now):
        raise TwoLiveKeys(token.id, *(one.id for one in beside))
    new = NewToken(
        id=_reserve_successor(gateway, token),
        organisation=token.organisation,
        siret=token.siret,
        scopes=token.scopes,
        expires=now.replace(microsecond=0) + LIFETIME,
        allowed=token.allowed,
        habilitation=token.habilitation,
        purpose=token.purpose,
        replaces=token.id,
    )
    ends = now.replace(microsecond=0) + overlap
    return _issue(gateway, new, now, replace(token, expires=min(token.expires or ends, ends)))


def _issue(gateway: Gateway, new: NewToken, now: datetime, replaced: Token | None) -> Token:
    """Issue; ``replaced`` is written in the same transaction, with its new end."""
    started, owner = monotonic(), secrets.token_hex(16)
    while True:
        waited = monotonic() - started
        found = _find(gateway, new.id)
        if found is not None:
            return found
        if _take_lease(gateway, new.id, owner, now + timedelta(seconds=waited)):
            break
        if waited > _PATIENCE:
            raise StillIssuing(new.id)
        sleep(0.1)
    try:
        return _issue_alone(gateway, new, now, replaced, owner)
    except BaseException:
        _end_lease(gateway, new.id, owner)
        raise


def _issue_alone(gateway: Gateway, new: NewToken, now: datetime, replaced: Token | None, owner: str) -> Token:
    gateway_key, value = _gateway_key(gateway, new)
    try:
        gateway.api.create_usage_plan_key(usagePlanId=gateway.plan, keyId=gateway_key, keyType="API_KEY")
    except ClientError as error:
        if not _is(error, "ConflictException"):  # it is in the plan
            raise
    token = Token(
        key_hash=hash_key(value),
        id=new.id,
        organisation=new.organisation,
        siret=new.siret,
        scopes=new.scopes,
        state=ACTIVE,
        created=now.replace(microsecond=0),
        expires=new.expires,
        allowed=new.allowed,
        habilitation=new.habilitation,
        purpose=new.purpose,
        gateway_key_id=gateway_key,
        replaces=new.replaces,
    )
    try:
        gateway.dynamodb.transact_write_items(TransactItems=_writes(gateway, token, replaced, owner))
    except ClientError as error:
        if not _is(error, "TransactionCanceledException"):
            raise
        written = _read(gateway, token.key_hash)
        if written is not None:  # by who held the lease before: the index was late to say so
            _drop_lease(gateway, new.id, owner)
            return token_of(written)
        if replaced is not None and not _is_active(_read(gateway, replaced.key_hash)):
            abandon(gateway, new.id)
            raise NotLive(replaced.id) from None
        raise StillIssuing(new.id) from None
    return token


def abandon(gateway: Gateway, token_id: str) -> None:
    """Leave nothing of an issue that died before its token was written; nothing happens to a token."""
    if _find(gateway, token_id) is None:
        for one in _gateway_keys(gateway, token_id):
            _delete_gateway_key(gateway, one["id"])
    gateway.dynamodb.delete_item(TableName=gateway.tokens_table, Key=_reservation(token_id))


def died(gateway: Gateway, now: datetime) -> list[str]:
    """Return the ids whose issue died: it can be called again, or abandoned."""
    items = _scan(gateway, "begins_with(key_hash, :reserved)", {":reserved": {"S": _RESERVED}})
    return [str(one["key_hash"])[len(_RESERVED) :] for one in items if float(one["until"]) <= now.timestamp()]


def _writes(gateway: Gateway, token: Token, replaced: Token | None, owner: str) -> "Sequence[TransactWriteItemTypeDef]":
    serialize = TypeSerializer().serialize
    writes: list[TransactWriteItemTypeDef] = [
        {
            "Put": {
                "TableName": gateway.tokens_table,
                "Item": {name: serialize(value) for name, value in item_of(token).items()},
                "ConditionExpression": "attribute_not_exists(key_hash)",
            }
        },
        {
            "Delete": {
                "TableName": gateway.tokens_table,
                "Key": _reservation(token.id),
                "ConditionExpression": "#owner = :owner",
                "ExpressionAttributeNames": {"#owner": "owner"},
                "ExpressionAttributeValues": {":owner": {"S": owner}},
            }
        },
    ]
    if replaced is not None and replaced.expires is not None:
        writes.append(
            {
                "Update": {
                    "TableName": gateway.tokens_table,
                    "Key": {"key_hash": {"S": replaced.key_hash}},
                    "UpdateExpression": "SET expires = :expires, end_set = :now",
                    "ConditionExpression": "#state = :active",
                    "ExpressionAttributeNames": {"#state": "state"},
                    "ExpressionAttributeValues": {
                        ":expires": {"S": replaced.expires.isoformat()},
                        ":now": {"S": token.created.isoformat()},
                        ":active": {"S": ACTIVE},
                    },
                }
            }
        )
    return writes


def _gateway_key(gateway: Gateway, new: NewToken) -> tuple[str, str]:
    """Return the id and the value of the gateway's one key for ``new``, made unless it is there."""
    found = _gateway_keys(gateway, new.id)
    if not found:
        made = gateway.api.create_api_key(
            name=_name(new.id), description=new.organisation, enabled=True, value=secrets.token_hex(32)
        )
        return made["id"], made["value"]
    kept, *others = found
    for other in others:  # of an issuer whose last request came through after its lease had ended
        _delete_gateway_key(gateway, other["id"])
    return kept["id"], kept["value"]


def _gateway_keys(gateway: Gateway, token_id: str) -> list[Mapping[str, Any]]:
    """Return the gateway's keys of this name, the first made first."""
    name = _name(token_id)
    pages = gateway.api.get_paginator("get_api_keys").paginate(nameQuery=name, includeValues=True)
    found = [one for page in pages for one in page["items"] if one["name"] == name]
    return sorted(found, key=lambda one: (one["createdDate"], one["id"]))


def _name(token_id: str) -> str:
    return f"api-particulier-{token_id}"


def _delete_gateway_key(gateway: Gateway, gateway_key: str) -> None:
    try:
        gateway.api.delete_api_key(apiKey=gateway_key)
    except ClientError as error:
        if not _is(error, "NotFoundException"):
            raise


def _reserve_successor(gateway: Gateway, token: Token) -> str:
    """Agree on the id of the key that takes ``token``'s place, however many ask at once, before any is made."""
    before = token.successor
    if before and _find(gateway, before) is None:
        return before  # a rotation died: this one goes on with its id
    values = {":new": NewToken.new_id(), ":active": ACTIVE} | ({":before": before} if before else {})
    unchanged = "successor = :before" if before else "attribute_not_exists(successor)"
    try:
        _update(gateway, token, "successor = :new", f"{_IS_ACTIVE} AND {unchanged}", values)
    except ClientError as error:
        if not _is(error, "ConditionalCheckFailedException"):
            raise
        agreed = find(gateway, token.id)
        if agreed.state != ACTIVE or not agreed.successor:
            raise NotLive(token.id) from None
        return agreed.successor
    return values[":new"]


# ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def prolong(gateway: Gateway, token: Token, expires: datetime, now: datetime) -> Token:
    """Let a key live until ``expires``, an expired one too; functions know within a minute.

    ``NotLive`` for a revoked key; ``TwoLiveKeys`` when that would wake up a third.
    """
    token = find(gateway, token.id)
    beside = live_beside(gateway, token, now)
    if not token.is_active(now) and len(beside) > 1:
        raise TwoLiveKeys(*(one.id for one in beside))
    return _change(gateway, token, "expires = :new, end_set = :now", expires.isoformat(), {":now": now.isoformat()})


def narrow(gateway: Gateway, token: Token, scopes: frozenset[str]) -> Token:
    """Let a key open ``scopes`` only, which it must all open already; functions know within a minute.

    ``NotNarrower`` for a scope that it does not open; ``NotLive`` for a revoked key.
    """
    token = find(gateway, token.id)
    added = {scope for scope in scopes if not includes(token.scopes, scope)}
    if added or not scopes:
        raise NotNarrower(*(added or {"nothing: revoke the key instead"}))
    return _change(gateway, token, "scopes = :new", sorted(scopes))


def allow(gateway: Gateway, token: Token, ranges: Sequence[str]) -> Token:
    """Let a key be used from these ranges (CIDR) only, or from anywhere; functions know within a minute."""
    return _change(gateway, find(gateway, token.id), "allowed = :new", list(ranges))


def revoke(gateway: Gateway, token: Token) -> Token:
    """Take a key away, at once; doing so twice is as good as once."""
    if token.gateway_key_id:
        # First at the gateway: functions remember a token for a minute, the gateway does not. Deleted rather than
        # disabled: a key never comes back, and an account holds 10,000 of them
        # (https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html).
        _delete_gateway_key(gateway, token.gateway_key_id)
    condition, values = "attribute_exists(key_hash)", {":revoked": REVOKED}
    return token_of(_update(gateway, token, "#state = :revoked", condition, values))


def long_ended(gateway: Gateway, now: datetime) -> list[Token]:
    """Return the keys that ended ``KEPT`` ago and still take one of the account's places at the gateway."""
    return [one for one in list_all(gateway) if one.state == ACTIVE and one.expires and one.expires + KEPT <= now]


def _change(
    gateway: Gateway, token: Token, change: str, value: str | list[str], others: Mapping[str, str] | None = None
) -> Token:
    try:
        return token_of(
            _update(gateway, token, change, _IS_ACTIVE, {":new": value, ":active": ACTIVE, **(others or {})})
        )
    except ClientError as error:
        if not _is(error, "ConditionalCheckFailedException"):
            raise
        raise NotLive(token.id) from None


# ── The table ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _update(
    gateway: Gateway, token: Token, change: str, condition: str, values: Mapping[str, str | list[str]]
) -> dict[str, Any]:
    """Change an item and return it; ``change`` or ``condition`` speaks of ``#state``."""
    serialize = TypeSerializer().serialize
    attributes = gateway.dynamodb.update_item(
        TableName=gateway.tokens_table,
        Key={"key_hash": {"S": token.key_hash}},
        UpdateExpression=f"SET {change}",
        ConditionExpression=condition,
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={name: serialize(value) for name, value in values.items()},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    return _deserialized(attributes)


def _take_lease(gateway: Gateway, token_id: str, owner: str, now: datetime) -> bool:
    """Reserve an id until ``LEASE`` from now; False when somebody holds it."""
    until = (now + LEASE).timestamp()
    try:
        gateway.dynamodb.put_item(
            TableName=gateway.tokens_table,
            Item=_reservation(token_id) | {"owner": {"S": owner}, "until": {"N": f"{until:.3f}"}},
            ConditionExpression="attribute_not_exists(key_hash) OR #until <= :now",
            ExpressionAttributeNames={"#until": "until"},
            ExpressionAttributeValues={":now": {"N": f"{now.timestamp():.3f}"}},
        )
    except ClientError as error:
        if not _is(error, "ConditionalCheckFailedException"):
            raise
        return False
    return True


def _end_lease(gateway: Gateway, token_id: str, owner: str) -> None:
    """Let the next one work at once; the reservation stays, to say that something may be half-made."""
    try:
        gateway.dynamodb.update_item(
            TableName=gateway.tokens_table,
            Key=_reservation(token_id),
            UpdateExpression="SET #until = :past",
            ConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#until": "until", "#owner": "owner"},
            ExpressionAttributeValues={":past": {"N": "0"}, ":owner": {"S": owner}},
        )
    except ClientError as error:
        if not _is(error, "ConditionalCheckFailedException"):
            raise


def _drop_lease(gateway: Gateway, token_id: str, owner: str) -> None:
    try:
        gateway.dynamodb.delete_item(
            TableName=gateway.tokens_table,
            Key=_reservation(token_id),
            ConditionExpression="#owner = :owner",
            ExpressionAttributeNames={"#owner": "owner"},
            ExpressionAttributeValues={":owner": {"S": owner}},
        )
    except ClientError as error:
        if not _is(error, "ConditionalCheckFailedException"):
            raise


def _reservation(token_id: str) -> dict[str, Any]:
    # Without ``id``: it is in no index, and in no list of tokens.
    return {"key_hash": {"S": f"{_RESERVED}{token_id}"}}


def _find(gateway: Gateway, token_id: str) -> Token | None:
    found = next(_query(gateway, "by_id", "id", token_id), None)
    # The index may be late; the item is not.
    item = _read(gateway, str(found["key_hash"])) if found else None
    return token_of(item) if item else None


def _read(gateway: Gateway, key_hash: str) -> dict[str, Any] | None:
    found = gateway.dynamodb.get_item(
        TableName=gateway.tokens_table, Key={"key_hash": {"S": key_hash}}, ConsistentRead=True
    ).get("Item")
    return _deserialized(found) if found else None


def _query(gateway: Gateway, index: str, attribute: str, value: str) -> Iterator[dict[str, Any]]:
    pages = gateway.dynamodb.get_paginator("query").paginate(
        TableName=gateway.tokens_table,
        IndexName=index,
        KeyConditionExpression="#attribute = :value",
        ExpressionAttributeNames={"#attribute": attribute},
        ExpressionAttributeValues={":value": {"S": value}},
    )
    return (_deserialized(item) for page in pages for item in page["Items"])


def _scan(gateway: Gateway, condition: str, values: Mapping[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    with_values: Any = {"ExpressionAttributeValues": values} if values else {}
    pages = gateway.dynamodb.get_paginator("scan").paginate(
        TableName=gateway.tokens_table, FilterExpression=condition, ConsistentRead=True, **with_values
    )
    return (_deserialized(item) for page in pages for item in page["Items"])


def _deserialized(item: Mapping[str, Any]) -> dict[str, Any]:
    deserialize = TypeDeserializer().deserialize
    return {name: deserialize(value) for name, value in item.items()}


def _is_active(item: Mapping[str, Any] | None) -> bool:
    return item is not None and item["state"] == ACTIVE


def _is(error: ClientError, code: str) -> bool:
    return error.response["Error"]["Code"] == code
