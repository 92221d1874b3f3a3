"""Exports of the audit: the records of a period with their proofs (docs/audit-format.md)."""

import json
from base64 import b64encode
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, Final

from api_particulier.audit import archive
from api_particulier.audit.bucket import leaf_of
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.merkle import proof
from api_particulier.audit.seals import RecordKey, Seal
from api_particulier.audit.verification import named
from api_particulier.dynamodb import Item
from ops import chain, verify_file
from ops.audit import Period, is_young, public_key, scan
from ops.deployment import Deployment

_CLOCKS: Final = timedelta(minutes=1)
"""How far the clocks of two machines may differ."""
_PART: Final = 1_000_000
"""Bytes of a file that are copied at once."""


class ExportError(Exception):
    """The audit cannot be exported: the message names a record or a seal, and what to do."""


@dataclass(frozen=True)
class Exported:
    """The files that were written."""

    file: Path
    proof: Path
    """The file itself in JSON; beside a table, the JSON of which it is a rendering."""
    signature: Path
    """Of the proof."""
    entries: int
    """Number of records."""
    seals: int
    pending: int
    """Records of the last minute, left out because they have no seal yet."""


def export(  # noqa: PLR0913 - the selection, each part by its name
    deployment: Deployment,
    period: Period,
    output: Path,
    *,
    token: str | None = None,
    habilitation: str | None = None,
    as_csv: bool = False,
    head: int = 0,
) -> Exported:
    """Write the records of a period with their proofs, and their signature beside; then the table, if ``as_csv``.

    ``head`` is the number of a checkpoint's seal, up to which the seals go on.
    Raise ``ExportError``, and write nothing, when a record is not as it was sealed.
    """
    now = datetime.now(UTC)
    pem, export_pem = public_key(deployment), public_key(deployment, "ExportKeyId")
    selected = _Selected(deployment, period, now, token, habilitation)
    checked = chain.Checked(deployment.bucket, verify_file.read_key(pem.encode()))
    with TemporaryFile(dir=output.parent) as seals, TemporaryFile(dir=output.parent) as records:
        draft = _Draft(seals, records, head)
        for seal, taken in selected.by_seal(checked.seals(*period.sealed)):
            draft.add(seal, taken)
        draft.end()
        selection = {
            "format": verify_file.EXPORT,
            "made_at": now.isoformat(timespec="seconds"),
            "from": period.since.isoformat() if period.since else None,
            "to": period.until.isoformat() if period.until else None,
            "token": token,
            "habilitation": habilitation,
            "public_key": pem,
        }
        proof = verify_file.proof_of(output) if as_csv else output
        signature = verify_file.signature_of(proof)
        digest = _write(proof, _as_json(selection, seals, records))
        _write(signature, [json.dumps(_signature(deployment, digest, export_pem), indent=1).encode() + b"\n"])
        if as_csv:
            _write(output, verify_file.rows_of(draft.entries()))
    return Exported(output, proof, signature, draft.records, draft.seals, selected.pending)


def _closed(deployment: Deployment, period: Period, now: datetime) -> Period:
    """Return the part of a period in which there can be records."""
    first = archive.first_day(deployment.bucket) or now.date()
    began = datetime.combine(first, time(), UTC)
    return Period(max(period.since or began, began), min(period.until or now + _CLOCKS, now + _CLOCKS))


@dataclass
class _Selected:
    """The records of the selection, read a day at a time, and taken from there by their seals."""

    deployment: Deployment
    period: Period
    now: datetime
    token: str | None
    habilitation: str | None
    pending: int = 0
    _waiting: dict[str, dict[RecordKey, bytes]] = field(default_factory=dict)
    """The records of a few days that no seal has yet, in canonical JSON."""

    def by_seal(self, seals: Iterable[Seal]) -> Iterator[tuple[Seal, list[tuple[int, bytes]]]]:
        """Yield each seal with the selected records that it holds, after their index; a record's first seal counts.

        Raise ``ExportError`` for a record that is not as it was sealed, or that no seal holds.
        """
        days = deque(_closed(self.deployment, self.period, self.now).days)
        for seal in seals:
            latest = max((token_day.rpartition("#")[2] for token_day, _, _ in seal.entries), default="")
            while days and f"{days[0]}" <= latest:
                self._read(days.popleft())
            yield seal, list(self._taken(seal))
            for day in [*self._waiting]:
                if archive.last_seal_of(date.fromisoformat(day)) < seal.at:
                    self._leave(day)
        for following in days:
            self._read(following)
        for day in [*self._waiting]:
            self._leave(day)

    def _read(self, day: date) -> None:
        first, last = self.period.ids
        keyed = {(token_day, record_id): line for token_day, record_id, line in self._lines(day)}
        self._waiting[f"{day}"] = {key: line for key, line in keyed.items() if first <= key[1] < last}

    def _lines(self, day: date) -> Iterator[tuple[str, str, bytes]]:
        """Yield the selected records of a day, of the archive or of the table, after their keys.

        Raise ``NotProven`` when the day is in neither.
        """
        if self.token is not None:
            found: Iterable[Item] = self.deployment.reader.of_token(self.token, day)
        elif (manifest := archive.find_day(self.deployment.bucket, day)) is not None:
            wanted = canonical_json(self.habilitation or "habilitation")
            lines = archive.day_lines(self.deployment.bucket, day, manifest, manifest["objects"])
            found = (json.loads(line) for line in lines if self.habilitation is None or wanted in line)
        else:
            self.deployment.reader.check_in_table(day)
            found = self._in_table.get(f"{day}", [])
        for record in found:
            if self.habilitation in {None, record.get("habilitation")}:
                yield str(record["token_day"]), str(record["id"]), _line(record)

    @cached_property
    def _in_table(self) -> dict[str, list[Item]]:
        """The records of the table, by day: it is read once, at the first day that is not archived."""
        found: dict[str, list[Item]] = defaultdict(list)
        for item in scan(
            self.deployment, self.period, **({"habilitation": self.habilitation} if self.habilitation else {})
        ):
            found[str(item["token_day"]).rpartition("#")[2]].append(item)
        return found

    def _taken(self, seal: Seal) -> Iterator[tuple[int, bytes]]:
        for index, (token_day, record_id, leaf) in enumerate(seal.entries):
            line = self._waiting.get(token_day.rpartition("#")[2], {}).pop((token_day, record_id), None)
            if line is not None and leaf_of(line) != leaf:
                msg = f"{named((token_day, record_id))} was changed since it was sealed: see `audit verify`"
                raise ExportError(msg)
            if line is not None:
                yield index, line

    def _leave(self, day: str) -> None:
        """Forget a day, of which every seal was read."""
        left = self._waiting.pop(day)
        for key in left:
            if not is_young(key, self.now):
                msg = f"{named(key)} is in no seal: see `audit verify`"
                raise ExportError(msg)
        self.pending += len(left)


