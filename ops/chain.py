"""The chain of seals as the command reads it: by dates, each seal in the version that was written first.

The list of the bucket's objects is read as the seals are: neither is in memory whole, in a bucket of millions.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import batched
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from api_particulier.audit.bucket import AT_ONCE, Bucket, Stored
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import root
from api_particulier.audit.seals import Seal, key_of, number_of
from api_particulier.audit.verification import Finding
from ops import verify_file
from ops.verify_file import NotProvenError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

_FOREIGN: Final = {
    _UNREADABLE := "it cannot be read",
    _UNLISTED := "its list of entries is not the one that was signed",
    "another seal is in its place",
    "the signature is wrong",
}
"""What is wrong with an object that the sealing function steps over."""
_FEW: Final = 10


@dataclass(frozen=True)
class Link:
    """An object in the place of a seal."""

    number: int
    digest: str
    """SHA-256 of its bytes."""
    seal: Seal | None
    """None when the object is no seal."""


def last_before(bucket: Bucket, moment: datetime | None) -> int:
    """Return the number of the last object that was written before a moment, by halves; 0 when none was."""
    low, high = 0, 10**12
    while moment is not None and low < high:
        middle = (low + high) // 2
        following = next(bucket.stored("seals/", after=key_of(middle)), None)
        if following is not None and number_of(following.key) and following.written < moment:
            low = number_of(following.key)
        else:
            high = middle
    return low


def read(bucket: Bucket, objects: Iterable[Stored]) -> Iterator[Link]:
    """Read the first version of each object, and yield them in order."""

    def read_first(found: Stored) -> Link:
        content = bucket.client.get_object(Bucket=bucket.name, Key=found.key, VersionId=found.first)["Body"].read()
        try:
            seal = Seal.from_bytes(content)
        except ValueError:
            seal = None
        return Link(number_of(found.key), sha256(content).hexdigest(), seal)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for some in batched(objects, 4 * AT_ONCE, strict=False):
            yield from pool.map(read_first, some)


@dataclass
class Checked:
    """The result of checking the part of the chain that was written in a period, as it is read."""

    bucket: Bucket
    key: "EllipticCurvePublicKey"
    findings: list[tuple[int, Finding]] = field(default_factory=list)
    """What is wrong, each with the number of its object."""
    stepped_over: list[int] = field(default_factory=list)
    """The objects that are no seals, and that the next seal names: the sealing function reported them."""
    objects: int = 0
    """The objects of the period."""
    last: int = 0
    """The number of the last object, which may be the first after the period."""
    is_followed: bool = False
    """Whether it is."""

    def seals(self, since: datetime | None, until: datetime | None) -> Iterator[Seal]:
        """Yield the seals of a period, in order, each once it is checked.

        The last one before the period, to which the first is linked, and the first one after it are among them.
        """
        previous: Seal | None = None
        foreign: dict[int, tuple[str, str]] = {}
        for found in read(self.bucket, self._listed(since, until)):
            what = _problem(self.key, found, previous)
            if found.seal is None or what in _FOREIGN:
                foreign[found.number] = found.digest, what or ""
                continue
            if what:
                self._name(found.number, what)
            for number, (digest, why) in foreign.items():
                if found.seal.skipped.get(number) == digest:
                    self.stepped_over.append(number)
                else:
                    self._name(number, why)
            foreign, previous = {}, found.seal
            yield found.seal
        for number, (_, why) in foreign.items():
            self._name(number, why)

    def _listed(self, since: datetime | None, until: datetime | None) -> Iterator[Stored]:
        """Yield the objects; name those that were changed or are no seals, and the places without one."""
        before = last_before(self.bucket, since)
        self.last = max(0, before - 1)
        for found in self.bucket.stored("seals/", after=key_of(self.last) if self.last else ""):
            number = number_of(found.key)
            if not number:
                self._name(0, "it holds an object that is no seal")
                continue
            self.miss(number)
            if found.deleted is not None:
                self._name(number, "it was deleted (the version that is locked remains)")
            elif found.versions > 1:
                self._name(number, "it was written again (the version that is locked remains)")
            self.last, self.is_followed = number, until is not None and found.written > until
            self.objects += number != before and not self.is_followed
            yield found
            if self.is_followed:
                return

    def miss(self, number: int) -> None:
        """Name the seals that are missing between the last object and a number: few by one, many together."""
        if number - self.last > _FEW:
            place = f"seals {self.last + 1} to {number - 1}"
            self.findings.append((self.last + 1, Finding(place, "they are missing")))
        else:
            for lost in range(self.last + 1, number):
                self._name(lost, "it is missing")

    def _name(self, number: int, what: str) -> None:
        finding = number, Finding(f"seal {number}" if number else "bucket", what)
        if number or finding not in self.findings:
            self.findings.append(finding)

    @property
    def in_order(self) -> list[Finding]:
        """The findings, by number."""
        return [finding for _, finding in sorted(self.findings, key=itemgetter(0))]


def _problem(key: "EllipticCurvePublicKey", found: Link, previous: Seal | None) -> str | None:
    """Return what is wrong with a seal, by the last seal before it; None for nothing."""
    seal = found.seal
    if seal is None:
        return _UNREADABLE
    try:
        before = previous.hash if previous is not None and previous.number == seal.before else None
        verify_file.check_header(key, seal.header, seal.signature, found.number, before)
    except NotProvenError as error:
        return str(error).partition(": ")[2]
    leaves = [leaf for _, _, leaf in seal.entries]
    listed = sha256(canonical_json(seal.entries)).hexdigest()
    if listed != seal.header["entries"] or len(leaves) != seal.header["count"]:
        return _UNLISTED
    if root(leaves) != seal.header["root"]:
        return "its root is not the one of its entries"
    if previous is not None and seal.at < previous.at:
        return "it is older than the seal before it"
    return None
