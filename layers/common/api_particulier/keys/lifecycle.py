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
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError
from uuid6 import uuid7

from api_particulier.keys.store import LEASE, RESERVED, KeyRefused, KeyStore, is_error, name_of, reservation
from api_particulier.keys.token import ACTIVE, REVOKED, SUSPENDED, Token, hash_key, item_of, token_of
from api_particulier.scopes import includes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LIFETIME: Final = timedelta(days=18 * 30.4375)
"""18 months, unless said otherwise."""
OVERLAP: Final = timedelta(days=30)
"""How long a rotated key still works, unless said otherwise."""
KEPT: Final = timedelta(days=90)
"""How long a key that has ended can still be prolonged."""
_PATIENCE: Final = 15.0
"""Seconds to wait for another issuer of the same id."""
_IS_ACTIVE: Final = "#state = :active"


class UnknownToken(KeyRefused):
    def __init__(self, token_id: str) -> None:
        super().__init__(f"no token has the id {token_id}")


class KeyNotActive(KeyRefused):
    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is revoked, suspended or expired")


class NotSuspended(KeyRefused):
    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is not suspended")


class TooManyActiveKeys(KeyRefused):
    """At most two keys live at a time: the one in use, and the one that takes its place."""

    def __init__(self, *token_ids: str) -> None:
        super().__init__(f"two keys already live, {' and '.join(sorted(token_ids))}: let one expire, or revoke it")


class ScopesNotReduced(KeyRefused):
    def __init__(self, *scopes: str) -> None:
        super().__init__(f"narrowing cannot add {', '.join(sorted(scopes))}")


class IssuanceInProgress(KeyRefused):
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


# ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find(gateway: KeyStore, token_id: str) -> Token:
    """Return a token by its id, whatever its state; ``UnknownToken`` when there is none."""
    found = gateway.find(token_id)
    if found is None:
        raise UnknownToken(token_id)
    return found


def list_for_habilitation(gateway: KeyStore, habilitation: str) -> list[Token]:
    """Return every token of a habilitation, whatever its state, the latest first."""
    items = gateway.query("by_habilitation", "habilitation", habilitation)
    return sorted(map(token_of, items), key=lambda token: token.created, reverse=True)


def list_all(gateway: KeyStore) -> list[Token]:
    """Return every token, whatever its state, the latest first."""
    return sorted(map(token_of, gateway.scan("attribute_exists(id)")), key=lambda one: one.created, reverse=True)


def other_active_keys(gateway: KeyStore, token: Token, now: datetime) -> list[Token]:
    """Return the other live keys of the token's habilitation; without one, of those that a rotation tied to it."""
    if token.habilitation:
        family: Iterator[Token | None] | list[Token] = list_for_habilitation(gateway, token.habilitation)
    else:
        family = (gateway.find(one) for one in (token.replaces, token.successor) if one)
    return [one for one in family if one is not None and one.id != token.id and one.is_active(now)]


# ── Issuing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def issue(gateway: KeyStore, new: NewToken, now: datetime) -> Token:
    """Make a key of 256 random bits that opens ``new.scopes`` until ``new.expires``.

    Called any number of times with the same id, at once or after a crash at any step, it ends with one gateway key, in
    the plan, and one item, whatever that item's state has become since. ``StillIssuing`` when another caller holds the
    id for longer than one waits.
    """
    return _issue(gateway, new, now, None)


def reveal(gateway: KeyStore, token: Token) -> str:
    """Return the key itself, which only the gateway keeps; ``NotLive`` when the gateway no longer has it."""
    try:
        return gateway.api.get_api_key(apiKey=token.gateway_key_id or "-", includeValue=True)["value"]
    except ClientError as error:
        if not is_error(error, "NotFoundException"):
            raise
        raise KeyNotActive(token.id) from None


def rotate(gateway: KeyStore, token: Token, overlap: timedelta, now: datetime) -> Token:
    """Issue a second key that opens the same, for a life of its own; ``token`` works until the overlap's end.

    The new key and the old one's end are written at once; a rotation that died is finished by asking again.
    ``NotLive``, or ``TwoLiveKeys`` when the habilitation (the token, when it has none) already has two.
    """
    token = find(gateway, token.id)
    if not token.is_active(now):
        raise KeyNotActive(token.id)
    if beside := other_active_keys(gateway, token, now):
        raise TooManyActiveKeys(token.id, *(one.id for one in beside))
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


