"""The Merkle tree of RFC 6962 §2.1 over the records of a seal."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from api_particulier.audit.canonical_json import canonical_json

# ── The tree of RFC 6962 §2.1 ────────────────────────────────────────────────────────────────────────────────────────


def leaf(item: Mapping[str, Any]) -> str:
    """Return the leaf of a whole item; ``ValueError`` for one that holds what no entry does."""
    return sha256(b"\0" + canonical_json(item)).hexdigest()


def root(leaves: Sequence[str]) -> str:
    """Return the root of the tree of one leaf or more."""
    if len(leaves) == 1:
        return leaves[0]
    split = _split(len(leaves))
    return _node(root(leaves[:split]), root(leaves[split:]))


def proof(leaves: Sequence[str], index: int) -> list[str]:
    """Return what proves that a leaf is in the tree: the hashes on its way to the root, from the leaf up."""
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*proof(leaves[:split], index), root(leaves[split:])]
    return [*proof(leaves[split:], index - split), root(leaves[:split])]


def _split(count: int) -> int:
    return 1 << (count - 1).bit_length() - 1


def _node(left: str, right: str) -> str:
    return sha256(b"\1" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()
