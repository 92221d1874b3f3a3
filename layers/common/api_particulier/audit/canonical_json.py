"""The one JSON text of a value, which is what is hashed and signed (RFC 8785, docs/audit-format.md)."""

import json
from decimal import Decimal


def canonical_json(value: object) -> bytes:
    """Return the one JSON text of a value (RFC 8785); ``ValueError`` for what is not of strings, integers and lists."""
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_integer
        )
        return text.encode()
    except (TypeError, ValueError, ArithmeticError):
        msg = "this has no canonical text"
        raise ValueError(msg) from None


def _integer(value: object) -> int:
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    raise TypeError
