"""The keys: the API Gateway keys of a usage plan, and the tokens table. Every write of a token's item is here.

No place keeps a key: the table has its SHA-256, and the value of its gateway key opens nothing. The item ``token#<id>``
is the token of an id until a key is drawn, and then points to it. The item ``issuing#<id>`` is a lease: one caller at
a time makes the key of an id.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import ClientError

from api_particulier.aws import apigateway, dynamodb, kms
from api_particulier.dynamodb import Item, Table, TransactionCancelled, write_together
from api_particulier.keys import mac
from api_particulier.keys.token import ACTIVE, BY_ID, REVOKED, SUSPENDED, Token
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef
    from mypy_boto3_kms import KMSClient

LEASE: Final = timedelta(seconds=30)
"""Longer than a function lives: a lease that has ended belongs to a process that is dead."""
RESERVED: Final = "issuing#"
KEY_TAG: Final = "api-particulier-environment"
"""The tag of our keys at the gateway, where an account may have others."""
_IS_ACTIVE: Final = "#state = :active"


class KeyRefused(Exception):
    """What was asked of a key cannot be done; the text gives the reason, and names ids only."""


class TokenNotAsSigned(KeyRefused):
    """A token whose MAC is not right is not signed again, except to revoke it."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"the token {token_id} is not as it was signed (docs/runbooks.md#tokentamperedalarm)")


@dataclass(frozen=True)
class KeyStore:
    """The usage plan that lets keys in, and the table of what they open.

    Each change of a token is one conditional write, and returns the token as it is then, or None (False) when the
    condition does not hold: when another change came first.
    """

    api: "APIGatewayClient"
    dynamodb: "DynamoDBClient"
    usage_plan: str
    """Its id; empty to find it by its name, when the first key is issued."""
    tokens_table: str
    environment: str
    """The deployment's name, which the gateway keys have as a tag: functions may use no others."""
    kms: "KMSClient"
    token_key_id: str
    """The KMS key of the MAC of tokens; empty where none is signed."""
    unsigned: str = "refused"
    """``accepted`` while tokens issued before their MAC may be changed, and so signed."""

    @classmethod
    def from_environment(cls) -> Self:
        """Return the store that a function's environment variables name.

        No variable names the usage plan, which would be a circular dependency in the stack: the plan needs the API,
        and the API needs the functions behind its routes.
        """
        now = settings()
        return cls(
            *(apigateway(), dynamodb(), "", now.tokens_table, now.environment),
            *(kms(), now.token_key_id, now.unsigned_tokens),
        )

    # ── API Gateway ──────────────────────────────────────────────────────────────────────────────────────────────────

    @cached_property
    def plan(self) -> str:
        """The id of the usage plan; ``KeyRefused`` when none has its name."""
        if self.usage_plan:
            return self.usage_plan
        name = f"api-particulier-{self.environment}"
        for page in self.api.get_paginator("get_usage_plans").paginate():
            for plan in page["items"]:
                if plan["name"] == name:
                    return plan["id"]
        raise KeyRefused(f"no usage plan is named {name}")

    def gateway_keys(self, token_id: str) -> list[Mapping[str, Any]]:
        """Return the gateway keys made for an id, with their values, the oldest first."""
        name = gateway_key_name(token_id)
        pages = self.api.get_paginator("get_api_keys").paginate(nameQuery=name, includeValues=True)
        found = [key for page in pages for key in page["items"] if key["name"] == name]
        return sorted(found, key=lambda key: (key["createdDate"], key["id"]))

    def enabled_gateway_keys(self) -> frozenset[str]:
        """Return the ids of the gateway keys that are enabled."""
        pages = self.api.get_paginator("get_api_keys").paginate()
        return frozenset(key["id"] for page in pages for key in page["items"] if key.get("enabled"))

    def create_gateway_key(self, token_id: str, description: str) -> Mapping[str, Any] | None:
        """Make the gateway key of an id, which no plan lets in yet; None when the gateway has one of this value."""
        name, tags = gateway_key_name(token_id), {KEY_TAG: self.environment}
        try:
            return self.api.create_api_key(name=name, description=description, enabled=True, value=name, tags=tags)
        except ClientError as error:
            if not _is_error(error, "ConflictException"):
                raise
            return None

    def add_to_plan(self, gateway_key_id: str) -> None:
        """Let a gateway key in; nothing happens when the plan has it."""
        try:
            self.api.create_usage_plan_key(usagePlanId=self.plan, keyId=gateway_key_id, keyType="API_KEY")
        except ClientError as error:
            if not _is_error(error, "ConflictException"):
                raise

    def delete_gateway_key(self, gateway_key_id: str) -> None:
        """Delete a gateway key; nothing happens when it is already deleted."""
        try:
            self.api.delete_api_key(apiKey=gateway_key_id)
        except ClientError as error:
            if not _is_error(error, "NotFoundException"):
                raise

    def enable_gateway_key(self, gateway_key_id: str, *, enabled: bool) -> None:
        """Enable or disable a gateway key; nothing happens when it is deleted."""
        operation: Any = {"op": "replace", "path": "/enabled", "value": str(enabled).lower()}
        try:
            self.api.update_api_key(apiKey=gateway_key_id, patchOperations=[operation])
        except ClientError as error:
            if not _is_error(error, "NotFoundException"):
                raise

    # ── Reading tokens ───────────────────────────────────────────────────────────────────────────────────────────────

    def find(self, token_id: str) -> Token | None:
        """Return a token by its id, in any state, or None."""
        item = self._table.get({"key_hash": f"{BY_ID}{token_id}"}, consistent=True)
        if item is None:  # issued before tokens were found by an item of their own
            found = next(self._table.query("id = :id", {"id": token_id}, index="by_id"), None)
            return self.read(found["key_hash"]) if found else None
        token = self.read(item["drawn"]) if "drawn" in item else Token.from_item(item)
        if token is None:  # another key was drawn since
            return self.find(token_id)
        return token if token.id == token_id else None

    def read(self, key_hash: str) -> Token | None:
        """Return a token as it is now, by a consistent read, or None."""
        item = self._table.get({"key_hash": key_hash}, consistent=True)
        return Token.from_item(item) if item else None

    def list_for_habilitation(self, habilitation: str) -> list[Token]:
        """Return the tokens of a habilitation, in any state, the latest first."""
        items = self._table.query(
            "habilitation = :habilitation", {"habilitation": habilitation}, index="by_habilitation"
        )
        return _latest_first(items)

    def list_all(self) -> list[Token]:
        """Return every token, in any state, the latest first."""
        return _latest_first(self._table.scan("attribute_exists(id)"))

    # ── Leases ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def acquire_lease(self, token_id: str, owner: str, now: datetime) -> bool:
        """Reserve an id until ``LEASE`` from now; return False when another owner holds it."""
        return self._table.put(
            _lease_key(token_id) | {"owner": owner, "until": _unix_milliseconds(now + LEASE)},
            condition="attribute_not_exists(key_hash) OR #until <= :now",
            values={"now": _unix_milliseconds(now)},
        )

    def expire_lease(self, token_id: str, owner: str) -> None:
        """End a lease now, so that another caller can take it; its item stays, since a gateway key may be left."""
        self._table.update(
            _lease_key(token_id),
            "SET #until = :past",
            condition="#owner = :owner",
            values={"past": 0, "owner": owner},
        )

    def release_lease(self, token_id: str, owner: str) -> None:
        """Delete a lease: the token of this id is written."""
        self._table.delete(_lease_key(token_id), condition="#owner = :owner", values={"owner": owner})

    def delete_lease(self, token_id: str) -> None:
        """Delete the lease of any owner."""
        self._table.delete(_lease_key(token_id))

    def expired_leases(self, now: datetime) -> list[str]:
        """Return the ids of the leases that have ended without a token."""
        leases = self._table.scan("begins_with(key_hash, :reserved)", {"reserved": RESERVED})
        return [lease["key_hash"].removeprefix(RESERVED) for lease in leases if lease["until"] <= now.timestamp()]

    # ── Writing tokens ───────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, token: Token, owner: str, replaced: tuple[Token, Token] | None = None) -> Token | None:
        """Write a new token, signed, and delete its owner's lease in one transaction; return None if it wrote nothing.

        The same transaction changes the token that it replaces, given as it is and as it shall be.
        """
        signed = self._sign(token)
        writes = [
            self._table.putting(signed.to_item(), condition="attribute_not_exists(key_hash)"),
            self._table.deleting(_lease_key(token.id), condition="#owner = :owner", values={"owner": owner}),
        ]
        if replaced is not None:
            change = self._change(*replaced)
            writes.append(self._table.updating(_key(replaced[0]), change.expression, **change.condition))
        try:
            write_together(self.dynamodb, writes)
        except TransactionCancelled:
            return None
        return signed

    def draw(self, token: Token, key_hash: str, now: datetime, *others: "TransactWriteItemTypeDef") -> Token | None:
        """Give a token the hash of its key, in place of none or of the key before; make other writes with it, or none.

        Return None when the token has changed since it was read; raise ``TransactionCancelled`` for another write.
        """
        drawn = self._sign(replace(token, key_hash=key_hash, shown=now, version=self._checked(token).version + 1))
        pointer = {"key_hash": f"{BY_ID}{token.id}", "drawn": key_hash}
        is_unchanged = "version = :version AND #state = :active"
        values = {"version": token.version, "active": ACTIVE}
        own = [self._table.putting(drawn.to_item(), condition="attribute_not_exists(key_hash)")]
        if token.is_pending:
            own.append(self._table.putting(pointer, condition=is_unchanged, values=values))
        else:
            own.append(self._table.putting(pointer))
            own.append(self._table.deleting(_key(token), condition=is_unchanged, values=values))
        try:
            write_together(self.dynamodb, [*own, *others])
        except TransactionCancelled as error:
            if any(reason != "None" for reason in error.reasons[len(own) :]):
                raise
            return None
        return drawn

    def change(self, token: Token, **changes: Any) -> Token | None:
        """Change attributes of a token, and sign it; return None when it has changed since it was read.

        Raise ``TokenNotAsSigned`` for a token that is not as it was signed.
        """
        after = replace(token, **changes)
        change = self._change(token, after)
        item = self._table.update(_key(token), change.expression, **change.condition)
        return Token.from_item(item) if item else None

    def sign(self, token: Token) -> Token | None:
        """Sign a token that was issued before tokens were; return None when it has changed since it was read."""
        return replace(self, unsigned="accepted").change(token)

    def is_as_signed(self, token: Token) -> bool:
        """Return whether a token is as it was signed; raise botocore's errors when KMS does not answer."""
        return mac.sign(self.kms, self.token_key_id, token) == token.mac

    # What takes away needs no right to sign: a MAC covers all but the state.

    def mark_revoked(self, token: Token) -> Token | None:
        """Revoke a token, in any state; without its MAC, it can never be active again."""
        item = self._table.update(
            _key(token),
            "SET #state = :revoked REMOVE mac",
            condition="attribute_exists(key_hash) AND attribute_not_exists(drawn)",
            values={"revoked": REVOKED},
        )
        return Token.from_item(item) if item else None

    def mark_suspended(self, token: Token, *others: "TransactWriteItemTypeDef") -> None:
        """Suspend an active token and make other writes in one transaction; raise ``TransactionCancelled``."""
        suspension = self._table.updating(
            _key(token),
            "SET #state = :suspended",
            condition=_IS_ACTIVE,
            values={"suspended": SUSPENDED, "active": ACTIVE},
        )
        write_together(self.dynamodb, [suspension, *others])

    # ── Expiry reminders ─────────────────────────────────────────────────────────────────────────────────────────────

    def acquire_reminders(self, token: Token, threshold: int, *, until: datetime, now: datetime) -> Item | None:
        """Reserve the expiry reminders of an active token until an instant; return its item, or None.

        None when the reminder of ``threshold`` days for this end was sent, or another process holds the reservation.
        The item's ``notified`` is the last threshold sent, for the end ``notified_end``.
        """
        return self._table.update(
            _key(token),
            "SET notifying_until = :until",
            condition=f"{_IS_ACTIVE} AND expires = :end"
            " AND (attribute_not_exists(notified) OR notified_end <> :end OR notified > :threshold)"
            " AND (attribute_not_exists(notifying_until) OR notifying_until <= :now)",
            values={
                "until": _unix_seconds(until),
                "active": ACTIVE,
                "end": _end(token),
                "threshold": threshold,
                "now": _unix_seconds(now),
            },
        )

    def mark_reminded(self, token: Token, threshold: int, *, until: datetime) -> None:
        """Record that a reminder was sent, while the reservation until ``until`` is held."""
        self._table.update(
            _key(token),
            "SET notified = :threshold, notified_end = :end",
            condition="notifying_until = :until",
            values={"until": _unix_seconds(until), "threshold": threshold, "end": _end(token)},
        )

    def release_reminders(self, token: Token, *, until: datetime) -> None:
        """End the reservation that ``acquire_reminders`` made until ``until``."""
        self._table.update(
            _key(token),
            "REMOVE notifying_until",
            condition="notifying_until = :until",
            values={"until": _unix_seconds(until)},
        )

    @property
    def _table(self) -> Table:
        return Table(self.dynamodb, self.tokens_table)

    def _change(self, before: Token, after: Token) -> "_Change":
        """Return the signed change of a token, on the condition that it is as it was read."""
        after = self._sign(replace(after, version=self._checked(before).version + 1))
        old, new = before.to_item(), after.to_item()
        written = {name: value for name, value in new.items() if old.get(name) != value}
        removed = old.keys() - new.keys()
        expression = "SET " + ", ".join(f"#{name} = :{name}" for name in written)
        expression += f" REMOVE {', '.join(f'#{name}' for name in sorted(removed))}" if removed else ""
        is_unchanged = "version = :before" if before.version else "attribute_not_exists(version)"
        values = written | {"was": before.state} | ({"before": before.version} if before.version else {})
        condition = f"attribute_exists(key_hash) AND #state = :was AND {is_unchanged}"
        return _Change(expression, {"condition": condition, "values": values})

    def _sign(self, token: Token) -> Token:
        return replace(token, mac=mac.sign(self.kms, self.token_key_id, token))

    def _checked(self, token: Token) -> Token:
        """Return a token that is as it was signed, or issued before tokens were; raise ``TokenNotAsSigned``."""
        is_old = token.mac is None and token.version == 0 and self.unsigned == "accepted"
        if not is_old and not self.is_as_signed(token):
            raise TokenNotAsSigned(token.id)
        return token


@dataclass(frozen=True)
class _Change:
    """An update expression, and what ``Table`` needs besides."""

    expression: str
    condition: dict[str, Any]


def gateway_key_name(token_id: str) -> str:
    """Return the name of the gateway key of an id."""
    return f"api-particulier-{token_id}"


def _latest_first(items: Iterator[Item]) -> list[Token]:
    return sorted(map(Token.from_item, items), key=lambda token: token.created, reverse=True)


def _key(token: Token) -> dict[str, str]:
    return {"key_hash": token.key_hash}


def _lease_key(token_id: str) -> dict[str, str]:
    # Without ``id``: a lease is in no index, and in no list of tokens.
    return {"key_hash": f"{RESERVED}{token_id}"}


def _end(token: Token) -> str | None:
    return token.expires.isoformat() if token.expires else None


def _unix_milliseconds(moment: datetime) -> float:
    return round(moment.timestamp(), 3)


def _unix_seconds(moment: datetime) -> int:
    return round(moment.timestamp())


def _is_error(error: ClientError, code: str) -> bool:
    return error.response["Error"]["Code"] == code
