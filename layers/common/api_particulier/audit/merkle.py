"""The Merkle tree of RFC 6962 §2.1, over the records of a seal; a hash is 64 hexadecimal digits."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from api_particulier.audit.canonical_json import canonical_json


def leaf(record: Mapping[str, Any]) -> str:
    """Return the hash of a whole record; raise ``ValueError`` for a value that no record holds."""
    return sha256(b"\0" + canonical_json(record)).hexdigest()


def root(leaves: Sequence[str]) -> str:
    """Return the root of a tree of at least one leaf."""
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return node(root(leaves[:split]), root(leaves[split:]))


def proof(leaves: Sequence[str], index: int) -> list[str]:
    """Return the audit path of a leaf: the sibling hashes on its way to the root, from the leaf up."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*proof(leaves[:split], index), root(leaves[split:])]
    return [*proof(leaves[split:], index - split), root(leaves[:split])]


def _split(count: int) -> int:
    """Return the largest power of two below ``count``."""
    return 1 << (count - 1).bit_length() - 1


def node(left: str, right: str) -> str:
    """Return the hash of two nodes."""
    return sha256(b"\1" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()
