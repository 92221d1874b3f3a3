"""The chain of seals in the bucket: its last seal found, the next one written, foreign objects stepped over.

Only the put of an object that does not exist yet makes a seal part of the chain, so two environments cannot fork it.
An object in a seal's place counts when its first version, which Object Lock keeps, bears our signature. Any other is
reported, and the next seal names it.
"""

from base64 import b64decode
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, NamedTuple

from api_particulier.audit.bucket import Bucket
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.seals import FORMATS, RecordKey, Seal, key_of, number_of
from api_particulier.aws import kms, s3
from api_particulier.observability import report_tampering
from api_particulier.settings import settings

_END: Final = 10**12
"""Above every number: they have 12 digits."""
_READ: Final = 16 * 2**20
"""Bytes of an object that are read; a seal has half a million at most."""
_KEPT: Final = 64
"""Seals that an environment keeps in memory."""
_SIGNATURE: Final = range(8, 73)
"""Bytes of an ECDSA signature of P-256, DER."""


class _Foreign(Exception):
    """An object in the place of a seal is none of ours; its argument is the SHA-256 of its bytes."""


class _Span(NamedTuple):
    """What shows whether a seal may hold the records of a batch."""

    before: int
    at: datetime
    first: str
    last: str


@dataclass
class _Memory:
    """The seals that an environment wrote or verified: they never change."""

    seals: dict[int, Seal] = field(default_factory=dict)
    spans: dict[int, _Span] = field(default_factory=dict)
    newest: Seal | None = None

    def keep(self, seal: Seal) -> Seal:
        ids = [record_id for _, record_id, _ in seal.entries]
        self.spans[seal.number] = _Span(seal.before, seal.at, min(ids, default=""), max(ids, default=""))
        self.seals[seal.number] = seal
        if len(self.seals) > _KEPT:
            del self.seals[next(iter(self.seals))]
        if self.newest is None or self.newest.number < seal.number:
            self.newest = seal
        return seal


@lru_cache(maxsize=1)
def _memory() -> _Memory:
    return _Memory()


class Place(NamedTuple):
    """The place of the next seal: after ``last`` (None for the first), and after foreign objects in the way."""

    last: Seal | None
    skipped: tuple[dict[str, Any], ...] = ()

    @property
    def number(self) -> int:
        return (self.last.number if self.last else 0) + len(self.skipped) + 1


def next_place(hint: tuple[int, str] | None) -> Place:
    """Return where the next seal goes, by this environment's memory and a stored number and hash of the last seal.

    The hint is taken only when the seal of that number has that hash; without one, the bucket is searched.
    """
    newest = _memory().newest
    if hint is not None and hint[0] > (newest.number if newest else 0):
        hinted = find(hint[0])
        return search(hinted if hinted is not None and hinted.hash == hint[1] else newest)
    return Place(newest) if newest else search(None)


def search(start: Seal | None) -> Place:
    """Return where the next seal goes, by the objects of the bucket that come after a seal."""
    low, bound = start.number if start else 0, _END
    last, foreign = start, dict[int, str]()
    while (number := _greatest(low, bound)) > low:
        try:
            last = _read(number)
            break
        except _Foreign as error:
            report_tampering("foreign_seal")
            foreign[number], bound = str(error), number
    place = Place(last)
    while place.number in foreign:
        place = Place(last, (*place.skipped, {"number": place.number, "sha256": foreign[place.number]}))
    return place


def write(seal: Seal) -> bool:
    """Write a seal; return False when its number is taken."""
    written = bucket().put(key_of(seal.number), seal.to_bytes(), ContentType="application/json")
    if written:
        _memory().keep(seal)
    return written


def find(number: int) -> Seal | None:
    """Return a seal; None where no object, or a foreign one, has its place."""
    try:
        return _memory().seals.get(number) or _read(number)
    except (_Foreign, LookupError):
        return None


