"""Every hour the function of seals publishes the head of the chain as a signed note that standard tools can check."""

import importlib
from base64 import b64decode, b64encode
from contextlib import nullcontext
from datetime import UTC, datetime
from hashlib import sha256

import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from api_particulier.audit.merkle import root
from ops import audit
from tests.support.function import new_environment
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
