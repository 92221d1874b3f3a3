"""The audit, read by an operator: searched, and verified against its seals. ``export`` writes it with what proves it.

Seals are read in their first version, which Object Lock keeps; what was put over one is a finding, not a seal.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import batched
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.conditions import Attr, Key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import leaf, root
from api_particulier.audit.record import RETENTION
from api_particulier.audit.seals import MAX_SEAL_DELAY, RecordKey, Seal, key_of, time_of
from ops import verify_file
from ops.deployment import Deployment
from ops.verify_file import NotProvenError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

type Item = dict[str, Any]

_PAUSE: Final = 2.0
"""Seconds between two looks at whether what was not sealed yet is."""


@dataclass(frozen=True)
class Period:
    """From an instant to another, the latter not included; None is without end."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def ids(self) -> tuple[str, str]:
        """The bounds of the ids that were made within (UUIDv7 begin with their milliseconds)."""
        return _id_at(self.since) if self.since else "", _id_at(self.until) if self.until else "g"

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """Both ends; ``ValueError`` when it lacks one."""
        if self.since is None or self.until is None:
            raise ValueError
        return self.since, self.until

    @property
    def days(self) -> list[str]:
        """The days in UTC that it touches; only of one that has both ends."""
        first, last = (end.astimezone(UTC).date() for end in self.ends)
        return [f"{first + timedelta(days=n):%Y-%m-%d}" for n in range((last - first).days + 1)]


def _id_at(moment: datetime) -> str:
    digits = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}"


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_token(on: Deployment, period: Period, token: str) -> list[Item]:
    """Return the entries of a token, in order."""
    first, last = period.ids
    found: list[Item] = []
    for day in period.days:
        found += _pages(on.audit.query, {"KeyConditionExpression": Key("token_day").eq(f"{token}#{day}")})
    return sorted((one for one in found if first <= one["id"] < last), key=lambda one: str(one["id"]))


def scan(on: Deployment, period: Period, **equal: str) -> Iterator[Item]:
    """Yield the entries of a period, in no order, whose attributes are ``equal`` to these."""
    first, last = period.ids
    condition = Attr("id").gte(first or " ") & Attr("id").lt(last)
    for name, value in equal.items():
        condition &= Attr(name).eq(value)
    return _pages(on.audit.scan, {"FilterExpression": condition, "ConsistentRead": True})


def _pages(read: Any, asked: Mapping[str, Any]) -> Iterator[Item]:
    page = read(**asked)
    yield from page["Items"]
    while "LastEvaluatedKey" in page:
        page = read(**asked, ExclusiveStartKey=page["LastEvaluatedKey"])
        yield from page["Items"]


def public_key(on: Deployment) -> str:
    """Return the PEM of the key that seals."""
    read = load_der_public_key(on.kms.get_public_key(KeyId=on.outputs["SealKeyId"])["PublicKey"])
    return read.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@dataclass
class _Kept:
    """What the bucket has under a seal's name."""

    first: str
    """The version that was written first."""
    written: datetime
    times: int = 1
    hidden: bool = False


def _kept(on: Deployment) -> dict[int, _Kept]:
    """Return what is in the bucket, by number."""
    kept: dict[int, _Kept] = {}
    hidden: set[int] = set()
    for page in on.s3.get_paginator("list_object_versions").paginate(Bucket=on.outputs["SealsBucket"], Prefix="seals/"):
        for version in page.get("Versions", []):
            number = _number(version["Key"])
            one = kept.get(number)
            if one is None:
                kept[number] = _Kept(version["VersionId"], version["LastModified"])
            else:  # S3 lists the latest first
                one.first, one.written, one.times = version["VersionId"], version["LastModified"], one.times + 1
        hidden |= {_number(marker["Key"]) for marker in page.get("DeleteMarkers", [])}
    for number in hidden & kept.keys():
        kept[number].hidden = True
    return dict(sorted(kept.items()))


def _number(key: str) -> int:
    digits = key.removeprefix("seals/").removesuffix(".json")
    return int(digits) if digits.isdigit() and key == key_of(int(digits)) else 0


def _within(kept: Mapping[int, _Kept], period: Period) -> dict[int, _Kept]:
    """Keep the seals that may hold entries of a period: a stream brings an entry within a day, mostly in seconds."""
    since = period.since - MAX_SEAL_DELAY if period.since else None
    until = period.until + timedelta(days=1) + MAX_SEAL_DELAY if period.until else None
    numbers = [
        number
        for number, one in kept.items()
        if number and (since is None or one.written >= since) and (until is None or one.written <= until)
    ]
    before = [numbers[0] - 1] if numbers and numbers[0] - 1 in kept else []  # which the first of them follows
    return {number: kept[number] for number in (*before, *numbers) if number}


def _read(on: Deployment, kept: Mapping[int, _Kept]) -> Iterator[tuple[int, Seal | None]]:
    """Yield each seal with its number, in order; None for one that cannot be read."""

    def read(number: int) -> tuple[int, Seal | None]:
        answer = on.s3.get_object(Bucket=on.outputs["SealsBucket"], Key=key_of(number), VersionId=kept[number].first)
        try:
            return number, Seal.read(answer["Body"].read())
        except ValueError:
            return number, None

    with ThreadPoolExecutor(8) as pool:
        for some in batched(kept, 256, strict=False):
            yield from pool.map(read, some)


def seals_of(on: Deployment, period: Period) -> dict[int, Seal]:
    """Return the seals that may hold entries of a period, by number, without those that cannot be read."""
    return {number: seal for number, seal in _read(on, _within(_kept(on), period)) if seal is not None}


