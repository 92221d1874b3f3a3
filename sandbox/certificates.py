"""Make the certificates for mutual TLS with the simulated CAF.

An authority signs the simulator's certificate, for loopback, and the API's client certificate. The authority's key is
not kept, so that it can sign nothing else. They are valid for 825 days; remove the folder to have new ones made.
"""

import json
import shutil
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALIDITY: Final = timedelta(days=825)


@dataclass(frozen=True)
class Certificates:
    """The paths of the PEM files; only their owner can read the keys."""

    authority: Path
    server: Path
    server_key: Path
    client: Path
    client_key: Path

    @classmethod
    def in_directory(cls, directory: Path) -> "Certificates":
        """Return the paths in a directory, even if the files do not exist yet."""
        names = ("authority.pem", "server.pem", "server.key", "client.pem", "client.key")
        return cls(*(directory / name for name in names))

    def secret(self) -> str:
        """Return the JSON that the template's secret ``CafCertificate`` holds."""
        return json.dumps(
            {
                "certificate": self.client.read_text(),
                "key": self.client_key.read_text(),
                "authority": self.authority.read_text(),
            }
        )

    def server_context(self) -> ssl.SSLContext:
        """Return the TLS context of a server that accepts only the client certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.server, self.server_key)
        context.load_verify_locations(self.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def ensure(directory: Path) -> Certificates:
    """Return the certificates of a directory, made at the first call.

    Processes may call at the same time.
    """
    if not directory.exists():
        directory.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(mkdtemp(prefix=directory.name, dir=directory.parent))  # only its owner can read it
        _make(Certificates.in_directory(temporary))
        try:
            temporary.rename(directory)  # atomic: all files, or those of another process that was first
        except OSError:
            shutil.rmtree(temporary)
    return Certificates.in_directory(directory)


def _make(paths: Certificates) -> None:
    authority_key = generate_private_key(SECP256R1())
    authority = _Name("API Particulier - autorité locale", authority_key)
    _write(paths.authority, authority.sign(authority, _AUTHORITY).public_bytes(Encoding.PEM))
    server = _Name("CAF simulée", generate_private_key(SECP256R1()))
    client = _Name("API Particulier", generate_private_key(SECP256R1()))
    for name, extensions, certificate, key in (
        (server, (_LOOPBACK, _SERVER), paths.server, paths.server_key),
        (client, (_CLIENT,), paths.client, paths.client_key),
    ):
        _write(certificate, authority.sign(name, (_LEAF, *extensions)).public_bytes(Encoding.PEM))
        _write(key, name.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


@dataclass(frozen=True)
class _Name:
    """The subject or the issuer of a certificate, with its key."""

    common_name: str
    key: EllipticCurvePrivateKey

    @property
    def subject(self) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.common_name)])

    def sign(self, holder: "_Name", extensions: tuple[x509.ExtensionType, ...]) -> x509.Certificate:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(holder.subject)
            .issuer_name(self.subject)
            .public_key(holder.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))  # a machine's clock may be slow
            .not_valid_after(now + VALIDITY)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(holder.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        for extension in extensions:
            critical = isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(self.key, SHA256())


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


_AUTHORITY: Final = (x509.BasicConstraints(ca=True, path_length=0), _usage(signs_certificates=True))
_LEAF: Final = _usage(signs_certificates=False)
_LOOPBACK: Final = x509.SubjectAlternativeName(
    [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
)
_SERVER: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
_CLIENT: Final = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