def sealed_among(ids: set[str], last: Seal | None, since: datetime) -> set[RecordKey]:
    """Return the records of the seals made since then, up to the last, that may have one of these ids.

    After an outage, a backlog of hours is sealed batch by batch: among the seals just made, a batch reads again only
    those with ids of its own time.
    """
    lowest, highest = min(ids), max(ids)
    sealed, number = set[RecordKey](), last.number if last else 0
    while number > 0:
        if (number in _memory().spans or find(number)) and (span := _memory().spans[number]):
            if span.at < since:
                break
            if span.first <= highest and lowest <= span.last and (seal := find(number)):
                sealed |= {(token_day, record_id) for token_day, record_id, _ in seal.entries}
            number = span.before
        else:  # deleted, as a verification finds; the others are still read
            number -= 1
    return sealed


# ── The bucket ───────────────────────────────────────────────────────────────────────────────────────────────────────


def bucket() -> Bucket:
    """Return the bucket of the seals."""
    return Bucket(s3(), settings().seals_bucket)


def _greatest(low: int, bound: int) -> int:
    """Return the greatest number between two that an object has; ``low`` when there is none.

    S3 lists in ascending order only: above a page of objects, the range is halved until one page reaches its end.
    """
    probe = low
    while low + 1 < bound:
        found, whole = _numbers_after(probe)
        below = [number for number in found if number < bound]
        if below and (whole or len(below) < len(found)):
            return below[-1]
        if below:
            low = below[-1]
        elif probe == low:
            return low
        else:
            bound = probe + 1
        probe = (low + bound - 1) // 2
    return low


def _numbers_after(number: int) -> tuple[list[int], bool]:
    """Return the numbers of a page of objects after a number, and whether no other comes after them."""
    pages = s3().get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=settings().seals_bucket, Prefix="seals/", KeyMarker=key_of(number)):
        listed = {number_of(version["Key"]) for version in page.get("Versions", [])}
        if found := sorted(other for other in listed if other > number):
            return found, not page["IsTruncated"]
    return [], True


def _read(number: int) -> Seal:
    """Read a seal; raise ``_Foreign`` when it is none of ours, ``LookupError`` when there is no object."""
    place = {"Bucket": settings().seals_bucket, "Key": key_of(number)}
    try:
        seal = _verified(number, s3().get_object(**place)["Body"].read(_READ))
    except s3().exceptions.NoSuchKey:
        seal = None
    if seal is None:  # hidden or written over: the first version is the one that Object Lock keeps
        pages = s3().get_paginator("list_object_versions").paginate(Bucket=place["Bucket"], Prefix=place["Key"])
        versions = [version["VersionId"] for page in pages for version in page.get("Versions", [])]
        if not versions:
            raise LookupError
        content = s3().get_object(**place, VersionId=versions[-1])["Body"].read(_READ)
        seal = _verified(number, content)
        if seal is None:
            raise _Foreign(sha256(content).hexdigest())
        report_tampering("hidden_seal")
    return _memory().keep(seal)


def _verified(number: int, content: bytes) -> Seal | None:
    """Return the seal that an object is; None when it is not what we signed under this number."""
    try:
        seal = Seal.from_bytes(content)
        signature = b64decode(seal.signature, validate=True)
        listed = sha256(canonical_json(seal.entries)).hexdigest()
    except ValueError:
        return None
    is_whole = (seal.header.get("number"), seal.header.get("entries")) == (number, listed)
    is_ours = is_whole and seal.header.get("format") in FORMATS and is_signed(seal.hash, signature)
    return seal if is_ours else None


def sign(digest: str) -> bytes:
    """Have KMS sign a header, or a note, by its hash: it may be longer than KMS takes."""
    return kms().sign(**_signing(digest))["Signature"]


def is_signed(digest: str, signature: bytes) -> bool:
    """Check that a signature of a hash is ours."""
    try:
        return len(signature) in _SIGNATURE and kms().verify(**_signing(digest), Signature=signature)["SignatureValid"]
    except kms().exceptions.KMSInvalidSignatureException:
        return False


def _signing(digest: str) -> dict[str, Any]:
    return {
        "KeyId": settings().seal_key_id,
        "Message": bytes.fromhex(digest),
        "MessageType": "DIGEST",
        "SigningAlgorithm": "ECDSA_SHA_256",
    }
