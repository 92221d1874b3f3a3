"""The audit as an operator reads it: records searched, and verified against their seals.

A seal is read in its first version, which Object Lock keeps. A later version of the same object is a finding.
"""

from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Final, Self

from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from api_particulier.audit import access_log, archive, verification
from api_particulier.audit.bucket import AT_ONCE, Bucket
from api_particulier.audit.checkpoint import Tree, origin_of
from api_particulier.audit.merkle import leaf
from api_particulier.audit.record import KEPT_IN_TABLE, RETENTION
from api_particulier.audit.sealing import COUNTED, RECORDS_KEPT
from api_particulier.audit.seals import MAX_SEAL_DELAY, RecordKey, Seal, id_at, key_of, time_of
from api_particulier.audit.verification import Finding, Sealed, named
from api_particulier.dynamodb import Item
from ops import chain, verify_file
from ops.deployment import Deployment
from ops.verify_file import NotProvenError

_PAUSE: Final = 2.0
"""Seconds between two verifications of the records that have no seal yet."""


@dataclass(frozen=True)
class Period:
    """The time from an instant to another, which is excluded; None leaves an end open."""

    since: datetime | None = None
    until: datetime | None = None

    @property
    def ids(self) -> tuple[str, str]:
        """The bounds of the record ids made within the period: a UUIDv7 begins with its milliseconds."""
        return id_at(self.since) if self.since else "", id_at(self.until) if self.until else "g"

    @property
    def sealed(self) -> tuple[datetime | None, datetime | None]:
        """Between which moments the seals of its records were made: the stream delivers a record within a day."""
        return (
            self.since - MAX_SEAL_DELAY if self.since else None,
            self.until + archive.STREAM_LIFETIME + MAX_SEAL_DELAY if self.until else None,
        )

    @property
    def ends(self) -> tuple[datetime, datetime]:
        """Both ends; raises ``ValueError`` when one of them is open."""
        if self.since is None or self.until is None:
            raise ValueError
        return self.since, self.until

    @property
    def days(self) -> list[date]:
        """The UTC days of the period; raises ``ValueError`` when an end is open."""
        first, last = (end.astimezone(UTC).date() for end in self.ends)
        return [first + timedelta(days=n) for n in range((last - first).days + 1)]

    @property
    def in_whole_days(self) -> Self:
        """The period of all the days (UTC) that it touches, which the archive holds."""
        until = self.until - timedelta(microseconds=1) if self.until else None
        return type(self)(
            archive.midnight(self.since.astimezone(UTC).date()) if self.since else None,
            archive.midnight(until.astimezone(UTC).date() + timedelta(days=1)) if until else None,
        )

    def holds(self, day: date) -> bool:
        """Return whether a day (UTC) is whole in the period."""
        begins = self.since is None or self.since <= archive.midnight(day)
        return begins and (self.until is None or archive.midnight(day + timedelta(days=1)) <= self.until)


# ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def of_token(deployment: Deployment, period: Period, token: str) -> list[Item]:
    """Return the records of a token, in order; raise ``NotProven`` when a day is in neither table nor archive."""
    first, last = period.ids
    with ThreadPoolExecutor(AT_ONCE) as pool:
        days = pool.map(lambda day: deployment.reader.of_token(token, day), period.days)
        return [record for records in days for record in records if first <= record["id"] < last]


def of_citizen(deployment: Deployment, period: Period, identifier: str) -> list[Item]:
    """Return the records about a citizen, in order, whole; raise ``NotProven`` when they cannot be read whole."""
    found = deployment.accesses.find(identifier, datetime.now(UTC)).latest_first()
    keys = [(str(record["token_day"]), str(record["id"])) for record in access_log.within(found, *period.ends)]
    token_days = sorted({token_day for token_day, _ in keys})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        days = dict(zip(token_days, pool.map(deployment.reader.of_token_day, token_days), strict=True))
    return [record for token_day, record_id in keys for record in days[token_day] if record["id"] == record_id]


def scan(deployment: Deployment, period: Period, **equal: str) -> Iterator[Item]:
    """Yield the records of a period with these attributes, in no order."""
    first, last = period.ids
    conditions = ["#id >= :first", "#id < :last", *(f"#{name} = :{name}" for name in equal)]
    return deployment.audit.scan(" AND ".join(conditions), {"first": first or " ", "last": last, **equal})


