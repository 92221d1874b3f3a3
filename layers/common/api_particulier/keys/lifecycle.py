"""The life of a key: issued, drawn, extended, rotated, reduced, suspended, revoked.

A key has two parts, which live and die together: an API Gateway key in the usage plan, which counts the calls, and a
token in the tokens table, which holds what it opens (docs/decisions/0009-issuing-keys.md). The secret that a caller
presents is drawn when it is shown, and kept nowhere: the table has its SHA-256, and the value of the gateway key opens
nothing (docs/decisions/0045-secrets-drawn-when-shown.md).

The two parts are not written in one transaction, so ``issue`` can be interrupted between any two steps. Calling it
again with the same id finishes the work: it finds by its name the gateway key that was made. A lease in the tokens
table lets one caller at a time work on an id; it is deleted in the transaction that writes the token.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from uuid6 import uuid7

from api_particulier.dynamodb import TransactionCancelled
from api_particulier.keys.store import LEASE, KeyRefused, KeyStore, gateway_key_name
from api_particulier.keys.token import ACTIVE, BY_ID, REVOKED, SUSPENDED, Token, hash_key
from api_particulier.scopes import includes

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

LIFETIME: Final = timedelta(days=18 * 30.4375)
"""18 months, by default."""
OVERLAP: Final = timedelta(days=30)
"""How long a rotated key still works, by default."""
KEPT: Final = timedelta(days=90)
"""How long an expired key can still be extended."""
AGAIN: Final = timedelta(minutes=10)
"""How long a secret may be drawn again, in place of one that was lost on its way."""
_ATTEMPTS: Final = 10
_PATIENCE: Final = 15.0
"""Seconds to wait for another issuer of the same id."""


class UnknownToken(KeyRefused):
    """No token has this id."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"no token has the id {token_id}")


class KeyNotActive(KeyRefused):
    """The key is not in a state that allows this."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is revoked, suspended or expired")


class NotSuspended(KeyRefused):
    """Only a suspended key is resumed."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is not suspended")


class TooManyActiveKeys(KeyRefused):
    """A habilitation has at most two active keys: the one in use, and the one that replaces it."""

    def __init__(self, *token_ids: str) -> None:
        super().__init__(f"two keys already live, {' and '.join(sorted(token_ids))}: let one expire, or revoke it")


class ScopesNotReduced(KeyRefused):
    """The new scopes are not part of the old ones."""

    def __init__(self, *scopes: str) -> None:
        super().__init__(f"narrowing cannot add {', '.join(sorted(scopes))}")


class KeyShown(KeyRefused):
    """The key was shown, and is kept nowhere: it cannot be shown again."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} was shown, and no place keeps it: rotate or revoke it")


class TokenBusy(KeyRefused):
    """Other changes of the token keep coming first."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"the key {token_id} is being changed by others; try again")


class IssuanceInProgress(KeyRefused):
    """Another process issues this id, or was killed less than ``LEASE`` ago: the same call succeeds a little later."""

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
    """What the key is for; part of every audit record."""
    replaces: str | None = None
    people_a_day: int | None = None
    unknown_a_day: int | None = None
    """Its bounds of a day; None for the defaults."""

    @staticmethod
    def new_id() -> str:
        """Return a new id, a UUIDv7."""
        return str(uuid7())


# ── Finding ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def find(store: KeyStore, token_id: str) -> Token:
    """Return a token by its id, in any state; raise ``UnknownToken`` when there is none."""
    token = store.find(token_id)
    if token is None:
        raise UnknownToken(token_id)
    return token


def list_for_habilitation(store: KeyStore, habilitation: str) -> list[Token]:
    """Return every token of a habilitation, in any state, the latest first."""
    return store.list_for_habilitation(habilitation)


def list_all(store: KeyStore) -> list[Token]:
    """Return every token, in any state, the latest first."""
    return store.list_all()


def other_active_keys(store: KeyStore, token: Token, now: datetime) -> list[Token]:
    """Return the other active keys of the token's habilitation, or without one, those that a rotation links to it."""
    if token.habilitation:
        family = store.list_for_habilitation(token.habilitation)
    else:
        linked = [store.find(token_id) for token_id in (token.replaces, token.successor) if token_id]
        family = [other for other in linked if other is not None]
    return [other for other in family if other.id != token.id and other.is_active(now)]


