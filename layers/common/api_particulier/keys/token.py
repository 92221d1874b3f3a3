"""Who calls: the token behind an API key, what it opens, until when and from where.

The tokens table never holds a key, only its SHA-256: keys are 256 random bits, so an unsalted hash cannot be reversed.
An environment remembers a token for 60 seconds; a revocation is immediate all the same, because it also deletes the
key at the gateway.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address, ip_network

from cachetools import TTLCache

from api_particulier.aws import dynamodb
from api_particulier.dynamodb import deserialize
from api_particulier.errors import AccessDenied, AddressNotAllowed
from api_particulier.settings import settings

ACTIVE = "active"
REVOKED = "revoked"
SUSPENDED = "suspended"
"""By the watch on enumerations, until an operator has looked at it."""


@dataclass(frozen=True)
class Token:
    """One item of the tokens table."""

    key_hash: str
    id: str
    organisation: str
    siret: str
    scopes: frozenset[str]
    state: str
    created: datetime
    expires: datetime | None = None
    """The first instant at which the key is no longer accepted."""
    end_set: datetime | None = None
    """When a rotation or a prolongation gave it this end; None while it has its first one."""
    allowed: tuple[str, ...] = ()
    """CIDR ranges the caller must be in; none means anywhere."""
    habilitation: str | None = None
    purpose: str | None = None
    """What the habilitation was given for, in the administration's words."""
    gateway_key_id: str | None = None
    successor: str | None = None
    """The id of the key that a rotation made, or is making, to take this one's place."""
    replaces: str | None = None
    """The id of the key whose place this one takes."""
    resumed: datetime | None = None
    """When an operator last lifted a suspension: what was suspected before is dealt with."""

    def is_active(self, now: datetime) -> bool:
        return self.state == ACTIVE and (self.expires is None or now < self.expires)

    def is_over(self, now: datetime) -> bool:
        """Tell whether it works no more; a suspended one is not over, it waits for an operator."""
        return self.state != SUSPENDED and not self.is_active(now)

    def allows(self, address: str) -> bool:
        """Tell whether a caller at ``address`` may use the token; nobody may when it, or a range, cannot be read."""
        if not self.allowed:
            return True
        try:
            caller = ip_address(address)
            return any(caller in ip_network(block, strict=False) for block in self.allowed)
        except ValueError:
            return False


def hash_key(key: str) -> str:
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def token_of(item: Mapping[str, object]) -> Token:
    """Read an item of the tokens table, as ``dynamodb.deserialize`` gives it."""
    expires, end_set, resumed = (item.get(name) for name in ("expires", "end_set", "resumed"))
    return Token(
        key_hash=str(item["key_hash"]),
        id=str(item["id"]),
        organisation=str(item["organisation"]),
        siret=str(item["siret"]),
        scopes=frozenset(_strings(item["scopes"])),
        state=str(item["state"]),
        created=datetime.fromisoformat(str(item["created"])),
        expires=datetime.fromisoformat(str(expires)) if expires else None,
        end_set=datetime.fromisoformat(str(end_set)) if end_set else None,
        allowed=_strings(item.get("allowed")),
        habilitation=str(item["habilitation"]) if item.get("habilitation") else None,
        purpose=str(item["purpose"]) if item.get("purpose") else None,
        gateway_key_id=str(item["gateway_key_id"]) if item.get("gateway_key_id") else None,
        successor=str(item["successor"]) if item.get("successor") else None,
        replaces=str(item["replaces"]) if item.get("replaces") else None,
        resumed=datetime.fromisoformat(str(resumed)) if resumed else None,
    )


def item_of(token: Token) -> dict[str, str | list[str]]:
    """Write an item of the tokens table, as ``TypeSerializer`` takes it: ``token_of`` reads it back."""
    values = asdict(token) | {
        "scopes": sorted(token.scopes),
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "end_set": token.end_set.isoformat() if token.end_set else None,
        "allowed": list(token.allowed) or None,
        "resumed": token.resumed.isoformat() if token.resumed else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def find_by_key(key: str | None) -> Token:
    """Return the token of ``key``, which may not be usable any more; ``AccessDenied`` when there is none."""
    token = _find(hash_key(key)) if key else None
    if token is None:
        raise AccessDenied
    return token


def check_usable(token: Token, address: str) -> None:
    """Refuse a token that is expired or revoked, ``AccessDenied``, or used from elsewhere, ``AddressNotAllowed``."""
    if not token.is_active(datetime.now(UTC)):
        raise AccessDenied
    if not token.allows(address):
        raise AddressNotAllowed


def _strings(values: object) -> tuple[str, ...]:
    """Read a list of the table; ``TypeError`` for what is none: an unread range of addresses would allow them all."""
    if values is None:
        return ()
    if not isinstance(values, list | set):
        raise TypeError
    return tuple(map(str, values))


def _find(key_hash: str) -> Token | None:
    cached = _cache().get(key_hash)
    if cached is not None:
        return cached
    # An eventually consistent read is enough: a key is minutes old when it is first used, and revoked at the gateway.
    found = dynamodb().get_item(TableName=settings().tokens_table, Key={"key_hash": {"S": key_hash}}).get("Item")
    if found is None:
        return None
    token = token_of(deserialize(found))
    _cache()[key_hash] = token
    return token


@lru_cache(maxsize=1)
def _cache() -> TTLCache[str, Token]:
    return TTLCache(maxsize=1024, ttl=settings().token_cache_seconds)
