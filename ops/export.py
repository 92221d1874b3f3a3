"""Exports of the audit: the records of a period with their proofs (docs/audit-format.md)."""

import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from api_particulier.audit import archive
from api_particulier.audit.merkle import proof
from api_particulier.audit.reader import in_order
from api_particulier.audit.seals import Seal
from api_particulier.audit.verification import named
from api_particulier.dynamodb import Item
from ops import verify_file
from ops.audit import Period, is_young, leaf_of, of_token, public_key, scan, seals_of
from ops.deployment import Deployment

_CLOCKS: Final = timedelta(minutes=1)
"""How far the clocks of two machines may differ."""


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
    # The records are read before the seals: a seal made between the two readings only adds records.
    if token is not None:
        items: Iterable[Item] = of_token(deployment, _closed(deployment, period, now), token)
    else:
        items = _every(deployment, period, _closed(deployment, period, now).days, habilitation)
    placed = _place(items, seals_of(deployment, period), now, head)
    pem, export_pem = public_key(deployment), public_key(deployment, "ExportKeyId")
    placed.check_seals()
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
    digest = _write(proof, _as_json(selection, placed))
    _write(signature, [json.dumps(_signature(deployment, digest, export_pem), indent=1).encode() + b"\n"])
    if as_csv:
        _write(output, verify_file.rows_of(placed.entries()))
    return Exported(output, proof, signature, len(placed.records), len(placed.seals), placed.pending)


def _closed(deployment: Deployment, period: Period, now: datetime) -> Period:
    """Return the part of a period in which there can be records."""
    first = archive.first_day(deployment.bucket) or now.date()
    began = datetime.combine(first, time(), UTC)
    return Period(max(period.since or began, began), min(period.until or now + _CLOCKS, now + _CLOCKS))


def _every(deployment: Deployment, period: Period, days: Iterable[date], habilitation: str | None) -> Iterator[Item]:
    """Yield every record of a period, or those of a habilitation: of the archive, then of the table.

    Raise ``NotProven`` when a day is in neither.
    """
    reader, archived = deployment.reader, set[str]()
    first, last = period.ids
    for day in days:
        if archive.find_day(deployment.bucket, day) is None:
            reader.check_in_table(day)
            continue
        archived.add(f"{day}")
        for record in reader.archived(day):
            if habilitation in {None, record.get("habilitation")} and first <= record["id"] < last:
                yield record
    for item in scan(deployment, period, **({"habilitation": habilitation} if habilitation else {})):
        if str(item["token_day"]).rpartition("#")[2] not in archived:
            yield in_order(item)


@dataclass
class _Placed:
    """Records in the places that seals give them."""

    records: list[tuple[int, int, Item, list[str]]] = field(default_factory=list)
    """The number of the seal, the index there, the record and its path."""
    seals: dict[int, bytes] = field(default_factory=dict)
    """The headers and signatures from the first seal concerned to the last, in JSON."""
    skipped: set[int] = field(default_factory=set)
    """The objects that these seals step over."""
    pending: int = 0

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield the records as an export has them."""
        for number, index, item, path in self.records:
            yield {"entry": item, "seal": number, "index": index, "path": path}

    def check_seals(self) -> None:
        """Raise ``ExportError`` when a seal is missing between two."""
        numbers = range(min(self.seals, default=1), max(self.seals, default=0) + 1)
        if missing := [number for number in numbers if number not in self.seals | dict.fromkeys(self.skipped)]:
            msg = f"seal {missing[0]} is missing: see `audit verify`"
            raise ExportError(msg)


def _place(items: Iterable[Item], seals: Iterable[Seal], now: datetime, head: int) -> _Placed:
    """Place records in the seals, which are read one after the other; the first seal of a record counts."""
    waiting = {(str(item["token_day"]), str(item["id"])): item for item in items}
    placed = _Placed()
    last = 0
    for seal in seals:
        leaves = [leaf for _, _, leaf in seal.entries]
        for index, (token_day, record_id, leaf) in enumerate(seal.entries):
            item = waiting.pop((token_day, record_id), None)
            if item is not None and leaf != leaf_of(item):
                msg = f"{named((token_day, record_id))} was changed since it was sealed: see `audit verify`"
                raise ExportError(msg)
            if item is not None:
                placed.records.append((seal.number, index, item, proof(leaves, index)))
                last = seal.number
        if placed.records:
            placed.seals[seal.number] = _json({"header": seal.header, "signature": seal.signature})
            placed.skipped |= seal.skipped.keys()
    if head > last and placed.seals and head not in placed.seals:
        msg = f"seal {head} is not among the seals of this period and of a day after it: take an earlier checkpoint"
        raise ExportError(msg)
    placed.seals = {number: seal for number, seal in placed.seals.items() if number <= max(last, head)}
    for key in waiting:
        if not is_young(key, now):
            msg = f"{named(key)} is in no seal: see `audit verify`"
            raise ExportError(msg)
    placed.pending = len(waiting)
    return placed


def _as_json(selection: Mapping[str, Any], placed: _Placed) -> Iterator[bytes]:
    """Yield the parts of the document, which is never whole in memory."""
    yield json.dumps(selection, ensure_ascii=False, indent=1).encode().removesuffix(b"\n}")
    yield b',\n "seals": ['
    for number, seal in enumerate(placed.seals.values()):
        yield (b",\n  " if number else b"\n  ") + seal
    yield b'\n ],\n "entries": ['
    for number, entry in enumerate(placed.entries()):
        yield (b",\n  " if number else b"\n  ") + _json(entry)
    yield b"\n ]\n}\n"


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
