"""Checkpoints: a signed head of the tree of all seals, every hour, that others can witness with standard tools.

A checkpoint is a signed note (https://c2sp.org/tlog-checkpoint, https://c2sp.org/signed-note). Its tree is that of RFC
6962 over the hashes of the seals, in the order of the chain. Its extension lines hold what the next one goes on from:
the last seal, and the roots of the perfect subtrees.
"""

from base64 import b64decode, b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, NamedTuple, Self

from api_particulier.audit import chain
from api_particulier.audit.merkle import node
from api_particulier.aws import kms, s3
from api_particulier.settings import settings

PREFIX: Final = "checkpoints/"
_SEALS: Final = 2000
"""Seals that a checkpoint adds, at most; the next one goes on."""


@dataclass(frozen=True)
class Tree:
    """The tree over the first seals of the chain."""

    number: int = 0
    """Of the last seal; 0 before the first."""
    size: int = 0
    peaks: tuple[str, ...] = ()
    """The roots of its perfect subtrees, from the largest to the smallest."""
    last: str = ""
    """The hash of the last seal; empty in the text of a note made before it was there."""

    @property
    def root(self) -> str:
        """The root of a tree of at least one seal, 64 hexadecimal digits."""
        *left, found = self.peaks
        for peak in reversed(left):
            found = node(peak, found)
        return found

    def add(self, number: int, seal_hash: str) -> Self:
        """Return the tree with one more seal."""
        added = sha256(b"\0" + bytes.fromhex(seal_hash)).hexdigest()
        peaks, size = list(self.peaks), self.size
        while size & 1:
            added, size = node(peaks.pop(), added), size >> 1
        return type(self)(number, self.size + 1, (*peaks, added), seal_hash)

    def text(self, origin: str) -> str:
        """Return the text of the note."""
        lines = [origin, f"{self.size}", b64encode(bytes.fromhex(self.root)).decode()]
        peaks = [f"peak {peak}" for peak in self.peaks]
        return "\n".join([*lines, f"seal {self.number}", f"hash {self.last}", *peaks, ""])

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read the text of a note; raise ``ValueError`` when it is none of ours."""
        _, size, _, *extensions = text.splitlines()
        named = [line.partition(" ")[::2] for line in extensions]
        found = dict(named)
        peaks = tuple(value for name, value in named if name == "peak")
        return cls(int(found.get("seal", "")), int(size), peaks, found.get("hash", ""))


class Published(NamedTuple):
    """A checkpoint in the bucket."""

    key: str
    note: str


def publish(now: datetime) -> str | None:
    """Write the checkpoint of an hour, once; return its key, or None when no seal was added since the last one."""
    last = last_published(now)
    before = tree = Tree.from_text(text_of(last.note)) if last else Tree()
    for number in range(tree.number + 1, tree.number + 1 + _SEALS):
        seal = chain.find(number)
        if seal is not None:
            tree = tree.add(number, seal.hash)
        elif number > tree.number + 10:  # no object, or some that the next seal steps over
            break
    if tree == before:
        return None
    key = f"{PREFIX}{now.astimezone(UTC):%Y-%m-%dT%H}.txt"
    chain.bucket().put(
        key, _signed(tree.text(origin_of(settings().environment))).encode(), ContentType="text/plain; charset=utf-8"
    )
    return key


def keep_stamp(published: Published, stamp: bytes) -> None:
    """Write the stamp of a checkpoint beside it; the first that was written stays."""
    chain.bucket().put(f"{published.key.removesuffix('.txt')}.tsr", stamp, ContentType="application/timestamp-reply")


def last_published(now: datetime) -> Published | None:
    """Return the last checkpoint that we signed; None when there is none."""
    for since in (f"{now - timedelta(days=2):%Y-%m-%d}", ""):
        pages = (
            s3()
            .get_paginator("list_objects_v2")
            .paginate(Bucket=settings().seals_bucket, Prefix=PREFIX, StartAfter=f"{PREFIX}{since}")
        )
        keys = [listed["Key"] for page in pages for listed in page.get("Contents", [])]
        for key in (key for key in reversed(keys) if key.endswith(".txt")):
            note: str = s3().get_object(Bucket=settings().seals_bucket, Key=key)["Body"].read().decode(errors="replace")
            if _is_ours(text_of(note), note.partition("\n\n")[2]):
                return Published(key, note)
    return None


def text_of(note: str) -> str:
    """Return the text of a note, which its signature is of."""
    return f"{note.partition('\n\n')[0]}\n"


def origin_of(environment: str) -> str:
    """Return the name of the chain of an environment, which its notes begin with."""
    return f"api-particulier-{environment}/seals"


def _signed(text: str) -> str:
    """Return a note: the text, an empty line, and our line of signature."""
    signature = chain.sign(sha256(text.encode()).hexdigest())
    return f"{text}\n— {origin_of(settings().environment)} {b64encode(_key_id() + signature).decode()}\n"


def _is_ours(text: str, line: str) -> bool:
    try:
        signature = b64decode(line.rpartition(" ")[2].strip(), validate=True)[4:]
    except ValueError:
        return False
    is_of_the_chain = text.startswith(f"{origin_of(settings().environment)}\n")
    return is_of_the_chain and chain.is_signed(sha256(text.encode()).hexdigest(), signature)


def _key_id() -> bytes:
    """Return the id of an ECDSA key in a signed note: the beginning of the hash of its DER."""
    return sha256(kms().get_public_key(KeyId=settings().seal_key_id)["PublicKey"]).digest()[:4]
