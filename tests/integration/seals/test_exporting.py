"""The export of the audit, which the public key alone proves."""

import csv
import json
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from dataclasses import astuple
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ops import audit, verify_file
from ops.audit import Period
from ops.cli.main import main
from ops.deployment import Deployment
from ops.export import Exported, ExportError, export
from ops.verify_file import NotProvenError, verify
from tests.support.function import call_api
from tests.support.sealing import Sealing, stream_record
from tests.support.tax_service import TaxService
from tests.support.template import ROOT

pytestmark = pytest.mark.slow


def today() -> Period:
    return Period(datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1))


@pytest.fixture
def records(sealing: Sealing) -> list[dict[str, Any]]:
    """Records of two tokens in three seals: 3 and 2 of a habilitation, and between them 1 of another."""
    theirs = {"habilitation": "habilitation-9", "purpose": "Tarification de la cantine", "id": "jeton-1"}
    found = [
        sealing.make_sealed_calls(3, **theirs),
        sealing.make_sealed_calls(1, id="jeton-2"),
        sealing.make_sealed_calls(2, **theirs),
    ]
    return [record for sealed in found for record in sealed]


@pytest.fixture
def write(sealing: Sealing, records: list[dict[str, Any]], tmp_path: Path) -> Callable[..., Exported]:
    assert records

    def written(name: str = "audit.json", **chosen: Any) -> Exported:
        return export(sealing.deployment, today(), tmp_path / name, **chosen)

    return written


@pytest.fixture
def key(sealing: Sealing, tmp_path: Path) -> Path:
    path = tmp_path / "key.pem"
    path.write_text(audit.public_key(sealing.deployment))
    return path


@pytest.fixture
def export_key(sealing: Sealing, tmp_path: Path) -> Path:
    path = tmp_path / "export-key.pem"
    path.write_text(audit.public_key(sealing.deployment, "ExportKeyId"))
    return path


def test_a_record_has_the_purpose_of_its_habilitation(records: list[dict[str, Any]]) -> None:
    assert (records[0]["habilitation"], records[0]["purpose"]) == ("habilitation-9", "Tarification de la cantine")
    assert "purpose" not in records[3]


def test_a_whole_period_is_proven_with_the_public_keys(
    write: Callable[..., Exported], key: Path, export_key: Path
) -> None:
    done = write()
    assert (done.entries, done.seals, done.pending) == (6, 3, 0)
    report = verify(done.file, key, export_key)
    assert (report.entries, report.seals, report.complete, report.signed, report.given_key) == (6, 3, 3, True, True)
    assert re.fullmatch(r"[0-9a-f]{64}", report.fingerprint)
    assert report.fingerprint != report.export_fingerprint
    assert not verify(done.file).given_key
    assert not verify(done.file, key).given_key
    with pytest.raises(NotProvenError, match="seal 1: the signature is wrong"):  # who signs exports seals nothing
        verify(done.file, export_key, export_key)
    with pytest.raises(NotProvenError, match=r"^the file .*: the signature is wrong"):
        verify(done.file, key, key)
    assert done.file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"token": "jeton-2"}, 1),
        ({"token": "jeton-1"}, 5),
        ({"habilitation": "habilitation-9"}, 5),
        ({"token": "x"}, 0),
    ],
)
def test_a_token_or_a_habilitation_is_exported_alone(
    write: Callable[..., Exported], key: Path, chosen: dict[str, str], count: int
) -> None:
    done = write(**chosen)
    assert (done.entries, verify(done.file, key).entries) == (count, count)
    for exported in json.loads(done.file.read_text())["entries"]:
        assert chosen.items() <= exported["entry"].items()