def _issue(gateway: KeyStore, new: NewToken, now: datetime, replaced: Token | None) -> Token:
    """Issue; ``replaced`` is written in the same transaction, with its new end."""
    started, owner = monotonic(), secrets.token_hex(16)
    while True:
        waited = monotonic() - started
        found = gateway.find(new.id)
        if found is not None:
            return found
        if gateway.take_lease(new.id, owner, now + timedelta(seconds=waited)):
            break
        if waited > _PATIENCE:
            raise IssuanceInProgress(new.id)
        sleep(0.1)
    try:
        return _issue_alone(gateway, new, now, replaced, owner)
    except BaseException:
        gateway.end_lease(new.id, owner)
        raise


def _issue_alone(gateway: KeyStore, new: NewToken, now: datetime, replaced: Token | None, owner: str) -> Token:
    gateway_key, value = _gateway_key(gateway, new)
    try:
        gateway.api.create_usage_plan_key(usagePlanId=gateway.plan, keyId=gateway_key, keyType="API_KEY")
    except ClientError as error:
        if not is_error(error, "ConflictException"):  # it is in the plan
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
        if not is_error(error, "TransactionCanceledException"):
            raise
        written = gateway.read(token.key_hash)
        if written is not None:  # by who held the lease before: the index was late to say so
            gateway.drop_lease(new.id, owner)
            return token_of(written)
        if replaced is not None and not _is_active(gateway.read(replaced.key_hash)):
            cancel_issuance(gateway, new.id)
            raise KeyNotActive(replaced.id) from None
        raise IssuanceInProgress(new.id) from None
    return token


def cancel_issuance(gateway: KeyStore, token_id: str) -> None:
    """Leave nothing of an issue that died before its token was written; nothing happens to a token."""
    if gateway.find(token_id) is None:
        for one in gateway.keys_named(token_id):
            gateway.delete_key(one["id"])
    gateway.dynamodb.delete_item(TableName=gateway.tokens_table, Key=reservation(token_id))


def stale_issuances(gateway: KeyStore, now: datetime) -> list[str]:
    """Return the ids whose issue died: it can be called again, or abandoned."""
    items = gateway.scan("begins_with(key_hash, :reserved)", {":reserved": {"S": RESERVED}})
    return [str(one["key_hash"])[len(RESERVED) :] for one in items if float(one["until"]) <= now.timestamp()]


def _writes(
    gateway: KeyStore, token: Token, replaced: Token | None, owner: str
) -> "Sequence[TransactWriteItemTypeDef]":
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
                "Key": reservation(token.id),
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


def _gateway_key(gateway: KeyStore, new: NewToken) -> tuple[str, str]:
    """Return the id and the value of the gateway's one key for ``new``, made unless it is there."""
    found = gateway.keys_named(new.id)
    if not found:
        made = gateway.api.create_api_key(
            name=name_of(new.id), description=new.organisation, enabled=True, value=secrets.token_hex(32)
        )
        return made["id"], made["value"]
    kept, *others = found
    for other in others:  # of an issuer whose last request came through after its lease had ended
        gateway.delete_key(other["id"])
    return kept["id"], kept["value"]


def _reserve_successor(gateway: KeyStore, token: Token) -> str:
    """Agree on the id of the key that takes ``token``'s place, however many ask at once, before any is made."""
    before = token.successor
    if before and gateway.find(before) is None:
        return before  # a rotation died: this one goes on with its id
    values = {":new": NewToken.new_id(), ":active": ACTIVE} | ({":before": before} if before else {})
    unchanged = "successor = :before" if before else "attribute_not_exists(successor)"
    try:
        gateway.update(token, "successor = :new", f"{_IS_ACTIVE} AND {unchanged}", values)
    except ClientError as error:
        if not is_error(error, "ConditionalCheckFailedException"):
            raise
        agreed = find(gateway, token.id)
        if agreed.state != ACTIVE or not agreed.successor:
            raise KeyNotActive(token.id) from None
        return agreed.successor
    return values[":new"]


# ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def extend(gateway: KeyStore, token: Token, expires: datetime, now: datetime) -> Token:
    """Let a key live until ``expires``, an expired one too; functions know within a minute. A suspended one stays so.

    ``NotLive`` for a revoked key; ``TwoLiveKeys`` when that would wake up a third.
    """
    token = find(gateway, token.id)
    beside = other_active_keys(gateway, token, now)
    if not token.is_active(now) and len(beside) > 1:
        raise TooManyActiveKeys(*(one.id for one in beside))
    return _change(gateway, token, "expires = :new, end_set = :now", expires.isoformat(), {":now": now.isoformat()})


