"""Exports of the audit: a period, or every access of a habilitation, with what proves them (docs/audit-format.md)."""

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
from ops import verify_file
from ops.audit import Item, Period, is_young, leaf_of, named, of_token, public_key, scan, seals_of
from ops.deployment import Deployment

_CSV_INJECTION: Final = ("=", "+", "-", "@", "\t", "\r")
COLUMNS: Final = (
    *("at", "id", "organisation", "siret", "habilitation", "purpose", "token", "user", "address", "dataset", "route"),
    *(
        "status",
        "error",
        "suspicion",
        "citizen",
        "released",
        "withheld",
        "notes",
        "provider",
        "provider_ms",
        "request_id",
    ),
    *("seal", "index"),
)
"""Of a CSV export; lists are separated by spaces."""


class ExportError(Exception):
    """The audit is not in a state to be exported; says which entry, and what to do."""


@dataclass(frozen=True)
class Exported:
    """What was written."""

    file: Path
    signature: Path
    entries: int
    seals: int
    pending: int
    """Entries of the last minute, left out because they are in no seal yet."""


def export(  # noqa: PLR0913 - what is chosen, each by its name
    on: Deployment,
    period: Period,
    output: Path,
    *,
    token: str | None = None,
    habilitation: str | None = None,
    as_csv: bool = False,
) -> Exported:
    """Write the entries of a period with what proves them, and the file's signature beside it.

    ``ExportError`` when an entry is not as it was sealed: an export proves, or is not made.
    """
    now = datetime.now(UTC)
    # The table first: a seal that is made meanwhile has more, which does no harm.
    if token is not None:
        items = of_token(on, period, token)
    else:
        items = list(scan(on, period, **({"habilitation": habilitation} if habilitation else {})))
    seals = seals_of(on, period)
    places = {
        (token_day, entry): (number, index)
        for number, seal in reversed(seals.items())
        for index, (token_day, entry, _) in enumerate(seal.entries)
    }
    chosen: list[tuple[int, int, Item]] = []
    pending = 0
    for item in items:
        place = (str(item["token_day"]), str(item["id"]))
        if place in places:
            number, index = places[place]
            if seals[number].entries[index][2] != leaf_of(item):
                msg = f"{named(place)} was changed since it was sealed: see `audit verify`"
                raise ExportError(msg)
            chosen.append((number, index, item))
        elif is_young(place, now):
            pending += 1
        else:
            msg = f"{named(place)} is in no seal: see `audit verify`"
            raise ExportError(msg)
    chosen.sort(key=lambda one: one[:2])
    pem = public_key(on)
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
            "seals": [{"header": seals[one].header, "signature": seals[one].signature} for one in numbers],
            "entries": list(_proven(chosen, seals)),
        }
        content = json.dumps(document, ensure_ascii=False, indent=1, default=int).encode() + b"\n"
    signature = verify_file.signature_of(output)
    _write(output, content)
    _write(signature, json.dumps(_signature(on, content, pem), indent=1).encode() + b"\n")
    return Exported(output, signature, len(chosen), count, pending)


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
    # The caller chooses its X-User, and a spreadsheet runs what looks like a formula.
    return f"'{text}" if text.startswith(_CSV_INJECTION) else text


def _signature(on: Deployment, content: bytes, pem: str) -> dict[str, str]:
    digest = sha256(content).hexdigest()
    signed = on.kms.sign(
        KeyId=on.outputs["SealKeyId"],
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
