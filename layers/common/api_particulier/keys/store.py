"""The keys: the API Gateway keys of a usage plan, and the tokens table. Every write of a token's item is here.

API Gateway alone keeps the value of a key; the table keeps its SHA-256. The item ``issuing#<id>`` of the table is a
lease: one caller at a time makes the key of an id.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

from botocore.exceptions import ClientError

from api_particulier.aws import apigateway, dynamodb
from api_particulier.dynamodb import Item, Table, TransactionCancelled, write_together
from api_particulier.keys.token import ACTIVE, REVOKED, SUSPENDED, Token
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LEASE: Final = timedelta(seconds=30)
"""Longer than a function lives: a lease that has ended belongs to a process that is dead."""
RESERVED: Final = "issuing#"
KEY_TAG: Final = "api-particulier-environment"
"""The tag of our keys at the gateway, where an account may have others."""
_IS_ACTIVE: Final = "#state = :active"
_IS_NOT_REVOKED: Final = "#state IN (:active, :suspended)"


class KeyRefused(Exception):
    """What was asked of a key cannot be done; the text gives the reason, and names ids only."""


@dataclass(frozen=True)
class KeyStore:
    """The usage plan that lets keys in, and the table of what they open.

    Each change of a token is one conditional write, and returns the token as it is then, or None (False) when the
    condition does not hold.
    """

    api: "APIGatewayClient"
    dynamodb: "DynamoDBClient"
    usage_plan: str
    """Its id; empty to find it by its name, when the first key is issued."""
    tokens_table: str
    environment: str
    """The deployment's name, which the gateway keys have as a tag: functions may use no others."""

    @classmethod
    def from_environment(cls) -> Self:
        """Return the store that a function's environment variables name.

        No variable names the usage plan, which would be a circular dependency in the stack: the plan needs the API,
        and the API needs the functions behind its routes.
        """
        return cls(apigateway(), dynamodb(), "", settings().tokens_table, settings().environment)

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

    def create_gateway_key(self, token_id: str, description: str, value: str) -> Mapping[str, Any]:
        """Make a gateway key, which no plan lets in yet."""
        return self.api.create_api_key(
            name=gateway_key_name(token_id),
            description=description,
            enabled=True,
            value=value,
            tags={KEY_TAG: self.environment},
        )

    def add_to_plan(self, gateway_key_id: str) -> None:
        """Let a gateway key in; nothing happens when the plan has it."""
        try:
            self.api.create_usage_plan_key(usagePlanId=self.plan, keyId=gateway_key_id, keyType="API_KEY")
        except ClientError as error:
            if not _is_error(error, "ConflictException"):
                raise

    def gateway_key_value(self, gateway_key_id: str) -> str | None:
        """Return the key itself, or None when the gateway no longer has it."""
        try:
            return self.api.get_api_key(apiKey=gateway_key_id, includeValue=True)["value"]
        except ClientError as error:
            if not _is_error(error, "NotFoundException"):
                raise
            return None

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
        found = next(self._table.query("id = :id", {"id": token_id}, index="by_id"), None)
        return self.read(found["key_hash"]) if found else None  # the index may be late; the item is not

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

    def add(self, token: Token, owner: str, replaced: Token | None = None) -> bool:
        """Write a new token and delete its owner's lease in one transaction; return False when it wrote nothing.

        The same transaction gives ``replaced``, which must be active, its new end.
        """
        writes = [
            self._table.putting(token.to_item(), condition="attribute_not_exists(key_hash)"),
            self._table.deleting(_lease_key(token.id), condition="#owner = :owner", values={"owner": owner}),
        ]
        if replaced is not None and replaced.expires is not None:
            end = {"expires": replaced.expires.isoformat(), "now": token.created.isoformat()}
            writes.append(
                self._table.updating(
                    _key(replaced),
                    "SET expires = :expires, end_set = :now",
                    condition=_IS_ACTIVE,
                    values=end | {"active": ACTIVE},
                )
            )
        try:
            write_together(self.dynamodb, writes)
        except TransactionCancelled:
            return False
        return True

    def set_successor(self, token: Token, successor: str) -> Token | None:
        """Record the id of the key that will replace an active token, unless it has changed since it was read."""
        unchanged = "successor = :before" if token.successor else "attribute_not_exists(successor)"
        values = {"new": successor, "active": ACTIVE} | ({"before": token.successor} if token.successor else {})
        return self._update(token, "SET successor = :new", f"{_IS_ACTIVE} AND {unchanged}", values)

    def set_end(self, token: Token, expires: datetime, now: datetime) -> Token | None:
        """Change the end of a token that is not revoked."""
        values = {"expires": expires.isoformat(), "now": now.isoformat(), "active": ACTIVE, "suspended": SUSPENDED}
        return self._update(token, "SET expires = :expires, end_set = :now", _IS_NOT_REVOKED, values)

    def set_scopes(self, token: Token, scopes: frozenset[str]) -> Token | None:
        """Change the scopes of a token that is not revoked."""
        values = {"scopes": sorted(scopes), "active": ACTIVE, "suspended": SUSPENDED}
        return self._update(token, "SET scopes = :scopes", _IS_NOT_REVOKED, values)

    def set_allowed(self, token: Token, ranges: Sequence[str]) -> Token | None:
        """Change the ranges of addresses of a token that is not revoked."""
        values = {"allowed": list(ranges), "active": ACTIVE, "suspended": SUSPENDED}
        return self._update(token, "SET allowed = :allowed", _IS_NOT_REVOKED, values)

    def set_daily_bounds(self, token: Token, people: int, unknown: int) -> Token | None:
        """Change the bounds of a day of a token that is not revoked."""
        change = "SET people_a_day = :people, unknown_a_day = :unknown"
        values = {"people": people, "unknown": unknown, "active": ACTIVE, "suspended": SUSPENDED}
        return self._update(token, change, _IS_NOT_REVOKED, values)

    def set_holder(
        self, token: Token, *, organisation: str, siret: str, purpose: str, scopes: Sequence[str] | None
    ) -> Token | None:
        """Change the administration that a token is issued to, and its scopes unless they are None, in any state."""
        change = "SET organisation = :organisation, siret = :siret, purpose = :purpose"
        values: dict[str, Any] = {"organisation": organisation, "siret": siret, "purpose": purpose}
        if scopes is not None:
            change += ", scopes = :scopes"
            values["scopes"] = sorted(scopes)
        return self._update(token, change, "attribute_exists(key_hash)", values)

    def mark_revoked(self, token: Token) -> Token | None:
        """Revoke a token, in any state."""
        return self._update(token, "SET #state = :revoked", "attribute_exists(key_hash)", {"revoked": REVOKED})

    def mark_suspended(self, token: Token, *others: "TransactWriteItemTypeDef") -> None:
        """Suspend an active token and make other writes in one transaction; raise ``TransactionCancelled``."""
        suspension = self._table.updating(
            _key(token),
            "SET #state = :suspended",
            condition=_IS_ACTIVE,
            values={"suspended": SUSPENDED, "active": ACTIVE},
        )
        write_together(self.dynamodb, [suspension, *others])

    def mark_resumed(self, token: Token, now: datetime) -> Token | None:
        """Make a suspended token active again."""
        values = {"active": ACTIVE, "suspended": SUSPENDED, "now": now.isoformat()}
        return self._update(token, "SET #state = :active, resumed = :now", "#state = :suspended", values)

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

    def _update(self, token: Token, change: str, condition: str, values: Mapping[str, Any]) -> Token | None:
        item = self._table.update(_key(token), change, condition=condition, values=values)
        return Token.from_item(item) if item else None


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