def long_expired(store: KeyStore, now: datetime) -> list[Token]:
    """Return the keys that expired ``KEPT`` ago and still take up one of the account's places at the gateway."""
    return [
        token for token in store.list_all() if token.state != REVOKED and token.expires and token.expires + KEPT <= now
    ]


# ── Issuing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def issue(store: KeyStore, new: NewToken, now: datetime) -> Token:
    """Make a key that opens ``new.scopes`` until ``new.expires``, and return its token; ``draw`` gives its secret.

    Idempotent by ``new.id``: called several times, at once or after a crash at any step, it makes one gateway key, in
    the usage plan, and one token, in any state that the token has reached since. Raise ``IssuanceInProgress`` when
    another caller holds the id too long.
    """
    return _issue(store, new, now, None)


def draw(store: KeyStore, token: Token, now: datetime, *others: "TransactWriteItemTypeDef") -> str:
    """Draw the secret of a key, active or expired, and return it: 256 random bits, which no place keeps.

    A secret lost on its way to its holder is drawn again within ``AGAIN``, and the one before opens nothing more.
    ``others`` are written in the same transaction: when they cannot be, raise ``TransactionCancelled``, and nothing is
    drawn. Raise ``KeyNotActive``, or ``KeyShown`` later on.
    """
    secret = secrets.token_hex(32)
    for current in _attempts(store, token.id):
        if current.state != ACTIVE:
            raise KeyNotActive(current.id)
        if not current.is_pending and (current.shown is None or now - current.shown > AGAIN):
            raise KeyShown(current.id)
        if store.draw(current, hash_key(secret), now, *others):
            return secret
    raise TokenBusy(token.id)


def rotate(store: KeyStore, token: Token, overlap: timedelta, now: datetime) -> Token:
    """Issue a second key that opens the same, with a full lifetime; ``token`` works until the end of the overlap.

    The new token and the end of the old one are written in one transaction, on the condition that the old one has not
    changed since it was copied; an interrupted rotation is finished by calling again. Raise ``KeyNotActive``, or
    ``TooManyActiveKeys`` when two keys are already active.
    """
    for current in _attempts(store, token.id):
        if not current.is_active(now):
            raise KeyNotActive(current.id)
        others = other_active_keys(store, current, now)
        if len(others) == 1 and others[0].is_pending and others[0].id == current.successor:
            return others[0]  # made before, and not shown yet
        if others:
            raise TooManyActiveKeys(current.id, *(other.id for other in others))
        reserved = _reserve_successor(store, current)
        if reserved is None:
            continue
        assert reserved.successor is not None  # noqa: S101 - just reserved
        new = NewToken(
            id=reserved.successor,
            organisation=reserved.organisation,
            siret=reserved.siret,
            scopes=reserved.scopes,
            expires=now.replace(microsecond=0) + LIFETIME,
            allowed=reserved.allowed,
            habilitation=reserved.habilitation,
            purpose=reserved.purpose,
            replaces=reserved.id,
            people_a_day=reserved.people_a_day,
            unknown_a_day=reserved.unknown_a_day,
        )
        end = now.replace(microsecond=0) + overlap
        ended = replace(reserved, expires=min(reserved.expires or end, end), end_set=now.replace(microsecond=0))
        with suppress(_ReplacedChangedError):
            return _issue(store, new, now, (reserved, ended))
    raise TokenBusy(token.id)


def stale_issuances(store: KeyStore, now: datetime) -> list[str]:
    """Return the ids of interrupted issuances: ``issue`` can finish it, ``cancel_issuance`` undo it."""
    return store.expired_leases(now)


def cancel_issuance(store: KeyStore, token_id: str) -> None:
    """Delete what an interrupted issuance left; a token that was written is left as it is."""
    if store.find(token_id) is None:
        for gateway_key in store.gateway_keys(token_id):
            store.delete_gateway_key(gateway_key["id"])
    store.delete_lease(token_id)


class _ReplacedChangedError(Exception):
    """The token that a rotation copies has changed meanwhile."""


