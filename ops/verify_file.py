"""Verify a file of ``audit export`` with the public keys alone: no network, no AWS.

``python verify_file.py FILE [--public-key PEM] [--export-key PEM] [--head NOTE [--stamp FILE --authority PEM]]`` exits
with 0 when everything is proven, 1 otherwise. This module imports the ``cryptography`` package, ``rfc3161-client`` for
a stamp, and nothing of this project, so that an auditor can run a copy of it, or write another from
docs/audit-format.md.
"""

import argparse
import csv
import io
import json
import sys
from base64 import b64decode, b64encode
from binascii import Error as NotBase64Error
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificates

EXPORT: Final = "api-particulier/audit-export/1"
SEALS: Final = ("api-particulier/seal/1", "api-particulier/seal/2")
"""The formats of a seal; both may stand in one chain."""
SIGNATURE: Final = "api-particulier/signature/2"
"""By the key of the exports; ``api-particulier/signature/1`` was by the key of the seals."""
_SIGNATURE_BY_SEALS: Final = "api-particulier/signature/1"
_PARIS: Final = ZoneInfo("Europe/Paris")
GENESIS_HASH: Final = "0" * 64
"""The hash that the first seal names as the previous one."""
COLUMNS: Final = (
    *("at", "id", "organisation", "siret", "habilitation", "purpose", "token", "user", "consent", "address"),
    *("dataset", "route", "status", "error", "suspicion", "citizen", "released", "withheld", "notes"),
    *("provider", "provider_ms", "request_id", "seal", "index"),
)
"""Columns of a table; a list is written with spaces between its values."""
_CSV_INJECTION: Final = ("=", "+", "-", "@", "\t", "\r")


class NotProvenError(Exception):
    """Something is not as it was signed; the message names the seal or the record, and what is wrong."""


@dataclass(frozen=True)
class Report:
    """The result of a verification."""

    entries: int
    """Number of records."""
    seals: int
    complete: int
    """Number of seals with all their records in the file."""
    signed: bool
    """Whether the file itself is signed, which proves that no record of the selection was left out."""
    fingerprint: str
    """SHA-256 of the public key (DER) of the seals, to compare with the published one."""
    given_key: bool
    """False when a key came with the file: then the origin of the file is not proven."""
    export_fingerprint: str | None
    """SHA-256 of the public key (DER) that signs the file; None for a file without a signature."""
    head: int | None
    """The seal of the given checkpoint, which is one of the file's; None without a checkpoint."""
    stamped_at: str | None
    """The time at which the checkpoint existed, by its stamp; None without one."""
    figures: Mapping[str, int]
    """The calls of datasets that the seals count, by ``<day in Paris>#<dataset>#<status>``."""