def test_a_sheet_has_every_record_and_is_proven_by_the_seals_of_its_proof(
    write: Callable[..., Exported], key: Path, export_key: Path, records: list[dict[str, Any]]
) -> None:
    done = write("audit.csv", habilitation="habilitation-9", as_csv=True)
    with done.file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [records[index]["id"] for index in (0, 1, 2, 4, 5)]
    assert [(row["seal"], row["index"]) for row in rows] == [("1", "0"), ("1", "1"), ("1", "2"), ("3", "0"), ("3", "1")]
    assert (rows[0]["organisation"], rows[0]["purpose"]) == ("VILLE EXEMPLE", "Tarification de la cantine")
    assert verify(done.file, key, export_key) == verify(done.proof, key, export_key)
    assert verify(done.file, key).seals == done.seals == 3
    table = done.file.read_bytes()
    third = f"entry {records[2]['id']}: the table is not what its proof holds"
    for changed, what in (
        (table.replace(b",id,", b",ID,", 1), "the names of the columns: the table is not what its proof holds"),
        (table.replace(b",1,2\r\n", b",1,3\r\n"), third),
        (b"\r\n".join(table.split(b"\r\n")[:3]) + b"\r\n", third),
        (table.replace(b"\r\n", b"\n"), "the names of the columns: the table is not what its proof holds"),
        (table + table.splitlines(keepends=True)[-1], "the table goes on after the last entry of its proof"),
    ):
        done.file.write_bytes(changed)
        with pytest.raises(NotProvenError, match=f"^{what}$"):
            verify(done.file, key)
    done.file.write_bytes(table)
    whole = done.proof.read_text()
    tampered(lambda e: e["entries"][2]["entry"].update(status=201))(done.proof)
    with pytest.raises(NotProvenError, match=rf"^entry {records[2]['id']}: it is not what was sealed$"):
        verify(done.file, key)
    for content, what in (
        ("{}", "the file is no export that this program knows"),
        ("x", "the file is not the JSON of"),
    ):
        done.proof.write_text(content)
        with pytest.raises(NotProvenError, match=f"^{what}"):
            verify(done.file, key)
    done.proof.write_text(whole)
    done.signature.unlink()
    assert not verify(done.file, key).signed
    done.proof.unlink()
    with pytest.raises(NotProvenError, match=r"^a table is proven by audit.csv.json, which is not beside it$"):
        verify(done.file, key)


def test_a_sheet_runs_no_formula_of_a_caller(sealing: Sealing, tmp_path: Path) -> None:
    call_api("introspect/introspect", key=sealing.cloud.issue_key("x"), headers={"X-User": "=cmd|' /C calc'!A0"})
    sealing.deliver(map(stream_record, sealing.cloud.audit_records()))
    done = export(sealing.deployment, today(), tmp_path / "audit.csv", as_csv=True)
    assert ",'=cmd|" in done.file.read_text()