def _issue(store: KeyStore, new: NewToken, now: datetime, replaced: tuple[Token, Token] | None) -> Token:
    """Issue a key; ``replaced`` is the token that it replaces, as it is and as it shall be."""
    started, owner = monotonic(), secrets.token_hex(16)
    while True:
        waited = monotonic() - started
        token = store.find(new.id)
        if token is not None:
            return token
        if store.acquire_lease(new.id, owner, now + timedelta(seconds=waited)):
            break
        if waited > _PATIENCE:
            raise IssuanceInProgress(new.id)
        sleep(0.1)
    try:
        return _issue_alone(store, new, now, replaced, owner)
    except BaseException:
        store.expire_lease(new.id, owner)
        raise


def _issue_alone(
    store: KeyStore, new: NewToken, now: datetime, replaced: tuple[Token, Token] | None, owner: str
) -> Token:
    """Issue a key while holding the lease of its id."""
    gateway_key_id = _gateway_key(store, new)
    store.add_to_plan(gateway_key_id)
    token = Token(
        key_hash=f"{BY_ID}{new.id}",
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
        gateway_key_id=gateway_key_id,
        usage_key=gateway_key_name(new.id),
        replaces=new.replaces,
        people_a_day=new.people_a_day,
        unknown_a_day=new.unknown_a_day,
        version=1,
    )
    if written := store.add(token, owner, replaced):
        return written
    if written := store.find(new.id):  # by the previous holder of the lease
        store.release_lease(new.id, owner)
        return written
    if replaced is None:
        raise IssuanceInProgress(new.id)
    if not _is_still_active(store, replaced[0]):
        cancel_issuance(store, new.id)
        raise KeyNotActive(replaced[0].id)
    raise _ReplacedChangedError


def _gateway_key(store: KeyStore, new: NewToken) -> str:
    """Return the id of the only gateway key of ``new``; make it unless it exists."""
    value = gateway_key_name(new.id)
    made = [key for key in store.gateway_keys(new.id) if key["value"] == value]
    kept = made[0] if made else store.create_gateway_key(new.id, new.organisation)
    if kept is None:  # the gateway has it, and does not list it yet
        raise IssuanceInProgress(new.id)
    for other in store.gateway_keys(new.id):
        if other["id"] != kept["id"]:  # an issuer's last request took effect after the end of its lease
            store.delete_gateway_key(other["id"])
    return str(kept["id"])


def _reserve_successor(store: KeyStore, token: Token) -> Token | None:
    """Return a token with the id of the key that will replace it, the same for every caller; None if it has changed."""
    if token.successor and store.find(token.successor) is None:
        return token  # of an interrupted rotation, which this one finishes
    return store.change(token, successor=NewToken.new_id())


# ── Changing ─────────────────────────────────────────────────────────────────────────────────────────────────────────
# Functions see a change within a minute, when their cache of tokens ends; API Gateway sees its part at once.


def extend(store: KeyStore, token: Token, expires: datetime, now: datetime) -> Token:
    """Let a key live until ``expires``, even an expired one; a suspended key stays suspended.

    Raise ``KeyNotActive`` for a revoked key, ``TooManyActiveKeys`` when a third key would be active.
    """
    for current in _attempts(store, token.id):
        _refuse_revoked(current)
        others = other_active_keys(store, current, now)
        if not current.is_active(now) and len(others) > 1:
            raise TooManyActiveKeys(*(other.id for other in others))
        if changed := store.change(current, expires=expires, end_set=now):
            return changed
    raise TokenBusy(token.id)


def reduce_scopes(store: KeyStore, token: Token, scopes: frozenset[str]) -> Token:
    """Let a key open these scopes only, which must be part of its own.

    Raise ``ScopesNotReduced`` for a scope that it does not open, ``KeyNotActive`` for a revoked key.
    """
    for current in _attempts(store, token.id):
        added = {scope for scope in scopes if not includes(current.scopes, scope)}
        if added or not scopes:
            raise ScopesNotReduced(*(added or {"nothing: revoke the key instead"}))
        _refuse_revoked(current)
        if changed := store.change(current, scopes=scopes):
            return changed
    raise TokenBusy(token.id)


def set_allowed_ips(store: KeyStore, token: Token, ranges: Sequence[str]) -> Token:
    """Let a key be used from these ranges (CIDR) only; from any address when there is none."""
    for current in _attempts(store, token.id):
        _refuse_revoked(current)
        if changed := store.change(current, allowed=tuple(ranges)):
            return changed
    raise TokenBusy(token.id)