# ── Verifying ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it was sealed."""

    place: str
    """``seal 12``, or ``entry <token_day>/<id>``."""
    what: str


@dataclass(frozen=True)
class Verification:
    """What was verified, and every finding: those of the seals by number, then those of the entries in order."""

    seals: int
    entries: int
    pending: int
    """Entries of the last minute that are in no seal yet."""
    findings: list[Finding]


def verify(on: Deployment, period: Period) -> Verification:
    """Verify the chain of seals, and that the table holds what they sealed and nothing more."""
    now = datetime.now(UTC)  # before anything is read: an entry that comes meanwhile is a minute's
    key = verify_file.read_key(public_key(on).encode())
    # The head before the list: it moves once its seal is kept, so that one made meanwhile is not taken for missing.
    head = on.stats.get_item(Key={"pk": "seal", "sk": "head"}, ConsistentRead=True).get("Item", {})
    kept = _kept(on)
    chosen = _within(kept, period)
    sealed: dict[RecordKey, tuple[str, int]] = {}
    last_number = max([int(str(head.get("number", 0))), *kept])
    about_seals = [(number, Finding(f"seal {number}", "it is missing")) for number in range(1, last_number + 1)]
    about_seals = [one for one in about_seals if one[0] not in kept]
    if 0 in kept:
        about_seals.append((0, Finding("bucket", "it holds an object that is no seal")))
    about_seals += _check_chain(on, key, chosen, sealed)
    findings = [finding for _, finding in sorted(about_seals, key=lambda one: one[0])]
    counted = pending = 0
    found: list[tuple[str, Finding]] = []
    for item in scan(on, period):
        counted += 1
        place = (str(item["token_day"]), str(item["id"]))
        leaf_and_seal = sealed.pop(place, None)
        if leaf_and_seal is None and is_young(place, now):
            pending += 1
        elif leaf_and_seal is None:
            found.append((place[1], Finding(named(place), "it is in no seal: it was added afterwards")))
        elif leaf_of(item) != leaf_and_seal[0]:
            found.append((place[1], Finding(named(place), f"it was changed since seal {leaf_and_seal[1]}")))
    first, last = period.ids
    found += [
        (place[1], Finding(named(place), f"it was deleted since seal {number}"))
        for place, (_, number) in sealed.items()
        if first <= place[1] < last and not _has_expired(place, now)
    ]
    findings += [finding for _, finding in sorted(found, key=lambda one: one[0])]
    return Verification(len(chosen), counted, pending, findings)


def verify_settled(on: Deployment, period: Period, wait: Callable[[float], None]) -> Verification:
    """Verify, then ``wait`` (seconds) for what was in no seal yet, until it is, or is older than an entry may be."""
    began = datetime.now(UTC)
    verified = verify(on, period)
    recent = Period(
        max(filter(None, (period.since, began - 2 * MAX_SEAL_DELAY))), min(filter(None, (period.until, began)))
    )
    pending, findings = verified.pending, verified.findings
    while pending:
        wait(_PAUSE)
        again = verify(on, recent)
        pending = again.pending
        findings = [*findings, *(one for one in again.findings if one not in findings)]
    return replace(verified, pending=0, findings=findings)


def _check_chain(
    on: Deployment, key: "EllipticCurvePublicKey", kept: Mapping[int, _Kept], sealed: dict[RecordKey, tuple[str, int]]
) -> Iterator[tuple[int, Finding]]:
    """Check seals one after the other, and put what they sealed in ``sealed``; yield findings with their number."""
    previous: Seal | None = None
    for number, seal in _read(on, kept):
        here = f"seal {number}"
        if kept[number].hidden:
            yield number, Finding(here, "it was deleted (the version that is locked remains)")
        elif kept[number].times > 1:
            yield number, Finding(here, "it was written again (the version that is locked remains)")
        if seal is None:
            yield number, Finding(here, "it cannot be read")
        else:
            if what := _check_seal(key, number, seal, previous):
                yield number, Finding(here, what)
            for token_day, entry, sealed_leaf in seal.entries:
                # A later seal does not change what an earlier one says.
                sealed.setdefault((token_day, entry), (sealed_leaf, number))
        previous = seal


def _check_seal(key: "EllipticCurvePublicKey", number: int, seal: Seal, previous: Seal | None) -> str | None:
    """Return what is wrong with a seal."""
    try:
        before = previous.hash if previous is not None and previous.number == number - 1 else None
        verify_file.check_header(key, seal.header, seal.signature, number, before)
    except NotProvenError as error:
        return str(error).partition(": ")[2]
    leaves = [sealed_leaf for _, _, sealed_leaf in seal.entries]
    listed = sha256(canonical_json(seal.entries)).hexdigest()
    if listed != seal.header["entries"] or len(leaves) != seal.header["count"]:
        return "its list of entries is not the one that was signed"
    if root(leaves) != seal.header["root"]:
        return "its root is not the one of its entries"
    if previous is not None and seal.at < previous.at:
        return "it is older than the seal before it"
    return None


def leaf_of(item: Item) -> str:
    """Return the leaf of an item; an empty text for one that no function writes, which is no seal's."""
    try:
        return leaf(item)
    except ValueError:
        return ""


def is_young(place: RecordKey, now: datetime) -> bool:
    """Tell whether an entry may still be on its way to its seal."""
    try:
        return now - time_of(place[1]) <= MAX_SEAL_DELAY
    except ValueError:
        return False


def _has_expired(place: RecordKey, now: datetime) -> bool:
    return time_of(place[1]) + RETENTION <= now


def named(place: RecordKey) -> str:
    return f"entry {place[0]}/{place[1]}"