def _line(record: Item) -> bytes:
    """Return a record in canonical JSON; nothing for one that no function writes."""
    try:
        return canonical_json(record)
    except ValueError:
        return b""


@dataclass
class _Draft:
    """The seals and the records of an export, each in a file until all are proven."""

    seals_file: IO[bytes]
    """The headers and signatures, in JSON, from the first seal concerned on."""
    records_file: IO[bytes]
    head: int
    """The seal of a checkpoint up to which the seals go on."""
    records: int = 0
    seals: int = 0
    """The seals of the export, up to the last one with a record or to the head."""
    _written: int = 0
    """The seals written so far."""
    _end: int = 0
    """Where the seals of the export end in their file."""
    _last: int = 0
    """The number of the last seal written."""
    _missing: int = 0
    """The number of the first seal that is missing between two that were written."""

    def add(self, seal: Seal, taken: Sequence[tuple[int, bytes]]) -> None:
        """Write the next seal, and the records that it holds."""
        if not taken and not self.records:
            return
        self._write_seal(seal)
        leaves = [leaf for _, _, leaf in seal.entries]
        for index, line in taken:
            entry = {"entry": json.loads(line), "seal": seal.number, "index": index, "path": proof(leaves, index)}
            self.records_file.write((b",\n  " if self.records else b"\n  ") + _json(entry))
            self.records += 1
        if taken or seal.number <= self.head:
            self._keep()

    def _write_seal(self, seal: Seal) -> None:
        if self._written and seal.before > self._last and not self._missing:
            self._missing = self._last + 1
        described = {"header": seal.header, "signature": seal.signature}
        self.seals_file.write((b",\n  " if self._written else b"\n  ") + _json(described))
        self._written += 1
        self._last = seal.number

    def _keep(self) -> None:
        """Have the export go on up to the last seal written; raise ``ExportError`` when one is missing before it."""
        if self._missing:
            msg = f"seal {self._missing} is missing: see `audit verify`"
            raise ExportError(msg)
        self.seals, self._end = self._written, self.seals_file.tell()

    def end(self) -> None:
        """Leave out the seals after the last one of the export."""
        if self._written and self.head > self._last:
            where = "among the seals of this period and of a day after it"
            msg = f"seal {self.head} is not {where}: take an earlier checkpoint"
            raise ExportError(msg)
        self.seals_file.truncate(self._end)

    def entries(self) -> Iterator[Mapping[str, Any]]:
        """Yield the entries of the export, each from a line of their file."""
        self.records_file.seek(1)
        return (json.loads(line.rstrip(b",\n")) for line in self.records_file)


def _as_json(selection: Mapping[str, Any], seals: IO[bytes], records: IO[bytes]) -> Iterator[bytes]:
    """Yield the parts of the document, which is never whole in memory."""
    yield json.dumps(selection, ensure_ascii=False, indent=1).encode().removesuffix(b"\n}")
    yield b',\n "seals": ['
    yield from _content(seals)
    yield b'\n ],\n "entries": ['
    yield from _content(records)
    yield b"\n ]\n}\n"


def _content(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    return iter(partial(file.read, _PART), b"")


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _signature(deployment: Deployment, digest: str, pem: str) -> dict[str, str]:
    signed = deployment.kms.sign(
        KeyId=deployment.outputs["ExportKeyId"],
        Message=f"{verify_file.SIGNATURE}\n{digest}".encode(),
        MessageType="RAW",
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    return {
        "format": verify_file.SIGNATURE,
        "sha256": digest,
        "signature": b64encode(signed).decode(),
        "public_key": pem,
    }


def _write(path: Path, parts: Iterable[bytes]) -> str:
    """Write a file for its author alone; return its SHA-256."""
    path.touch(mode=0o600)
    digest = sha256()
    with path.open("wb") as file:
        for part in parts:
            digest.update(part)
            file.write(part)
    return digest.hexdigest()