def public_key(deployment: Deployment, output: str = "SealKeyId") -> str:
    """Return the public key of the seals, or of the exports (``ExportKeyId``), in PEM."""
    der = deployment.kms.get_public_key(KeyId=deployment.outputs[output])["PublicKey"]
    return load_der_public_key(der).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# ── Verifying ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Verification:
    """The result of a verification; findings are about seals first, by number, then about records, and objects."""

    seals: int
    entries: int
    """Number of records."""
    pending: int
    """Records of the last minute that have no seal yet."""
    findings: list[Finding]
    stepped_over: list[int]
    """Objects of the bucket that are no seals, and that the next seal names: they were reported when it was made."""


def verify(deployment: Deployment, period: Period, on_day: Callable[[date], None] | None = None) -> Verification:
    """Verify the chain of seals, and that the table and the archive hold the sealed records and no others.

    The memory is that of a few days. A day is compared with its archive, and a month's accesses with its days, when it
    is whole in the period. ``on_day`` is called with each day that was compared.
    """
    now = datetime.now(UTC)  # before reading: a record written during the verification is younger than a minute
    # The head is read before the list: it moves after its seal is written, so a seal made between the two
    # readings does not look missing.
    counted = deployment.stats.get(COUNTED, consistent=True) or {}
    checked = chain.Checked(deployment.bucket, verify_file.read_key(public_key(deployment).encode()))
    records = _Records(deployment, period, now)
    for day, sealed in verification.by_day(records.checked(checked.seals(*period.sealed))):
        records.check_day(day, sealed)
        if on_day is not None:
            on_day(day)
    records.end()
    number = counted.get("number")
    if not checked.is_followed and isinstance(number, int):
        checked.miss(number + 1)
    findings = checked.in_order + records.findings
    return Verification(checked.objects, records.count, records.pending, findings, checked.stepped_over)


def go_on_from(deployment: Deployment, note: str) -> Period:
    """Return the period after a published checkpoint, since the first day that may have had no seal yet then.

    Raise ``NotProvenError`` when the checkpoint is none of this chain's, or when the chain no longer has its seal.
    """
    head = verify_file.read_head(note)
    key = verify_file.read_key(public_key(deployment).encode())
    verify_file.check_signature(key, head.signature, head.text.encode(), "the checkpoint")
    origin, _, root, *_ = head.text.splitlines()
    if origin != origin_of(deployment.outputs["Environment"]):
        raise NotProvenError(f"the checkpoint is of another chain, {origin}")
    if b64decode(root).hex() != Tree.from_text(head.text).root:
        raise NotProvenError("the checkpoint: its root is not its tree's")
    stored = deployment.bucket.stored(key_of(head.number))
    seal = next((found.seal for found in chain.read(deployment.bucket, stored)), None)
    if seal is None or seal.hash != head.hash:
        raise NotProvenError(f"seal {head.number}: it is not the one that the checkpoint fixes")
    day = (seal.at - archive.STREAM_LIFETIME - MAX_SEAL_DELAY).astimezone(UTC).date() - timedelta(days=1)
    return Period(archive.midnight(day))


def verify_settled(
    deployment: Deployment, period: Period, wait: Callable[[float], None], on_day: Callable[[date], None] | None = None
) -> Verification:
    """Verify until no record is pending, calling ``wait`` with a number of seconds between two verifications.

    It ends: a record without a seal is a finding after a minute.
    """
    began = datetime.now(UTC)
    verified = verify(deployment, period, on_day)
    recent = Period(
        max(filter(None, (period.since, began - 2 * MAX_SEAL_DELAY))), min(filter(None, (period.until, began)))
    )
    pending, findings = verified.pending, verified.findings
    while pending:
        wait(_PAUSE)
        again = verify(deployment, recent)
        pending = again.pending
        findings = [*findings, *(finding for finding in again.findings if finding not in findings)]
    return replace(verified, pending=0, findings=findings)