def canonical(value: object) -> bytes:
    """Return the canonical JSON of a value (RFC 8785) made of strings, integers and lists."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def hash_of(header: Mapping[str, Any]) -> str:
    """Return the hash of a seal, which the next seal names as ``previous``."""
    return sha256(canonical(header)).hexdigest()


def leaf_of(record: Mapping[str, Any]) -> bytes:
    """Return the leaf of a record (RFC 9162 §2.1.1)."""
    return sha256(b"\0" + canonical(record)).digest()


def root_from(leaf: bytes, index: int, count: int, path: Sequence[str]) -> str:
    """Return the root computed from a leaf and its proof (RFC 9162 §2.1.3.2); empty for a proof of a wrong length."""
    node, last, found = index, count - 1, leaf
    for step in map(bytes.fromhex, path):
        if last == 0:
            return ""
        if node & 1 or node == last:
            found = sha256(b"\1" + step + found).digest()
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            found = sha256(b"\1" + found + step).digest()
        node, last = node >> 1, last >> 1
    return found.hex() if last == 0 else ""


def read_key(pem: bytes) -> EllipticCurvePublicKey:
    """Read a P-256 public key; raise ``NotProvenError`` for any other."""
    try:
        key = load_pem_public_key(pem)
    except ValueError:
        raise NotProvenError("the public key is no PEM") from None
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise NotProvenError("the public key is not of P-256")
    return key


def check_signature(key: EllipticCurvePublicKey, signature: str, message: bytes, what: str) -> None:
    """Check a signature, DER in base64; raise ``NotProvenError`` about ``what`` was signed."""
    try:
        key.verify(b64decode(signature, validate=True), message, ECDSA(SHA256()))
    except (InvalidSignature, NotBase64Error, ValueError):
        raise NotProvenError(f"{what}: the signature is wrong") from None


def check_header(
    key: EllipticCurvePublicKey, header: Mapping[str, Any], signature: str, number: int, previous: str | None
) -> None:
    """Check a seal and its link to ``previous``, a hash (None: unknown); raise ``NotProvenError``."""
    what = f"seal {number}"
    if header.get("format") not in SEALS or header.get("number") != number:
        raise NotProvenError(f"{what}: another seal is in its place")
    check_signature(key, signature, canonical(header), what)
    if header["previous"] != (GENESIS_HASH if before(header) == 0 else previous or header["previous"]):
        raise NotProvenError(f"{what}: it does not follow the seal before it")


def before(header: Mapping[str, Any]) -> int:
    """Return the number of the seal that a seal follows: foreign objects that it names may stand between them."""
    skipped = [step["number"] for step in header.get("skipped", [])]
    first = int(header["number"]) - len(skipped)
    if skipped != [*range(first, header["number"])]:
        raise NotProvenError(f"seal {header['number']}: it does not follow the seal before it")
    return first - 1


@dataclass(frozen=True)
class Head:
    """A checkpoint: the last of the seals that it fixes."""

    number: int
    hash: str
    text: str
    signature: str


def read_head(note: str) -> Head:
    """Read a checkpoint; raise ``NotProvenError`` when it is none, or is older than its line ``hash``."""
    text, _, signature = _as_published(note).partition("\n\n")
    named = dict(line.partition(" ")[::2] for line in text.splitlines()[3:])
    try:  # the signature follows the first four bytes of the hash of the key
        signed = b64decode(signature.strip().rpartition(" ")[2], validate=True)[4:]
        return Head(int(named["seal"]), named["hash"], f"{text}\n", b64encode(signed).decode())
    except (KeyError, ValueError):
        raise NotProvenError("the checkpoint is none, or is too old to name the hash of its last seal") from None


def _as_published(note: str) -> str:
    """Return a note to the character: its copy from a mail may have other ends of lines, and other ends."""
    return note.replace("\r\n", "\n").strip() + "\n"


def _check_head(key: EllipticCurvePublicKey, head: Head, export: Mapping[str, Any]) -> int:
    """Check that the seals of an export are those that a checkpoint fixes; return the number of its last seal."""
    check_signature(key, head.signature, head.text.encode(), "the checkpoint")
    headers = {int(seal["header"]["number"]): seal["header"] for seal in export.get("seals", [])}
    if head.number not in headers:
        raise NotProvenError(
            f"seal {head.number} of the checkpoint is not in the file: export it again, with this checkpoint as --head"
        )
    if hash_of(headers[head.number]) != head.hash:
        raise NotProvenError(f"seal {head.number}: it is not the one that the checkpoint fixes")
    return head.number


@dataclass(frozen=True)
class Stamp:
    """The answer of a timestamp authority about a checkpoint."""

    file: Path
    """DER, or the base64 of a mail."""
    authority: Path
    """The certificates that the answer is verified with, PEM."""


def _check_stamp(stamp: Stamp, note: str) -> datetime:
    """Check that an authority stamped a checkpoint; return the time of the stamp."""
    from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415 - needed here alone

    try:
        roots = load_pem_x509_certificates(stamp.authority.read_bytes())
    except ValueError:
        raise NotProvenError("the certificate of the authority is no PEM") from None
    content = stamp.file.read_bytes()
    try:
        answer = decode_timestamp_response(content if content.startswith(b"0") else b64decode(content))
        VerifierBuilder(roots=roots).build().verify_message(answer, _as_published(note).encode())
    except VerificationError as error:
        raise NotProvenError(f"the stamp is not the authority's, or of another checkpoint ({error})") from None
    except ValueError:
        raise NotProvenError("the stamp is none") from None
    return answer.tst_info.gen_time


def verify(
    file: Path,
    public_key: Path | None = None,
    export_key: Path | None = None,
    head: Path | None = None,
    stamp: Stamp | None = None,
) -> Report:
    """Verify an export, JSON or CSV; raise ``NotProvenError`` at the first thing that is not as it was signed.

    A table is proven by the JSON beside it, of which it is a rendering. ``stamp`` is that of the checkpoint ``head``.
    """
    table = file.read_bytes()
    proof = file if table.startswith(b"{") or not proof_of(file).exists() else proof_of(file)
    content = proof.read_bytes()
    signature = _object(beside.read_bytes()) if (beside := signature_of(proof)).exists() else {}
    is_old_table = proof == file and not table.startswith(b"{")
    if is_old_table and signature.get("format") != _SIGNATURE_BY_SEALS:
        raise NotProvenError(f"a table is proven by {proof_of(file).name}, which is not beside it")
    export = {} if is_old_table else _object(content)
    keys = _Keys.among(export, signature, public_key, export_key)
    number = _check_head(keys.of_seals, read_head(head.read_text()), export) if head else None
    stamped_at = _check_stamp(stamp, head.read_text()).isoformat() if head and stamp else None
    try:  # before the file's own signature: a record that was changed is named
        entries, seals, complete = (
            (table.count(b"\r\n") - 1, 0, 0) if is_old_table else _verify_export(keys.of_seals, export)
        )
        figures = {} if is_old_table else _figures(export)
        if proof != file:
            _check_table(table, export["entries"])
    except (LookupError, TypeError, ValueError, AttributeError):
        raise NotProvenError("the file is not laid out as an export is") from None
    if signature:
        what = "the file" if is_old_table else "the file (each of its entries is as it was sealed)"
        message = f"{signature['format']}\n{sha256(content).hexdigest()}".encode()
        check_signature(keys.of_file, str(signature.get("signature")), message, what)
    fingerprint, of_file = fingerprint_of(keys.of_seals), fingerprint_of(keys.of_file) if signature else None
    return Report(
        *(entries, seals, complete, bool(signature), fingerprint, keys.are_given),
        *(of_file, number, stamped_at, figures),
    )


@dataclass(frozen=True)
class _Keys:
    """The public keys that prove a file: those that were given, or else those that came with it."""

    of_seals: EllipticCurvePublicKey
    of_file: EllipticCurvePublicKey
    """Of its signature; in an old file, and in one without a signature, that of the seals."""
    are_given: bool

    @classmethod
    def among(
        cls,
        export: Mapping[str, Any],
        signature: Mapping[str, Any],
        public_key: Path | None,
        export_key: Path | None,
    ) -> "_Keys":
        """Choose the keys of an export and of its signature, either of which may be empty."""
        kind = signature.get("format", _SIGNATURE_BY_SEALS)
        if kind not in {SIGNATURE, _SIGNATURE_BY_SEALS}:
            raise NotProvenError("the signature file is none that this program knows")
        own = str(export.get("public_key") or signature.get("public_key")).encode()
        of_seals = read_key(public_key.read_bytes() if public_key else own)
        if kind == _SIGNATURE_BY_SEALS:
            return cls(of_seals, of_seals, public_key is not None)
        of_file = read_key(export_key.read_bytes() if export_key else str(signature.get("public_key")).encode())
        return cls(of_seals, of_file, export_key is not None and public_key is not None)


def fingerprint_of(key: EllipticCurvePublicKey) -> str:
    """Return the SHA-256 of a public key, DER."""
    return sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def proof_of(table: Path) -> Path:
    """Return the path of the JSON export that a table is a rendering of."""
    return table.with_name(f"{table.name}.json")


def signature_of(file: Path) -> Path:
    """Return the path of the detached signature of a file."""
    return file.with_name(f"{file.name}.sig")


def _verify_export(key: EllipticCurvePublicKey, export: Mapping[str, Any]) -> tuple[int, int, int]:
    if export.get("format") != EXPORT:
        raise NotProvenError("the file is no export that this program knows")
    headers: dict[int, Mapping[str, Any]] = {}
    previous: str | None = None
    for seal in export["seals"]:
        number = int(seal["header"]["number"])
        if headers and before(seal["header"]) != max(headers):
            raise NotProvenError(f"seal {max(headers) + 1}: it is missing")
        check_header(key, seal["header"], seal["signature"], number, previous)
        if headers and seal["header"]["at"] < headers[max(headers)]["at"]:
            raise NotProvenError(f"seal {number}: it was made before the seal before it")
        headers[number], previous = seal["header"], hash_of(seal["header"])
    last = (0, -1)
    for entry in export["entries"]:
        record, place = entry["entry"], (entry["seal"], entry["index"])
        what = f"entry {record.get('id')}"
        header = headers.get(entry["seal"])
        if header is None:
            raise NotProvenError(f"{what}: its seal is not in the file")
        if not 0 <= entry["index"] < header["count"] or place <= last:
            raise NotProvenError(f"{what}: it is not in its place")
        last = place
        if root_from(leaf_of(record), entry["index"], header["count"], entry["path"]) != header["root"]:
            raise NotProvenError(f"{what}: it is not what was sealed")
    complete = _check_counts(headers, export["entries"])
    return len(export["entries"]), len(headers), complete


def rows_of(entries: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield the rows of the table of an export, CSV: the names of the columns, then each entry."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    rows = ({**entry["entry"], "seal": entry["seal"], "index": entry["index"]} for entry in entries)
    for row in chain([dict(zip(COLUMNS, COLUMNS, strict=True))], rows):
        writer.writerow(_cell(row.get(name)) for name in COLUMNS)
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _cell(value: object) -> str:
    text = "" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)
    # A spreadsheet runs a cell that looks like a formula, and X-User is free text of the caller.
    return f"'{text}" if text.startswith(_CSV_INJECTION) else text


def _check_table(table: bytes, entries: Sequence[Mapping[str, Any]]) -> None:
    """Check that a table is the rendering of entries, to the byte."""
    end = 0
    for number, row in enumerate(rows_of(entries)):
        start, end = end, end + len(row)
        if table[start:end] != row:
            what = f"entry {entries[number - 1]['entry'].get('id')}" if number else "the names of the columns"
            raise NotProvenError(f"{what}: the table is not what its proof holds")
    if table[end:]:
        raise NotProvenError("the table goes on after the last entry of its proof")


def _check_counts(headers: Mapping[int, Mapping[str, Any]], entries: Sequence[Mapping[str, Any]]) -> int:
    """Check the counts of the seals with all their records in the file; return how many seals these are."""
    present = Counter(entry["seal"] for entry in entries)
    counted = {number: Counter[str]() for number, header in headers.items() if present[number] == header["count"]}
    for entry in entries:
        if entry["seal"] in counted and entry["entry"].get("kind") == "dataset":
            counted[entry["seal"]][_counter_of(entry["entry"])] += 1
    for number, counts in counted.items():
        if headers[number].get("counts", counts) != counts:
            raise NotProvenError(f"seal {number}: its counts are not those of its entries")
    return len(counted)


def _counter_of(record: Mapping[str, Any]) -> str:
    day = datetime.fromisoformat(record["at"]).astimezone(_PARIS).date()
    return f"{day}#{record['dataset']}#{record['status']}"


def _figures(export: Mapping[str, Any]) -> dict[str, int]:
    """Add up the counts of the seals."""
    figures = Counter[str]()
    for seal in export["seals"]:
        figures.update(seal["header"].get("counts", {}))
    return dict(sorted(figures.items()))


def _object(content: bytes) -> dict[str, Any]:
    try:
        read = json.loads(content, object_pairs_hook=_once, parse_float=_refuse, parse_constant=_refuse)
    except ValueError:
        raise NotProvenError("the file is not the JSON of an export") from None
    if not isinstance(read, dict):
        raise NotProvenError("the file is not the JSON of an export")
    return read


def _once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that is twice in an object: two programs could read different values."""
    listed = list(pairs)
    made = dict(listed)
    if len(made) != len(listed):
        raise ValueError
    return made