def tampered(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def tamper(file: Path) -> None:
        export = json.loads(file.read_text())
        change(export)
        file.write_text(json.dumps(export))

    return tamper


def test_beside_its_signature_a_changed_record_is_named(
    write: Callable[..., Exported], key: Path, records: list[dict[str, Any]]
) -> None:
    done = write()
    whole = done.file.read_bytes()
    tampered(lambda e: e["entries"][2]["entry"].update(status=201))(done.file)
    with pytest.raises(NotProvenError, match=rf"^entry {records[2]['id']}: it is not what was sealed$"):
        verify(done.file, key)
    done.file.write_bytes(whole)
    tampered(lambda e: e["entries"].pop())(done.file)
    with pytest.raises(NotProvenError, match=r"^the file \(each of its entries is as it was sealed\): the signature"):
        verify(done.file, key)


@pytest.mark.parametrize(
    ("tamper", "what"),
    [
        (tampered(lambda e: e["entries"][2]["entry"].update(status=201)), r"entry \S+: it is not what was sealed"),
        (tampered(lambda e: e["entries"][2]["entry"].update(x="x")), r"entry \S+: it is not what was sealed"),
        (tampered(lambda e: e["entries"][2]["path"].clear()), r"entry \S+: it is not what was sealed"),
        (tampered(lambda e: e["entries"][2].update(index=0)), r"entry \S+: it is not in its place"),
        (tampered(lambda e: e["entries"][2].update(index=9)), r"entry \S+: it is not in its place"),
        (tampered(lambda e: e["entries"].reverse()), r"entry \S+: it is not in its place"),
        (tampered(lambda e: e["entries"].insert(1, e["entries"][0])), r"entry \S+: it is not in its place"),
        (tampered(lambda e: e["entries"][2].update(seal=7)), r"entry \S+: its seal is not in the file"),
        (tampered(lambda e: e["seals"].pop(1)), "seal 2: it is missing"),
        (tampered(lambda e: e["seals"].reverse()), "seal 4: it is missing"),
        (tampered(lambda e: e["seals"][1]["header"].update(root="00")), "seal 2: the signature is wrong"),
        (tampered(lambda e: e["seals"][1].update(signature="x")), "seal 2: the signature is wrong"),
        (tampered(lambda e: e["seals"][1]["header"].update(format="x")), "seal 2: another seal is in its place"),
        (tampered(lambda e: e.update(format="x")), "the file is no export that this program knows"),
        (tampered(lambda e: e.pop("seals")), "the file is not laid out as an export is"),
        (tampered(lambda e: e["entries"][0].update(path=["x"])), "the file is not laid out as an export is"),
        (lambda f: f.write_text(f.read_text()[:-3]), "the file is not the JSON of an export"),
        (lambda f: f.write_text('{"a": 1, "a": 2}'), "the file is not the JSON of an export"),
        (lambda f: f.write_text('{"a": 1.5}'), "the file is not the JSON of an export"),
    ],
)
def test_every_change_of_a_file_is_named(
    write: Callable[..., Exported], key: Path, tamper: Callable[[Path], object], what: str
) -> None:
    done = write()
    tamper(done.file)
    with pytest.raises(NotProvenError, match=f"^{what}$"):
        verify(done.file, key)
    done.signature.unlink()
    with pytest.raises(NotProvenError, match=f"^{what}$"):
        verify(done.file, key)


def test_a_file_without_its_signature_proves_its_records_and_not_that_none_is_missing(
    write: Callable[..., Exported], key: Path
) -> None:
    done = write()
    done.signature.unlink()
    tampered(lambda export: export["entries"].pop(1))(done.file)
    report = verify(done.file, key)
    assert (report.entries, report.complete, report.signed) == (5, 2, False)
    assert "entries may be left out" in verify_file.describe(report)


def test_another_key_proves_nothing(write: Callable[..., Exported], key: Path) -> None:
    done = write()
    for curve, what in ((ec.SECP256R1(), "seal 1: the signature is wrong"), (ec.SECP384R1(), "not of P-256")):
        public = ec.generate_private_key(curve).public_key()
        key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        with pytest.raises(NotProvenError, match=what):
            verify(done.file, key)
    key.write_text("x")
    with pytest.raises(NotProvenError, match="the public key is no PEM"):
        verify(done.file, key)


OFFLINE = """
import runpy, socket, sys
def refuse(*_, **__): raise AssertionError("a socket")
socket.socket = socket.create_connection = socket.getaddrinfo = refuse
for name in ("boto3", "botocore", "requests", "click", "api_particulier", "ops"): sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_the_verifier_runs_alone_without_the_network(write: Callable[..., Exported], key: Path, tmp_path: Path) -> None:
    done = write()
    alone = tmp_path / "elsewhere" / "verify_file.py"
    alone.parent.mkdir()
    alone.write_bytes((ROOT / "ops/verify_file.py").read_bytes())

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", OFFLINE, *map(str, (alone, done.file, "--public-key", key))]
        return subprocess.run(command, cwd=alone.parent, capture_output=True, text=True, check=False)

    assert run().stdout.startswith("6 entries, 3 seals: as they were signed.\n")
    done.file.write_text(done.file.read_text().replace('"status": 200', '"status": 201', 1))
    first = json.loads(done.file.read_text())["entries"][0]["entry"]["id"]
    assert (run().returncode, run().stderr) == (1, f"Not proven: entry {first}: it is not what was sealed\n")


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"organisation": "x"}, "was changed since it was sealed"), ({"id": "0"}, None), ({"id": "f"}, None)],
)
def test_a_record_changed_since_its_seal_is_not_exported(
    sealing: Sealing, records: list[dict[str, Any]], tmp_path: Path, changes: dict[str, str], what: str | None
) -> None:
    sealing.cloud.audit.put_item(Item=records[1] | changes)
    period = today() if what else Period()
    with pytest.raises(ExportError, match=what or "is in no seal"):
        export(sealing.deployment, period, tmp_path / "audit.json")
    assert not (tmp_path / "audit.json").exists()


def test_a_record_without_a_seal_yet_is_left_out_and_counted(sealing: Sealing, write: Callable[..., Exported]) -> None:
    sealing.make_calls(2)
    assert (write().entries, write().pending) == (6, 2)


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def run(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(Deployment, "on_aws", lambda *_: sealing.deployment)

    def invoke(*command: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(main, ["audit", *command], input=typed)

    return invoke


def test_the_command_verifies(sealing: Sealing, records: list[dict[str, Any]], run: Callable[..., Result]) -> None:
    passed = run("verify")
    assert (passed.exit_code, passed.output) == (0, "6 entries, 3 seals; 0 entries not sealed yet.\n")
    sealing.cloud.audit.delete_item(Key={name: records[2][name] for name in ("token_day", "id")})
    failed = run("verify", "--json")
    assert failed.exit_code == 1
    place = f"entry {records[2]['token_day']}/{records[2]['id']}"
    assert json.loads(failed.stdout)["findings"] == [{"place": place, "what": "it was deleted since seal 1"}]
    assert f"first {place}: it was deleted since seal 1" in failed.stderr


def test_the_command_searches_by_token(records: list[dict[str, Any]], run: Callable[..., Result]) -> None:
    found = json.loads(run("search", "--token", "jeton-1", "--json").stdout)
    assert [record["id"] for record in found] == [records[index]["id"] for index in (0, 1, 2, 4, 5)]
    assert "VILLE EXEMPLE" in run("search", "--token", "jeton-2").stdout
    assert json.loads(run("search", "--token", "jeton-1", "--to", "2020-01-01", "--json").stdout) == []


@pytest.mark.parametrize(
    ("options", "typed"),
    [
        (("--numero-fiscal", "2690000000001"), None),
        (("--subject",), "26 90 000 000 001\n"),
    ],
)
def test_the_command_searches_by_citizen_and_does_not_repeat_the_number(
    sealing: Sealing, dgfip: TaxService, run: Callable[..., Result], options: tuple[str, ...], typed: str | None
) -> None:
    assert dgfip.url
    key = sealing.cloud.issue_key("dgfip_avis_imposition")
    for number in ("2690000000001", "2690000000002"):
        asked = call_api("avis_imposition/v2", key=key, numeroFiscal=number, referenceAvis="2690000000099")
        assert asked.status == 200
    done = run("search", *options, "--json", typed=typed)
    found, act = json.loads(done.stdout)
    assert found["id"] == sealing.cloud.audit_records()[0]["id"]
    assert (act["kind"], act["route"]) == ("operator", "audit search")  # the citizen sees it too
    assert not re.search(r"26\s?90000000001", done.output)  # a shorter part of it stands by chance in some hash


def test_the_command_requires_one_token_or_one_citizen(run: Callable[..., Result]) -> None:
    for options in ((), ("--token", "x", "--numero-fiscal", "2690000000001"), ("--numero-fiscal", "269")):
        refused = run("search", *options)
        assert refused.exit_code == 2
        assert "269" not in refused.output
    assert run("search", "--numero-allocataire", "2600001").exit_code == 2
    assert run("search", "--subject", typed="\n2600001\n00000\n").exit_code == 0
    assert run("verify", "--from", "x").exit_code == 2


def test_the_command_exports_and_verifies_a_file(
    records: list[dict[str, Any]], run: Callable[..., Result], tmp_path: Path
) -> None:
    day = records[0]["at"][:10]
    key, file = tmp_path / "key.pem", tmp_path / "audit.csv"
    key.write_text(run("public-key").stdout)
    period = ("--from", day, "--to", f"{datetime.fromisoformat(day) + timedelta(days=1):%Y-%m-%d}")
    written = run("export", *period, "--format", "csv", "--output", str(file), "--json")
    assert json.loads(written.stdout)["entries"] == 6
    files = {name: f"{file}{end}" for name, end in (("file", ""), ("proof", ".json"), ("signature", ".json.sig"))}
    assert files.items() <= json.loads(written.stdout).items()
    proven = run("verify-file", str(file), "--public-key", str(key))
    assert (proven.exit_code, proven.stdout.splitlines()[0]) == (0, "6 entries, 3 seals: as they were signed.")
    file.write_text("x")
    assert run("verify-file", str(file)).exit_code == 1
    file.unlink()
    assert f"{file}.json exists already" in run("export", *period, "--output", str(file)).stderr
    assert run("export", *period, "--token", "a", "--habilitation", "b", "--output", str(file)).exit_code == 2


def signed(sealing: Sealing, file: Path, key: str, kind: str) -> dict[str, str]:
    """Return what a signature file holds about a file, without the key."""
    digest = sha256(file.read_bytes()).hexdigest()
    signature = sealing.deployment.kms.sign(
        KeyId=sealing.deployment.outputs[key],
        Message=f"{kind}\n{digest}".encode(),
        SigningAlgorithm="ECDSA_SHA_256",
    )["Signature"]
    return {"format": kind, "sha256": digest, "signature": b64encode(signature).decode()}


def test_a_sheet_without_its_proof_is_proven_if_the_key_of_the_seals_signed_it_as_before(
    sealing: Sealing, write: Callable[..., Exported], key: Path, export_key: Path
) -> None:
    done = write("audit.csv", as_csv=True)
    done.proof.unlink()
    signature = verify_file.signature_of(done.file)
    former = "api-particulier/signature/1"
    signature.write_text(json.dumps(signed(sealing, done.file, "SealKeyId", former) | {"public_key": key.read_text()}))
    report = verify(done.file, key)
    assert (report.entries, report.seals, report.signed, report.given_key) == (6, 0, True, True)
    assert "\nNo seal proves them: this table" in verify_file.describe(report)
    for kind, what in (
        (verify_file.SIGNATURE, "a table is proven by audit.csv.json, which is not beside it"),
        (former, "the file: the signature is wrong"),
    ):  # by who signs exports
        described = signed(sealing, done.file, "ExportKeyId", kind)
        signature.write_text(json.dumps(described | {"public_key": export_key.read_text()}))
        with pytest.raises(NotProvenError, match=f"^{what}$"):
            verify(done.file, key, export_key)


def test_an_export_signed_with_the_key_of_the_seals_as_before_is_still_proven(
    sealing: Sealing, write: Callable[..., Exported], key: Path
) -> None:
    done = write()
    described = signed(sealing, done.file, "SealKeyId", "api-particulier/signature/1")
    done.signature.write_text(json.dumps(described | {"public_key": key.read_text()}))
    report = verify(done.file, key)
    assert (report.signed, report.given_key, report.entries) == (True, True, 6)
    done.signature.write_text(json.dumps(described | {"format": verify_file.SIGNATURE, "public_key": key.read_text()}))
    with pytest.raises(NotProvenError, match=r"^the file .*: the signature is wrong"):
        verify(done.file, key)


def test_a_checkpoint_fixes_the_seals_of_an_export(
    sealing: Sealing, write: Callable[..., Exported], key: Path, tmp_path: Path, run: Callable[..., Result]
) -> None:
    """The chain written again since, with the key of the seals, is not the one that was published."""
    sealing.publish(datetime.now(UTC))
    head = tmp_path / "head.txt"
    head.write_text(sealing.checkpoints()[0])
    done = write("one.json", token="jeton-2")
    with pytest.raises(NotProvenError, match=r"^seal 3 of the checkpoint is not in the file: export it again"):
        verify(done.file, key, head=head)
    days = [f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1)]
    chosen = ("--from", days[0], "--to", days[1], "--token", "jeton-2", "--output", str(tmp_path / "head.json"))
    assert run("export", *chosen, "--head", str(head)).exit_code == 0
    given = ("verify-file", str(tmp_path / "head.json"), "--public-key", str(key), "--head", str(head))
    assert "the checkpoint of seal 3 fixes" in run(*given).stdout
    number, last, text, _ = astuple(verify_file.read_head(head.read_text()))
    forged = text.replace(last, "0" * 64)
    head.write_text(head.read_text().replace(text, forged))
    assert "the checkpoint: the signature is wrong" in run(*given).stderr
    head.write_text(sealing.sign_note(forged))
    assert f"seal {number}: it is not the one that the checkpoint fixes" in run(*given).stderr
    head.write_text("x")
    assert "the checkpoint is none" in run(*given).stderr