def set_granted(store: KeyStore, token: Token, **granted: Any) -> Token:
    """Give a key what its habilitation grants: administration, purpose, scopes; a revoked key is left as it is."""
    for current in _attempts(store, token.id):
        if current.state == REVOKED or all(getattr(current, name) == value for name, value in granted.items()):
            return current
        if changed := store.change(current, **granted):
            return changed
    raise TokenBusy(token.id)


def set_daily_bounds(store: KeyStore, token: Token, people: int, unknown: int) -> Token:
    """Let a key ask about so many people in a day, of whom so many may be unknown to the provider."""
    for current in _attempts(store, token.id):
        _refuse_revoked(current)
        if changed := store.change(current, people_a_day=people, unknown_a_day=unknown):
            return changed
    raise TokenBusy(token.id)


def replace_gateway_key(store: KeyStore, token: Token) -> Token:
    """Give a key whose gateway key holds the secret another gateway key, whose value opens nothing.

    The former one still counts calls for two minutes, while functions and the gateway remember it.
    """
    made = next((key for key in store.gateway_keys(token.id) if key["value"] == gateway_key_name(token.id)), None)
    made = made or store.create_gateway_key(token.id, token.organisation)
    if made is None:  # the gateway has it, and does not list it yet
        raise IssuanceInProgress(token.id)
    store.add_to_plan(made["id"])
    for current in _attempts(store, token.id):
        if current.state != ACTIVE:
            raise KeyNotActive(token.id)
        if current.usage_key:
            return current
        if changed := store.change(current, gateway_key_id=made["id"], usage_key=gateway_key_name(token.id)):
            return changed
    raise TokenBusy(token.id)


def former_gateway_keys(store: KeyStore, token: Token) -> list[str]:
    """Return the ids of the gateway keys that were made for a token, less the one that it has."""
    return [key["id"] for key in store.gateway_keys(token.id) if key["id"] != token.gateway_key_id]


def revoke(store: KeyStore, token: Token) -> Token:
    """Revoke a key at once, for ever; idempotent."""
    if token.gateway_key_id:
        # First at the gateway: functions cache a token for a minute, the gateway does not. Deleted rather than
        # disabled: a key never comes back, and an account holds 10,000 of them
        # (https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html).
        store.delete_gateway_key(token.gateway_key_id)
    if revoked := store.mark_revoked(token):
        return revoked
    for current in _attempts(store, token.id):  # its key was drawn since
        if revoked := store.mark_revoked(current):
            return revoked
    raise TokenBusy(token.id)


def suspend(store: KeyStore, token: Token, *others: "TransactWriteItemTypeDef") -> None:
    """Stop an active key at once, until ``resume``; raise ``KeyNotActive`` for another.

    ``others`` are written in the same transaction, so once.
    """
    if token.gateway_key_id:
        store.enable_gateway_key(token.gateway_key_id, enabled=False)  # it comes back, unlike a revoked one
    try:
        store.mark_suspended(token, *others)
    except TransactionCancelled:
        if _is_still_active(store, token):
            raise
        raise KeyNotActive(token.id) from None


def resume(store: KeyStore, token: Token, now: datetime) -> Token:
    """Let a suspended key work again, within a minute; raise ``NotSuspended`` for another."""
    if token.state != SUSPENDED:
        raise NotSuspended(token.id)
    if token.gateway_key_id:  # first: if this is interrupted, functions still refuse the key, and it can be done again
        store.enable_gateway_key(token.gateway_key_id, enabled=True)
    for current in _attempts(store, token.id):
        if current.state != SUSPENDED:
            raise NotSuspended(token.id)
        if resumed := store.change(current, state=ACTIVE, resumed=now):
            return resumed
    raise TokenBusy(token.id)


def _attempts(store: KeyStore, token_id: str) -> Iterator[Token]:
    """Yield a token as it is now, as long as other changes of it come first; raise ``UnknownToken``."""
    for attempt in range(_ATTEMPTS):
        yield find(store, token_id)
        sleep(secrets.randbelow(20 * (attempt + 1)) / 1000)


def _refuse_revoked(token: Token) -> None:
    if token.state == REVOKED:
        raise KeyNotActive(token.id)


def _is_still_active(store: KeyStore, token: Token) -> bool:
    current = store.find(token.id)
    return current is not None and current.state == ACTIVE