def reduce_scopes(gateway: KeyStore, token: Token, scopes: frozenset[str]) -> Token:
    """Let a key open ``scopes`` only, which it must all open already; functions know within a minute.

    ``NotNarrower`` for a scope that it does not open; ``NotLive`` for a revoked key.
    """
    token = find(gateway, token.id)
    added = {scope for scope in scopes if not includes(token.scopes, scope)}
    if added or not scopes:
        raise ScopesNotReduced(*(added or {"nothing: revoke the key instead"}))
    return _change(gateway, token, "scopes = :new", sorted(scopes))


def set_allowed_ips(gateway: KeyStore, token: Token, ranges: Sequence[str]) -> Token:
    """Let a key be used from these ranges (CIDR) only, or from anywhere; functions know within a minute."""
    return _change(gateway, find(gateway, token.id), "allowed = :new", list(ranges))


def revoke(gateway: KeyStore, token: Token) -> Token:
    """Take a key away, at once; doing so twice is as good as once."""
    if token.gateway_key_id:
        # First at the gateway: functions remember a token for a minute, the gateway does not. Deleted rather than
        # disabled: a key never comes back, and an account holds 10,000 of them
        # (https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html).
        gateway.delete_key(token.gateway_key_id)
    condition, values = "attribute_exists(key_hash)", {":revoked": REVOKED}
    return token_of(gateway.update(token, "#state = :revoked", condition, values))


def suspend(gateway: KeyStore, token: Token, *told: "TransactWriteItemTypeDef") -> None:
    """Stop a key that lives, at once, until ``resume``; ``NotLive`` for another.

    ``told`` are writes that are made if it is suspended, once, or not at all.
    """
    if token.gateway_key_id:
        gateway.enable_key(token.gateway_key_id, enabled=False)  # which comes back, unlike a revoked one
    suspended: TransactWriteItemTypeDef = {
        "Update": {
            "TableName": gateway.tokens_table,
            "Key": {"key_hash": {"S": token.key_hash}},
            "UpdateExpression": "SET #state = :suspended",
            "ConditionExpression": "#state = :active",
            "ExpressionAttributeNames": {"#state": "state"},
            "ExpressionAttributeValues": {":suspended": {"S": SUSPENDED}, ":active": {"S": ACTIVE}},
        }
    }
    try:
        gateway.dynamodb.transact_write_items(TransactItems=[suspended, *told])
    except ClientError as error:
        if not is_error(error, "TransactionCanceledException") or _is_active(gateway.read(token.key_hash)):
            raise
        raise KeyNotActive(token.id) from None


def resume(gateway: KeyStore, token: Token, now: datetime) -> Token:
    """Let a suspended key work again, within a minute; ``NotSuspended`` for another."""
    if token.state != SUSPENDED:
        raise NotSuspended(token.id)
    if token.gateway_key_id:  # first: were this interrupted, functions still refuse it, and it can be done again
        gateway.enable_key(token.gateway_key_id, enabled=True)
    values = {":new": ACTIVE, ":suspended": SUSPENDED, ":now": now.isoformat()}
    try:
        return token_of(gateway.update(token, "#state = :new, resumed = :now", "#state = :suspended", values))
    except ClientError as error:
        if not is_error(error, "ConditionalCheckFailedException"):
            raise
        raise NotSuspended(token.id) from None


def long_expired(gateway: KeyStore, now: datetime) -> list[Token]:
    """Return the keys that ended ``KEPT`` ago and still take one of the account's places at the gateway."""
    return [one for one in list_all(gateway) if one.state != REVOKED and one.expires and one.expires + KEPT <= now]


def _change(
    gateway: KeyStore, token: Token, change: str, value: str | list[str], others: Mapping[str, str] | None = None
) -> Token:
    """Change a key that is active or suspended: what is changed of a suspended one holds once it is resumed."""
    values = {":new": value, ":active": ACTIVE, ":suspended": SUSPENDED, **(others or {})}
    try:
        return token_of(gateway.update(token, change, "#state IN (:active, :suspended)", values))
    except ClientError as error:
        if not is_error(error, "ConditionalCheckFailedException"):
            raise
        raise KeyNotActive(token.id) from None


def _is_active(item: Mapping[str, Any] | None) -> bool:
    return item is not None and item["state"] == ACTIVE
