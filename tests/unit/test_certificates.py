"""The certificates for mutual TLS with the simulated CAF, made on each machine."""

import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from sandbox.certificates import VALIDITY, Certificates, ensure


def read(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_certificates_are_made_once(tmp_path: Path) -> None:
    made = ensure(tmp_path / "local" / "certificates").secret()
    assert ensure(tmp_path / "local" / "certificates").secret() == made


def test_processes_that_start_together_share_the_same_certificates(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        secrets = {certificates.secret() for certificates in threads.map(ensure, [tmp_path / "certificates"] * 8)}
    assert len(secrets) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["certificates"]


def test_only_their_owner_can_read_keys_and_the_authoritys_key_is_not_kept(certificates: Certificates) -> None:
    folder = certificates.authority.parent
    assert folder.stat().st_mode & 0o777 == 0o700
    files = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    names = ("authority.pem", "client.key", "client.pem", "server.key", "server.pem")
    assert files == dict.fromkeys(names, 0o600)


def test_certificates_are_valid_for_825_days(certificates: Certificates) -> None:
    for path in (certificates.authority, certificates.server, certificates.client):
        certificate = read(path)
        # From an hour ago: a machine's clock may be slow.
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == VALIDITY + timedelta(hours=1)


def test_the_secret_holds_the_certificate_its_key_and_the_authority(certificates: Certificates) -> None:
    assert json.loads(certificates.secret()) == {
        "certificate": certificates.client.read_text(),
        "key": certificates.client_key.read_text(),
        "authority": certificates.authority.read_text(),
    }


@pytest.mark.parametrize(("leaf", "purpose"), [("server", "serverAuth"), ("client", "clientAuth")])
def test_a_certificate_has_a_single_purpose_and_cannot_sign(
    certificates: Certificates, leaf: str, purpose: str
) -> None:
    extensions = read(getattr(certificates, leaf)).extensions
    assert [usage._name for usage in extensions.get_extension_for_class(x509.ExtendedKeyUsage).value] == [purpose]  # noqa: SLF001 - the only name it has
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign


def test_strict_verification_accepts_the_certificates(certificates: Certificates) -> None:
    client = ssl.create_default_context(cafile=str(certificates.authority))  # RFC 5280, strictly, since Python 3.13
    assert client.verify_flags & ssl.VERIFY_X509_STRICT
    client.load_cert_chain(certificates.client, certificates.client_key)
    server = certificates.server_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1"),
        server.wrap_bio(outgoing, incoming, server_side=True),
    )
    for end in ends * 2:
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert ends[0].getpeercert()
    assert ends[1].getpeercert()