@dataclass
class _Records:
    """The comparison of the records that are kept with those that the seals hold, a day at a time."""

    deployment: Deployment
    period: Period
    now: datetime
    count: int = 0
    pending: int = 0
    about_records: list[tuple[str, Finding]] = field(default_factory=list)
    """Each with the id of its record."""
    about_objects: list[Finding] = field(default_factory=list)
    partitions: set[str] = field(default_factory=set)
    """Those of the table that were compared; it holds few days."""
    month: verification.MonthCheck | None = None

    @property
    def findings(self) -> list[Finding]:
        in_order = sorted(self.about_records, key=lambda identified: identified[0])
        return [finding for _, finding in in_order] + self.about_objects

    @cached_property
    def bucket(self) -> Bucket:
        return self.deployment.bucket

    def checked(self, seals: Iterable[Seal]) -> Iterator[Seal]:
        """Yield the seals, each once the object of its records is compared with it, while that is kept."""
        for seal in seals:
            if "records" in seal.header and self.now - seal.at < RECORDS_KEPT:
                self.about_objects += verification.check_records(self.bucket, seal)
            yield seal

    def check_day(self, day: date, sealed: Sealed) -> None:
        """Compare a day of the table and of the archive with its seals."""
        first, last = self.period.ids
        within = {key: leaf_and_seal for key, leaf_and_seal in sealed.items() if first <= key[1] < last}
        is_archived = any(self.bucket.stored(archive.day_key(day)))
        if is_archived and self.period.holds(day):
            self._follow_months(day)
            self.about_objects += verification.check_day(self.bucket, day, sealed, self.month)
        missing = dict(within)
        for token_day in sorted({token_day for token_day, _ in within}):
            for item in self.deployment.audit.query("#token_day = :token_day", {"token_day": token_day}):
                self.partitions.add(token_day)
                if first <= str(item["id"]) < last:
                    self._compare(item, within, missing)
        self.count += len(missing) if is_archived else 0
        for key, (_, number) in missing.items():
            if not is_archived and time_of(key[1]) + KEPT_IN_TABLE > self.now:
                self._add(key, f"it was deleted since seal {number}")
            elif not is_archived:
                self.about_objects.append(Finding(archive.day_key(day), "it is missing, and the table let its day go"))
                break

    def _compare(self, item: Item, sealed: Sealed, missing: Sealed) -> None:
        self.count += 1
        key = (str(item["token_day"]), str(item["id"]))
        leaf_and_seal = sealed.get(key)
        missing.pop(key, None)
        if leaf_and_seal is None and is_young(key, self.now):
            self.pending += 1
        elif leaf_and_seal is None:
            self._add(key, _unsealed(self.deployment, item))
        elif leaf_of(item) != leaf_and_seal[0]:
            self._add(key, f"it was changed since seal {leaf_and_seal[1]}")

    def _follow_months(self, day: date) -> None:
        """Begin the sums of a month at its first day, and compare those of the month before."""
        month = f"{day:%Y-%m}"
        if self.month is None or self.month.month != month:
            self._end_month()
            self.month = verification.begin_month(self.bucket, month)
        if self.month is not None:
            self.month.days.add(day)

    def _end_month(self) -> None:
        if self.month is None:
            return
        first = archive.first_day(self.bucket)
        expected = {day for day in archive.days_of(self.month.month) if first is not None and day >= first}
        with_records = {day for day in expected if (archive.find_day(self.bucket, day) or {}).get("records")}
        if with_records <= self.month.days:
            self.about_objects += verification.check_month(self.bucket, self.month)

    def end(self) -> None:
        """Compare the last month, the versions of every object, and what the table holds beside the sealed records."""
        self._end_month()
        for prefix, lifetime in _KEPT.items():
            self.about_objects += verification.check_versions(self.bucket, prefix, lifetime)
        for item in scan(self.deployment, self.period):
            if item["token_day"] not in self.partitions:
                self._compare(item, {}, {})

    def _add(self, key: RecordKey, what: str) -> None:
        self.about_records.append((key[1], Finding(named(key), what)))


_KEPT: Final = {"records/": RECORDS_KEPT, "archive/": RETENTION, "usage/": RETENTION, "access/": RETENTION}
"""How long the objects under each prefix are kept at least."""


def _unsealed(deployment: Deployment, item: Item) -> str:
    """Return what is wrong with a record of the table that is in no seal."""
    try:
        is_signed = deployment.accesses.marks.proves(item)
    except ClientError:  # a month without a key
        is_signed = False
    if is_signed:
        return "it is in no seal, but bears our MAC: it was written late, or with our key"
    return "it is forged: it is in no seal, and does not bear our MAC"


def leaf_of(item: Item) -> str:
    """Return the leaf of an item; empty for an item that has none, because no function writes such a record."""
    try:
        return leaf(item)
    except ValueError:
        return ""


def is_young(key: RecordKey, now: datetime) -> bool:
    """Return whether a record is recent enough to have no seal yet."""
    try:
        return now - time_of(key[1]) <= MAX_SEAL_DELAY
    except ValueError:
        return False
