"""The bucket of the audit: objects written once, under Object Lock, found by their keys.

A seal's records are in an object named by its SHA-256, so that a changed byte is found when it is read. Nothing here
lists the seals: their dates never go back, so a seal is found by halving.
"""

import gzip
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from itertools import chain, count, groupby
from operator import itemgetter
from typing import Any, Final

from botocore.exceptions import ClientError

from api_particulier.audit.seals import Seal, key_of

AT_ONCE: Final = 16
"""Objects read at the same time."""


class NotProven(Exception):
    """Something in the bucket is missing, or is not what was written; the message names it."""


@dataclass(frozen=True)
class Stored:
    """An object with its versions."""

    key: str
    first: str
    """The id of the version that was written first, which Object Lock keeps."""
    written: datetime
    """When it was written."""
    versions: int
    deleted: datetime | None
    """When the last delete marker was put on it."""


@dataclass(frozen=True)
class Bucket:
    """The audit's bucket. Every method raises botocore's errors when S3 refuses or cannot be reached."""

    client: Any
    name: str
    lock_mode: str = "COMPLIANCE"

    def find(self, key: str) -> bytes | None:
        """Return the content of an object, or None."""
        try:
            return bytes(self.client.get_object(Bucket=self.name, Key=key)["Body"].read())
        except self.client.exceptions.NoSuchKey:
            return None

    def get(self, key: str) -> bytes:
        """Return the content of an object; raise ``NotProven`` when it is missing."""
        content = self.find(key)
        if content is None:
            msg = f"{key}: it is missing"
            raise NotProven(msg)
        return content

    def put_once(self, key: str, content: bytes, locked_until: datetime) -> bytes:
        """Write an object that nothing changes until a moment; return what it holds, if it was there already."""
        is_new = self.put(key, content, ObjectLockMode=self.lock_mode, ObjectLockRetainUntilDate=locked_until)
        return content if is_new else self.get(key)

    def put(self, key: str, content: bytes, **more: Any) -> bool:
        """Write an object, locked as the bucket says by default; return False when there is one of this key."""
        try:
            self.client.put_object(
                Bucket=self.name,
                Key=key,
                Body=content,
                ChecksumAlgorithm="SHA256",  # Object Lock requires a checksum
                IfNoneMatch="*",
                **more,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] not in {"PreconditionFailed", "ConditionalRequestConflict"}:
                raise
            return False
        return True

    def holds(self, prefix: str, after: str = "") -> bool:
        """Return whether any object has this prefix, and a key after another."""
        listed = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix, StartAfter=after, MaxKeys=1)
        return bool(listed.get("KeyCount"))

    def stored(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """Yield the objects of this prefix, and of a key after another, in order of key; deleted ones too."""
        pages = self.client.get_paginator("list_object_versions").paginate(
            Bucket=self.name, Prefix=prefix, KeyMarker=after
        )
        by_key = itemgetter("Key")
        listed = (sorted([*page.get("Versions", []), *page.get("DeleteMarkers", [])], key=by_key) for page in pages)
        for key, entries in groupby(chain.from_iterable(listed), key=by_key):
            latest_first = list(entries)
            versions = [entry for entry in latest_first if "Size" in entry]  # a delete marker has none
            deleted = next((entry["LastModified"] for entry in latest_first if "Size" not in entry), None)
            if versions:
                yield Stored(key, versions[-1]["VersionId"], versions[-1]["LastModified"], len(versions), deleted)

    # ── Seals ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def first_seal(self, number: int = 1) -> Seal | None:
        """Return the first seal from a number on, past objects that are no seals; None after the last."""
        for candidate in count(number):
            content = self.find(key_of(candidate))
            if content is None:
                return None
            if seal := _parsed(content):
                return seal
        return None

    def first_seal_since(self, moment: datetime) -> int:
        """Return the number of the first seal made since a moment, or the number after the last seal."""

        def is_after(number: int) -> bool:
            found = self.first_seal(number)
            return found is None or found.at >= moment

        bound = 1
        while not is_after(bound):
            bound *= 2
        return 1 + bisect_left(range(1, bound), x=True, key=is_after)

    def seals(self, first: int, until: datetime) -> Iterator[Seal]:
        """Yield the seals from a number on, in order, up to a moment.

        A seal is yielded once the next one follows it. An object that is no seal is left out when the next seal names
        it; raise ``NotProven`` when a seal is missing, or does not follow the one before it.
        """
        passed: Seal | None = None
        held: Seal | None = None
        for seal in self._objects(first):
            if held is not None and held.number in seal.skipped:
                held = passed
            if held is not None and seal.header["previous"] != held.hash:
                msg = f"seal {seal.number}: it does not follow the seal before it"
                raise NotProven(msg)
            if held is not None and held is not passed:
                yield held
                passed = held
            if seal.at > until:
                return
            held = seal
        if held is not None and held is not passed:
            yield held

    def _objects(self, first: int) -> Iterator[Seal]:
        """Yield every object that looks like a seal, from a number on; raise ``NotProven`` when one is missing."""
        start, size = first, AT_ONCE  # few at first: a day without calls has none
        with ThreadPoolExecutor(AT_ONCE) as pool:
            while True:
                numbers = range(start, start + size)
                for number, content in zip(numbers, pool.map(self.find, map(key_of, numbers)), strict=True):
                    if content is None:
                        if self.holds("seals/", after=key_of(number)):
                            msg = f"seal {number}: it is missing"
                            raise NotProven(msg)
                        return
                    seal = _parsed(content)
                    if seal is not None and seal.number == number:
                        yield seal
                start, size = start + size, 4 * AT_ONCE

    def records_of(self, seal: Seal) -> list[bytes]:
        """Return the records of a seal as canonical JSON, in its order; raise ``NotProven`` when they differ."""
        named = seal.header.get("records")
        if named is None:
            msg = f"seal {seal.number}: it keeps no records"
            raise NotProven(msg)
        key = records_key(str(named))
        content = self.get(key)
        if sha256(content).hexdigest() != named:
            msg = f"{key}: it was changed"
            raise NotProven(msg)
        lines = gzip.decompress(content).splitlines()
        if [leaf_of(line) for line in lines] != [leaf for _, _, leaf in seal.entries]:
            msg = f"{key}: its records are not those of seal {seal.number}"
            raise NotProven(msg)
        return lines


def _parsed(content: bytes) -> Seal | None:
    try:
        return Seal.from_bytes(content)
    except ValueError:
        return None


def records_key(name: str) -> str:
    """Return the key of the object that holds a seal's records."""
    return f"records/{name}.json.gz"


def leaf_of(line: bytes) -> str:
    """Return the leaf of a record written as canonical JSON."""
    return sha256(b"\0" + line).hexdigest()


def compress(lines: Sequence[bytes]) -> bytes:
    """Return lines, compressed without a date: the same lines are the same bytes."""
    return gzip.compress(b"".join(line + b"\n" for line in lines), mtime=0)


def lines_of(content: bytes) -> list[bytes]:
    """Return the lines of a compressed object; raise ``ValueError`` when it is not one."""
    try:
        return gzip.decompress(content).splitlines()
    except (OSError, EOFError):
        msg = "not compressed lines"
        raise ValueError(msg) from None
