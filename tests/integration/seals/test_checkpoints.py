"""Every hour the function of seals publishes the head of the chain as a signed note that standard tools can check."""

import importlib
from base64 import b64decode, b64encode
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
import time_machine
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from api_particulier.audit import archive
from api_particulier.audit.merkle import root
from ops import audit
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support.function import new_environment
from tests.support.history import History, noon
from tests.support.mailbox import install_mailbox
from tests.support.sealing import BUCKET, Sealing

pytestmark = pytest.mark.slow


def hour(number: int) -> datetime:
    return datetime(2026, 11, 27, number, tzinfo=UTC)


def expected_root(sealing: Sealing, size: int) -> str:
    leaves = [sha256(b"\0" + bytes.fromhex(seal.hash)).hexdigest() for seal in sealing.seals()[:size]]
    return b64encode(bytes.fromhex(root(leaves))).decode()


def test_a_checkpoint_is_a_signed_note_of_the_tree_of_seals(sealing: Sealing) -> None:
    for _ in range(3):
        sealing.make_sealed_calls(1)
    sealing.publish(hour(9))
    (note,) = sealing.checkpoints()
    text, _, signature = note.partition("\n\n")
    origin, size, head, *_ = text.splitlines()
    assert (origin, size, head) == ("api-particulier-local/seals", "3", expected_root(sealing, 3))
    dash, name, encoded = signature.split()
    assert (dash, name) == ("\N{EM DASH}", origin)
    key = load_pem_public_key(audit.public_key(sealing.deployment).encode())
    assert isinstance(key, EllipticCurvePublicKey)
    signed = b64decode(encoded)
    assert signed[:4] == sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()[:4]
    key.verify(signed[4:], f"{text}\n".encode(), ECDSA(SHA256()))


def test_each_hour_goes_on_from_the_one_before_and_an_hour_without_a_seal_has_none(sealing: Sealing) -> None:
    sealing.publish(hour(7))
    assert sealing.checkpoints() == []
    for number in range(8, 15):
        sealing.make_sealed_calls(1)
        sealing.publish(hour(number))
        sealing.publish(hour(number))
    sealing.publish(hour(15))
    notes = [note.splitlines()[1:3] for note in sealing.checkpoints()]
    assert notes == [[f"{size}", expected_root(sealing, size)] for size in range(1, 8)]


def test_a_checkpoint_that_we_did_not_sign_is_not_gone_on_from(sealing: Sealing) -> None:
    sealing.make_sealed_calls(1)
    sealing.publish(hour(8))
    (note,) = sealing.checkpoints()
    forged = note.replace("seal 1\n", "seal 0\n")
    sealing.s3.put_object(Bucket=BUCKET, Key="checkpoints/2026-11-27T09.txt", Body=forged.encode())
    sealing.make_sealed_calls(1)
    sealing.publish(hour(10))
    assert sealing.checkpoints()[-1].splitlines()[1:3] == ["2", expected_root(sealing, 2)]


def test_the_last_checkpoint_is_mailed_to_the_data_protection_officer(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch
) -> None:
    mailbox = install_mailbox(monkeypatch)
    sealing.make_sealed_calls(1)
    sealing.publish(hour(8))
    keep_head = importlib.import_module("functions.audit_verification.app").keep_head
    now = hour(9)
    keep_head(now)
    assert mailbox.mails == []  # no address is given
    monkeypatch.setenv("DPO_MAIL", "dpo@exemple.fr")
    new_environment()
    keep_head(now)
    (message,) = mailbox.mails
    (note,) = sealing.checkpoints()
    assert message.to == ("dpo@exemple.fr",)
    assert note in message.text


def test_a_verification_goes_on_from_a_checkpoint_that_still_holds(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Deployment, "on_aws", lambda *_: sealing.deployment)
    history, file = History(sealing), tmp_path / "note.txt"
    for day in ("2026-11-01", "2026-11-02", "2026-11-20", "2026-11-21"):
        history.seal([history.record(noon(day))], noon(day) + timedelta(seconds=30))
    archive.run(history.bucket, noon("2026-11-23"))
    sealing.publish(hour(9))
    (note,) = sealing.checkpoints()
    later = history.seal([history.record(noon("2026-11-22"))], noon("2026-11-22") + timedelta(seconds=30))
    archive.archive_day(history.bucket, date(2026, 11, 22))

    def verify(text: str, *options: str) -> Result:
        file.write_text(text)
        with time_machine.travel(noon("2026-11-27"), tick=False):
            return CliRunner().invoke(main, ["audit", "verify", "--no-wait", "--since", str(file), *options])

    def why(text: str) -> str:
        refused = verify(text)
        assert refused.exit_code == 1
        return refused.stderr.partition("Error: ")[2].partition(": nothing was verified")[0]

    assert verify(note).stdout == "3 entries, 3 seals; 0 entries not sealed yet.\n"  # of five: two are long verified
    assert verify(note, "--from", "2026-11-01").exit_code == 2
    text = f"{note.partition('\n\n')[0]}\n"
    assert why(note.replace("seal 4", "seal 3")) == "the checkpoint: the signature is wrong"
    assert why(sealing.sign_note(text, "ExportKeyId")) == "the checkpoint: the signature is wrong"
    other = sealing.sign_note(text.replace("-local/", "-production/"))
    assert why(other) == "the checkpoint is of another chain, api-particulier-production/seals"
    assert why(sealing.sign_note(text.replace("peak ", "peak 00", 1))) == "the checkpoint: its root is not its tree's"
    assert why("x").startswith("the checkpoint is none")
    history.replace(archive.day_key(date(2026, 11, 22)), b"x")
    assert "archive/2026-11-22/manifest.json" in verify(note).stdout
    sealing.replace_seal(5, replace(later, header={**later.header, "previous": "0" * 64}).to_bytes())
    assert "seal 5: the signature is wrong" in verify(note).stdout
    sealing.replace_seal(4, sealing.seals()[2].to_bytes())
    assert why(note) == "seal 4: it is not the one that the checkpoint fixes"
    sealing.replace_seal(4, None)
    assert why(note) == "seal 4: it is not the one that the checkpoint fixes"


@pytest.mark.parametrize("fails", [False, True])
def test_a_night_whose_head_cannot_be_mailed_does_not_count_as_verified(
    sealing: Sealing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, fails: bool
) -> None:
    monkeypatch.setenv("DPO_MAIL", "dpo@exemple.fr")
    install_mailbox(monkeypatch).fails = fails
    sealing.make_sealed_calls(1)
    sealing.publish(hour(8))
    module = importlib.import_module("functions.audit_verification.app")
    night = time_machine.travel(hour(9), tick=False)
    with night, pytest.raises(module.NotVerified) if fails else nullcontext():
        module.lambda_handler({}, None)
    logged = capsys.readouterr().out
    assert ("DaysVerified" in logged, "notice_not_sent" in logged) == (not fails, fails)