def _refuse(_: str) -> None:
    raise ValueError


def describe(report: Report) -> str:
    """Return the result of a verification in words."""
    lines = [f"{report.entries} entries, {report.seals} seals: as they were signed."]
    if report.entries and not report.seals:
        lines.append("No seal proves them: this table was made before tables had their proof, and is signed alone.")
    if report.seals:
        lines.append(f"{report.complete} seals have all their entries in the file.")
    lines.append(
        "The selection is signed." if report.signed else "The selection is not signed: entries may be left out."
    )
    if report.head:
        lines.append(f"The seals are those that the checkpoint of seal {report.head} fixes.")
    if report.stamped_at:
        lines.append(f"The checkpoint existed on {report.stamped_at}, by the stamp of the authority.")
    lines.append(f"Public key of the seals, SHA-256: {report.fingerprint}")
    if report.export_fingerprint not in {None, report.fingerprint}:
        lines.append(f"Public key of the exports, SHA-256: {report.export_fingerprint}")
    if not report.given_key:
        lines.append("A key came with the file: compare it with the published one.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="Verify an export of the audit, offline.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--public-key", type=Path, metavar="PEM", help="The key of the seals.")
    parser.add_argument("--export-key", type=Path, metavar="PEM", help="The key of the exports.")
    parser.add_argument("--head", type=Path, metavar="NOTE", help="A published checkpoint.")
    parser.add_argument("--stamp", type=Path, metavar="FILE", help="The stamp of the checkpoint (RFC 3161).")
    parser.add_argument("--authority", type=Path, metavar="PEM", help="The certificate of the timestamp authority.")
    parser.add_argument("--figures", action="store_true", help="Print the calls that the seals count.")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if bool(options.stamp) is not bool(options.authority) or (options.stamp and not options.head):
        parser.error("--stamp and --authority go together, and with --head")
    stamp = Stamp(options.stamp, options.authority) if options.stamp else None
    try:
        report = verify(options.file, options.public_key, options.export_key, options.head, stamp)
    except (NotProvenError, OSError) as error:
        sys.exit(f"Not proven: {error}")
    figures = [f"{name.replace('#', '  ')}  {calls}" for name, calls in report.figures.items() if options.figures]
    print(json.dumps(asdict(report)) if options.json else "\n".join([*figures, describe(report)]))  # noqa: T201 - a command


if __name__ == "__main__":
    main()
