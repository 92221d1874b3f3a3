"""Exports of the audit: the records of a period with their proofs (docs/audit-format.md)."""

import csv
import io
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from api_particulier.audit.merkle import proof
from api_particulier.audit.seals import Seal
from api_particulier.audit.verification import named
from api_particulier.dynamodb import Item
from ops import verify_file
from ops.audit import Period, is_young, leaf_of, of_token, public_key, scan, seals_of
from ops.deployment import Deployment

_CSV_INJECTION: Final = ("=", "+", "-", "@", "\t", "\r")
COLUMNS: Final = (
    *(
        "at",
        "id",
        "organisation",
        "siret",
        "habilitation",
        "purpose",
        "token",
        "user",
        "consent",
        "address",
        "dataset",
        "route",
    ),
    *("status", "error", "suspicion", "citizen", "released", "withheld", "notes", "provider", "provider_ms"),
    *("request_id", "seal", "index"),
)
"""Columns of a CSV export; a list is written with spaces between its values."""


class ExportError(Exception):
    """The audit cannot be exported: the message names a record or a seal, and what to do."""


@dataclass(frozen=True)
class Exported:
    """The files that were written."""

    file: Path
    signature: Path
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
) -> Exported:
    """Write the records of a period with their proofs, and the signature of the file beside it.

    Raise ``ExportError``, and write nothing, when a record is not as it was sealed.
    """
    now = datetime.now(UTC)
    # The table is read before the seals: a seal made between the two readings only adds records.
    if token is not None:
        items = of_token(deployment, period, token)
    else:
        items = list(scan(deployment, period, **({"habilitation": habilitation} if habilitation else {})))
    seals = seals_of(deployment, period)
    chosen, pending = _place_in_seals(items, seals, now)
    pem = public_key(deployment)
    if as_csv:
        content, count = _as_csv(chosen), 0
    else:
        numbers = range(chosen[0][0], chosen[-1][0] + 1) if chosen else range(0)
        if missing := [number for number in numbers if number not in seals]:
            msg = f"seal {missing[0]} is missing: see `audit verify`"
            raise ExportError(msg)
        count = len(numbers)
        document = {
            "format": verify_file.EXPORT,
            "made_at": now.isoformat(timespec="seconds"),
            "from": period.since.isoformat() if period.since else None,
            "to": period.until.isoformat() if period.until else None,
            "token": token,
            "habilitation": habilitation,
            "public_key": pem,
            "seals": [{"header": seals[number].header, "signature": seals[number].signature} for number in numbers],
            "entries": list(_proven(chosen, seals)),
        }
        content = json.dumps(document, ensure_ascii=False, indent=1).encode() + b"\n"
    signature = verify_file.signature_of(output)
    _write(output, content)
    _write(signature, json.dumps(_signature(deployment, content, pem), indent=1).encode() + b"\n")
    return Exported(output, signature, len(chosen), count, pending)


def _place_in_seals(
    items: Iterable[Item], seals: dict[int, Seal], now: datetime
) -> tuple[list[tuple[int, int, Item]], int]:
    """Return each record with its seal's number and its index there, in order, and how many have no seal yet."""
    places = {
        (token_day, record_id): (number, index)
        for number, seal in reversed(seals.items())  # the first seal of a record counts
        for index, (token_day, record_id, _) in enumerate(seal.entries)
    }
    placed: list[tuple[int, int, Item]] = []
    pending = 0
    for item in items:
        key = (str(item["token_day"]), str(item["id"]))
        if key in places:
            number, index = places[key]
            if seals[number].entries[index][2] != leaf_of(item):
                msg = f"{named(key)} was changed since it was sealed: see `audit verify`"
                raise ExportError(msg)
            placed.append((number, index, item))
        elif is_young(key, now):
            pending += 1
        else:
            msg = f"{named(key)} is in no seal: see `audit verify`"
            raise ExportError(msg)
    placed.sort(key=lambda place: place[:2])
    return placed, pending


def _proven(chosen: Iterable[tuple[int, int, Item]], seals: Mapping[int, Seal]) -> Iterator[dict[str, Any]]:
    for number, index, item in chosen:
        leaves = [sealed_leaf for _, _, sealed_leaf in seals[number].entries]
        yield {"entry": item, "seal": number, "index": index, "path": proof(leaves, index)}


def _as_csv(chosen: Sequence[tuple[int, int, Item]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    writer.writeheader()
    for number, index, item in chosen:
        row = item | {"seal": number, "index": index}
        writer.writerow({name: _cell(row.get(name)) for name in COLUMNS})
    return text.getvalue().encode()


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)
    # A spreadsheet runs a cell that looks like a formula, and X-User is free text of the caller.
    return f"'{text}" if text.startswith(_CSV_INJECTION) else text


def _signature(deployment: Deployment, content: bytes, pem: str) -> dict[str, str]:
    digest = sha256(content).hexdigest()
    signed = deployment.kms.sign(
        KeyId=deployment.outputs["SealKeyId"],
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


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
