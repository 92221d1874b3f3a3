"""Every night a timestamp authority (RFC 3161) stamps the last checkpoint: it proves offline when the head existed."""

import importlib
import json
import re
from base64 import encodebytes
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner, Result
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from api_particulier.audit.bucket import Bucket
from ops.audit import Period
from ops.cli.main import main
from ops.export import export
from tests.support import wire
from tests.support.function import new_environment
from tests.support.mailbox import install_mailbox
from tests.support.sealing import BUCKET, Sealing
from tests.support.timestamping import TimestampAuthority, authority_on_the_wire
from tests.support.wire import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimestampAuthority:
    return TimestampAuthority(tmp_path_factory.mktemp("authority") / "granting")


@pytest.fixture
def published(sealing: Sealing) -> Sealing:
    sealing.make_sealed_calls(1)
    sealing.publish(datetime.now(UTC))
    return sealing


@pytest.fixture
def night(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Verify the night with the authority of an address."""

    def run(url: str) -> None:
        monkeypatch.setenv("TIMESTAMP_URL", url)
        new_environment()
        importlib.import_module("functions.audit_verification.app").lambda_handler({}, None)

    return run


def stamps(sealing: Sealing) -> dict[str, bytes]:
    listed = sealing.s3.list_objects_v2(Bucket=BUCKET, Prefix="checkpoints/")["Contents"]
    keys = [found["Key"] for found in listed if found["Key"].endswith(".tsr")]
    return {key: sealing.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() for key in keys}


def test_the_last_checkpoint_is_stamped_kept_and_mailed_with_its_stamp(
    published: Sealing, authority: TimestampAuthority, night: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DPO_MAIL", "dpo@exemple.fr")
    mailbox = install_mailbox(monkeypatch)
    asked: list[bytes] = []

    def answer(question: bytes) -> bytes:
        asked.append(question)
        return authority.answer(question)

    with authority_on_the_wire(answer) as url:
        night(url)
        night(url)
    (note,) = published.checkpoints()
    ((key, stamp),) = stamps(published).items()
    assert published.s3.head_object(Bucket=BUCKET, Key=f"{key.removesuffix('.tsr')}.txt")
    assert authority.verifies(note.encode(), stamp)
    assert not authority.verifies(f"{note} ".encode(), stamp)
    assert encodebytes(stamp).decode() in mailbox.mails[0].text
    assert all(sha256(note.encode()).digest() in question and len(question) < 80 for question in asked)
    assert asked[0] != asked[1]  # by its nonce
    published.make_sealed_calls(1)
    published.publish(datetime.now(UTC) + timedelta(hours=1))  # goes on from a checkpoint, not from its stamp
    assert [note.splitlines()[1] for note in published.checkpoints()] == ["1", "2"]


def test_an_answer_that_is_no_stamp_of_the_checkpoint_is_not_kept_and_its_night_does_not_count(
    published: Sealing,
    authority: TimestampAuthority,
    night: Callable[[str], None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (note,) = published.checkpoints()
    refusing = TimestampAuthority(tmp_path / "refusing", digests="sha512")

    def about(data: bytes, *, algorithm: HashAlgorithm = HashAlgorithm.SHA256, nonce: bool = True) -> Server:
        """Answer another question than the one that is asked."""
        question = TimestampRequestBuilder(data, algorithm, nonce=nonce).build().as_bytes()
        authority_of_it = refusing if algorithm is HashAlgorithm.SHA512 else authority
        return partial(authority_on_the_wire, lambda _: authority_of_it.answer(question))

    servers: dict[str, tuple[Server, str]] = {
        "refused": (partial(authority_on_the_wire, refusing.answer), "refused: rejection"),
        "another note": (about(b"another"), "of another content"),
        "another hash": (about(note.encode(), algorithm=HashAlgorithm.SHA512), "of another content"),
        "another nonce": (about(note.encode()), "of another question"),
        "no nonce": (about(note.encode(), nonce=False), "of another question"),
        "cut": (partial(authority_on_the_wire, lambda question: authority.answer(question)[:-1]), "not understood"),
        "followed": (partial(authority_on_the_wire, lambda q: authority.answer(q) + b"x"), "not understood"),
        "garbage": (wire.answering(wire.response(b"<html>")), "not understood"),
        "empty": (wire.answering(wire.response(b"")), "not understood"),
        "status": (wire.answering(wire.response(b"", status=404)), "invalid_response"),
        "large": (wire.flooding, "invalid_response"),
        "slow": (wire.dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b"0"), "network_error"),
        "unreachable": (wire.refusing, "network_error"),
    }
    module = importlib.import_module("functions.audit_verification.app")
    found = {}
    for name, (server, _) in servers.items():
        with server() as url, pytest.raises(module.NotVerified):
            night(url)
        (line,) = [line for line in capsys.readouterr().out.splitlines() if '"head_not_stamped"' in line]
        found[name] = json.loads(line)["outcome"]
    assert found == {name: outcome for name, (_, outcome) in servers.items()}
    assert stamps(published) == {}


def test_a_stamp_that_cannot_be_kept_is_mailed_and_does_not_stop_the_verification(
    published: Sealing,
    authority: TimestampAuthority,
    night: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DPO_MAIL", "dpo@exemple.fr")
    mailbox = install_mailbox(monkeypatch)
    put = Bucket.put

    def refuse_stamps(bucket: Bucket, key: str, content: bytes, **more: Any) -> bool:
        if key.endswith(".tsr"):
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "PutObject")
        return put(bucket, key, content, **more)

    monkeypatch.setattr(Bucket, "put", refuse_stamps)
    published.make_sealed_calls(1)
    published.replace_seal(1, None)
    module = importlib.import_module("functions.audit_verification.app")
    with authority_on_the_wire(authority.answer) as url, pytest.raises(module.NotVerified):
        night(url)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["outcome"] for line in lines if line.get("event") == "head_not_stamped"] == ["not kept"]
    assert [line["place"] for line in lines if line.get("event") == "not_verified"] == ["seal 1"]
    assert "horodatage" in mailbox.mails[0].text
    assert stamps(published) == {}


# ── The file, offline ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Kept:
    """An export, a checkpoint, its stamp and the root of the authority, as an auditor has them."""

    file: Path
    head: Path
    stamp: Path
    authority: Path

    def verify(self, **changed: Path) -> Result:
        given = {"head": self.head, "stamp": self.stamp, "authority": self.authority} | changed
        options = [part for name, path in given.items() for part in (f"--{name}", str(path))]
        return CliRunner().invoke(main, ["audit", "verify-file", str(self.file), *options])


@pytest.fixture
def kept(published: Sealing, authority: TimestampAuthority, night: Callable[[str], None], tmp_path: Path) -> Kept:
    with authority_on_the_wire(authority.answer) as url:
        night(url)
    now = datetime.now(UTC)
    period = Period(now - timedelta(hours=1), now + timedelta(hours=1))
    done = export(published.deployment, period, tmp_path / "audit.json")
    (note,), (stamp,) = published.checkpoints(), stamps(published).values()
    made = Kept(done.file, tmp_path / "head.txt", tmp_path / "head.tsr", authority.root)
    made.head.write_bytes(note.encode())
    made.stamp.write_bytes(stamp)
    return made


def test_a_stamp_proves_offline_when_the_checkpoint_existed(kept: Kept, tmp_path: Path) -> None:
    proven = kept.verify()
    assert (proven.exit_code, proven.stderr) == (0, "")
    (moment,) = re.findall(r"The checkpoint existed on (\S+), by the stamp", proven.stdout)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(moment)) < timedelta(minutes=10)
    mailed, copied = tmp_path / "mailed.txt", tmp_path / "copied.txt"
    mailed.write_bytes(encodebytes(kept.stamp.read_bytes()))
    copied.write_bytes(b"\r\n" + kept.head.read_bytes().rstrip().replace(b"\n", b"\r\n"))
    assert kept.verify(stamp=mailed, head=copied).stdout == proven.stdout


def test_a_stamp_proves_neither_another_checkpoint_nor_by_another_authority(
    kept: Kept, published: Sealing, tmp_path: Path
) -> None:
    stamp = kept.stamp.read_bytes()
    moment = stamp.index(b"20", stamp.index(sha256(kept.head.read_bytes()).digest()))
    other, backdated, garbage = tmp_path / "other", tmp_path / "backdated", tmp_path / "garbage"
    backdated.write_bytes(stamp[:moment] + b"19" + stamp[moment + 2 :])
    garbage.write_text("x")
    other.write_text(published.sign_note(kept.head.read_text().partition("\n\n")[0] + "\nother\n"))
    refused = [
        kept.verify(stamp=backdated),
        kept.verify(head=other),
        kept.verify(authority=TimestampAuthority(tmp_path / "another").root),
    ]
    assert [done.exit_code for done in refused] == [1, 1, 1]
    assert all("the stamp is not the authority's, or of another checkpoint" in done.stderr for done in refused)
    assert "the stamp is none" in kept.verify(stamp=garbage).stderr
    assert "the certificate of the authority is no PEM" in kept.verify(authority=garbage).stderr


def test_a_stamp_needs_its_checkpoint_and_its_authority(kept: Kept) -> None:
    command = ["audit", "verify-file", str(kept.file)]
    for options in (["--stamp", kept.stamp], ["--authority", kept.authority, "--head", kept.head]):
        done = CliRunner().invoke(main, [*command, *map(str, options)])
        assert (done.exit_code, "--stamp and --authority go together" in done.stderr) == (2, True)
