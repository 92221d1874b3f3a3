"""The token behind an API key: what it opens, until when, and from which addresses.

The tokens table holds the SHA-256 of a key, never the key: keys are 256 random bits, so an unsalted hash cannot be
reversed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from ipaddress import ip_address, ip_network
from typing import Any, Final, Self

from api_particulier.dynamodb import Item
from api_particulier.errors import AddressNotAllowed
from api_particulier.v3_errors import ExpiredToken, WithdrawnToken

BY_ID: Final = "token#"
"""Begins the primary key of a token without a key, which its id follows; once a key is drawn, of a pointer to it."""
ACTIVE = "active"
REVOKED = "revoked"
SUSPENDED = "suspended"
"""Stopped because its calls look like an enumeration, until an operator resumes it."""


@dataclass(frozen=True)
class Token:
    """An item of the tokens table."""

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
    """When a rotation or an extension last changed ``expires``; None while it has its first value."""
    allowed: tuple[str, ...] = ()
    """The CIDR ranges that it may be used from; empty for any address."""
    habilitation: str | None = None
    purpose: str | None = None
    """What the habilitation was granted for, in the administration's words."""
    gateway_key_id: str | None = None
    usage_key: str | None = None
    """The value of its gateway key, which opens nothing; None where this value is the key (before decision 0045)."""
    successor: str | None = None
    """The id of the key that a rotation made, or is making, to replace this one."""
    replaces: str | None = None
    """The id of the key that this one replaces."""
    resumed: datetime | None = None
    """When an operator last lifted a suspension; earlier suspicions no longer count."""
    people_a_day: int | None = None
    """The people that it may ask about in a day; None for the default (``enumeration``)."""
    unknown_a_day: int | None = None
    """Those of them that the provider may not know; None for the default."""
    shown: datetime | None = None
    """When its key was drawn and shown; None before, and for keys issued before decision 0045."""
    version: int = 0
    """One more at each signed change."""
    mac: str | None = None

    @classmethod
    def from_item(cls, item: Mapping[str, Any]) -> Self:
        """Read an item of the tokens table; raise ``KeyError``, ``TypeError`` or ``ValueError`` for a malformed one."""
        return cls(
            key_hash=item["key_hash"],
            id=item["id"],
            organisation=item["organisation"],
            siret=item["siret"],
            scopes=frozenset(_strings(item["scopes"])),
            state=item["state"],
            created=datetime.fromisoformat(item["created"]),
            expires=_moment(item.get("expires")),
            end_set=_moment(item.get("end_set")),
            allowed=_strings(item.get("allowed")),
            habilitation=item.get("habilitation") or None,
            purpose=item.get("purpose") or None,
            gateway_key_id=item.get("gateway_key_id") or None,
            usage_key=item.get("usage_key") or None,
            successor=item.get("successor") or None,
            replaces=item.get("replaces") or None,
            resumed=_moment(item.get("resumed")),
            people_a_day=_count(item.get("people_a_day")),
            unknown_a_day=_count(item.get("unknown_a_day")),
            shown=_moment(item.get("shown")),
            version=int(item.get("version", 0)),
            mac=item.get("mac") or None,
        )

    def to_item(self) -> Item:
        """Return its item of the tokens table, without the attributes that are None or empty."""
        values = asdict(self) | {
            "scopes": sorted(self.scopes),
            "created": self.created.isoformat(),
            "expires": self.expires.isoformat() if self.expires else None,
            "end_set": self.end_set.isoformat() if self.end_set else None,
            "allowed": list(self.allowed) or None,
            "resumed": self.resumed.isoformat() if self.resumed else None,
            "shown": self.shown.isoformat() if self.shown else None,
            "version": self.version or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_pending(self) -> bool:
        """Whether no key was drawn for it yet: nothing opens it."""
        return self.key_hash.startswith(BY_ID)

    def is_active(self, now: datetime) -> bool:
        """Return whether the key is accepted at ``now``."""
        return self.state == ACTIVE and (self.expires is None or now < self.expires)

    def is_over(self, now: datetime) -> bool:
        """Return whether the key is revoked or expired; a suspended one is not, since it can be resumed."""
        return self.state != SUSPENDED and not self.is_active(now)

    def allows(self, address: str) -> bool:
        """Return whether the key may be used from an address; False when the address or a range cannot be read."""
        if not self.allowed:
            return True
        try:
            caller = ip_address(address)
            return any(caller in ip_network(block, strict=False) for block in self.allowed)
        except ValueError:
            return False


def hash_key(key: str) -> str:
    """Return the SHA-256 of a key, in hexadecimal: the primary key of the tokens table."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def check_usable(token: Token, address: str) -> None:
    """Raise ``AccessDenied`` for an inactive token, ``AddressNotAllowed`` for an address outside its ranges."""
    if not token.is_active(datetime.now(UTC)):
        raise ExpiredToken if token.state == ACTIVE else WithdrawnToken
    if not token.allows(address):
        raise AddressNotAllowed


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value) if value else None


def _count(value: object) -> int | None:
    """Read a positive number; raise ``ValueError`` otherwise: an unreadable bound must not be no bound."""
    if value is None:
        return None
    count = int(str(value))
    if count < 1:
        raise ValueError
    return count


def _strings(values: object) -> tuple[str, ...]:
    """Read a list of strings; raise ``TypeError`` otherwise: an unreadable ``allowed`` must not allow any address."""
    if values is None:
        return ()
    if not isinstance(values, list | set):
        raise TypeError
    return tuple(map(str, values))
