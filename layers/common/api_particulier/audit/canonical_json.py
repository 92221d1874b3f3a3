"""Canonical JSON (RFC 8785), the bytes that are hashed and signed (docs/audit-format.md)."""

import json
from decimal import Decimal


def canonical_json(value: object) -> bytes:
    """Return the canonical JSON of strings, integers, booleans, None, lists and objects; else raise ``ValueError``."""
    try:
        return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError, ArithmeticError):
        msg = "this has no canonical text"
        raise ValueError(msg) from None


def _plain(value: object) -> object:
    """Return what ``json`` writes without a fraction; raise ``TypeError`` for a value of any other type."""
    match value:
        case None | str() | int():
            return value
        case Decimal() if value == value.to_integral_value():  # as boto3 reads an integer
            return int(value)
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
    raise TypeError
