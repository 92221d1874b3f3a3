"""Find the token of a key that a caller presents.

An execution environment caches a token for 60 seconds, once it has checked its MAC. A revocation takes effect
at once all the same, because it also deletes the key at API Gateway.
"""

from functools import lru_cache
from typing import Final

from cachetools import TTLCache

from api_particulier.aws import dynamodb, kms
from api_particulier.dynamodb import Table
from api_particulier.errors import AccessDenied, TokenTampered
from api_particulier.keys import mac
from api_particulier.keys.token import ACTIVE, Token, hash_key
from api_particulier.observability import LogEvent, alert
from api_particulier.settings import settings

_LONGEST: Final = 256
"""Characters; a longer key is none."""


def find_by_key(key: str | None) -> Token:
    """Return the token of a key, active or not.

    Raise ``AccessDenied`` when there is none, ``TokenTampered`` for an active one that is not as it was signed.
    """
    token = _cached_or_read(hash_key(key)) if key else None
    if token is None:
        raise AccessDenied
    return token


def find_usage_key(key: str | None) -> str | None:
    """Return the value of the gateway key that counts the calls of a key, or None for an unknown key."""
    if not key or len(key) > _LONGEST:
        return None
    key_hash = hash_key(key)
    if key_hash in _usage_keys():
        return _usage_keys()[key_hash] or key
    table = Table(dynamodb(), settings().tokens_table)
    # Consistent: API Gateway remembers for a minute that a key is unknown.
    item = table.get({"key_hash": key_hash}, consistent=True, attributes="#key_hash, #usage_key")
    if item is None:
        return None
    _usage_keys()[key_hash] = item.get("usage_key", "")
    return _usage_keys()[key_hash] or key


def _cached_or_read(key_hash: str) -> Token | None:
    cached = _cache().get(key_hash)
    if cached is not None:
        return cached
    # Consistent: a key may be used as soon as it is shown.
    item = Table(dynamodb(), settings().tokens_table).get({"key_hash": key_hash}, consistent=True)
    if item is None:
        return None
    token = Token.from_item(item)
    _check_mac(token)
    _cache()[key_hash] = token
    return token


def _check_mac(token: Token) -> None:
    """Raise ``TokenTampered`` for an active token that is not as it was signed; a token that is over opens nothing."""
    is_old = token.mac is None and token.version == 0 and settings().unsigned_tokens == "accepted"
    if token.state != ACTIVE or is_old or mac.verify(kms(), settings().token_key_id, token):
        return
    alert(LogEvent.TOKEN_TAMPERED, token=token.id)
    raise TokenTampered(token.id)


@lru_cache(maxsize=1)
def _usage_keys() -> TTLCache[str, str]:
    return TTLCache(maxsize=4096, ttl=settings().token_cache_seconds)


@lru_cache(maxsize=1)
def _cache() -> TTLCache[str, Token]:
    return TTLCache(maxsize=1024, ttl=settings().token_cache_seconds)
