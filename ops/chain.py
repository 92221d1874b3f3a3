"""The chain of seals as the command reads it: by dates, each seal in the version that was written first."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from itertools import batched, pairwise
from typing import TYPE_CHECKING, Any, Final

from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import root
from api_particulier.audit.seals import Seal, key_of, number_of
from ops import verify_file
from ops.deployment import Deployment
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


def first_versions(deployment: Deployment, since: datetime) -> dict[int, str]:
    """Return the first version of each object written since an instant, by number, from the last object before."""
    after = max(0, _last_before(deployment, since) - 1)
    # S3 lists the latest version of an object first.
    found = {number_of(version["Key"]): version["VersionId"] for version in _versions_after(deployment, after)}
    found.pop(0, None)
    return found


def read(deployment: Deployment, versions: Mapping[int, str]) -> Iterator[Link]:
    """Read these versions of objects, and yield the objects in order."""
    bucket = deployment.outputs["SealsBucket"]

    def read_version(number: int) -> Link:
        version = deployment.s3.get_object(Bucket=bucket, Key=key_of(number), VersionId=versions[number])
        content = version["Body"].read()
        try:
            seal = Seal.from_bytes(content)
        except ValueError:
            seal = None
        return Link(number, sha256(content).hexdigest(), seal)

    with ThreadPoolExecutor(16) as pool:
        for numbers in batched(versions, 256, strict=False):
            yield from pool.map(read_version, numbers)


def _last_before(deployment: Deployment, moment: datetime) -> int:
    """Return the number of the last object that was written before a moment, by halves; 0 when none was."""
    low, high = 0, 10**12
    while low < high:
        middle = (low + high) // 2
        following = next(_versions_after(deployment, middle), None)
        if following is not None and number_of(following["Key"]) and following["LastModified"] < moment:
            low = number_of(following["Key"])
        else:
            high = middle
    return low


def _versions_after(deployment: Deployment, number: int) -> Iterator[Any]:
    pages = deployment.s3.get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=deployment.outputs["SealsBucket"], Prefix="seals/", KeyMarker=key_of(number)):
        yield from (version for version in page.get("Versions", []) if version["Key"] > key_of(number))


@dataclass
class Checked:
    """The result of checking a part of the chain."""

    findings: list[tuple[int, str]] = field(default_factory=list)
    """What is wrong, by the number of the object."""
    stepped_over: list[int] = field(default_factory=list)
    """The objects that are no seals, and that the next seal names: the sealing function reported them."""

    def seals(self, key: "EllipticCurvePublicKey", links: Iterable[Link]) -> Iterator[Seal]:
        """Yield the seals among objects in order, each once it is checked."""
        previous: Seal | None = None
        foreign: dict[int, tuple[str, str]] = {}
        for found in links:
            what = _problem(key, found, previous)
            if found.seal is None or what in _FOREIGN:
                foreign[found.number] = found.digest, what or ""
                continue
            if what:
                self.findings.append((found.number, what))
            for number, (digest, why) in foreign.items():
                if found.seal.skipped.get(number) == digest:
                    self.stepped_over.append(number)
                else:
                    self.findings.append((number, why))
            foreign, previous = {}, found.seal
            yield found.seal
        self.findings += [(number, why) for number, (_, why) in foreign.items()]


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


def gaps(numbers: Iterable[int]) -> Iterator[tuple[int, str, str]]:
    """Yield what is named of the seals that are missing between numbers: few by one, many together."""
    for before, number in pairwise(sorted(numbers)):
        if number - before <= _FEW:
            for lost in range(before + 1, number):
                yield lost, f"seal {lost}", "it is missing"
        else:
            yield before + 1, f"seals {before + 1} to {number - 1}", "they are missing"
