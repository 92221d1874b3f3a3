"""A timestamp authority: OpenSSL's, behind HTTP, with a certificate made for the tests."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from werkzeug.wrappers import Request, Response

from tests.support.wire import serve

_CONFIGURATION = """[tsa]
default_tsa = authority
[authority]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
signer_digest = sha256
default_policy = 1.2.3.4
digests = {digests}
"""


class TimestampAuthority:
    """An authority that stamps what it is asked to, with a root of its own."""

    def __init__(self, folder: Path, *, digests: str = "sha256") -> None:
        """Make its keys and certificates in a folder; ``digests`` are those that it grants."""
        if shutil.which("openssl") is None:
            pytest.skip("openssl is not on this machine")
        folder.mkdir()
        self._folder = folder
        self.root = folder / "root.pem"
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _certificate("Autorité d'essai", root_key, "Autorité d'essai", root_key)
        signer = _certificate("Horodatage d'essai", key, "Autorité d'essai", root_key, is_signer=True)
        self.root.write_bytes(root.public_bytes(Encoding.PEM))
        (folder / "signer.pem").write_bytes(signer.public_bytes(Encoding.PEM))
        (folder / "signer.key").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        (folder / "configuration").write_text(_CONFIGURATION.format(folder=folder, digests=digests))

    def answer(self, question: bytes) -> bytes:
        """Return the answer to a question, DER."""
        (self._folder / "question").write_bytes(question)
        command = ("openssl", "ts", "-reply", "-config", "configuration", "-queryfile", "question")
        return subprocess.run(command, cwd=self._folder, capture_output=True, check=True).stdout

    def verifies(self, note: bytes, stamp: bytes) -> bool:
        """Return whether ``openssl ts -verify`` takes a stamp for that of a note."""
        (self._folder / "note").write_bytes(note)
        (self._folder / "stamp").write_bytes(stamp)
        command = ("openssl", "ts", "-verify", "-data", "note", "-in", "stamp", "-CAfile", "root.pem")
        return subprocess.run(command, cwd=self._folder, capture_output=True, check=False).returncode == 0


@contextmanager
def authority_on_the_wire(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """Yield the address at which ``answer`` gives the answers to questions."""

    @Request.application
    def respond(request: Request) -> Response:
        assert (request.method, request.mimetype) == ("POST", "application/timestamp-query")
        return Response(answer(request.get_data()), mimetype="application/timestamp-reply")

    with serve(respond) as url:
        yield f"{url}/tsr"


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, is_signer: bool = False
) -> x509.Certificate:
    def named(common_name: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])

    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(named(issuer), named(name), key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=not is_signer, path_length=None), critical=True)
    )
    if is_signer:
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    return made.sign(by, SHA256())
