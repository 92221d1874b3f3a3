"""Mutual TLS with the CAF: the authority that is trusted, our certificate, and the file of our private key."""

import json
import ssl
import tempfile
from pathlib import Path
from threading import Event
from typing import Any

import boto3
import pytest

from api_particulier.providers import caf as adapter
from api_particulier.settings import settings
from sandbox.certificates import Certificates, ensure
from tests.support.caf import (
    FILE,
    PEOPLE,
    ROUTES,
    UNREACHABLE,
    Caf,
    call_caf,
    drt_document,
    envelope,
    multipart,
)
from tests.support.cloud import Cloud
from tests.support.function import Response, shorten_timeouts
from tests.support.wire import answering, converse, read_request, response, silent

pytestmark = pytest.mark.slow


@pytest.fixture
def strangers(tmp_path: Path) -> Certificates:
    """Certificates of an authority that neither side trusts."""
    return ensure(tmp_path / "strangers")


def fill(secret: str, **changes: str) -> None:
    """Change some members of the secret."""
    client = boto3.client("secretsmanager")
    value = json.loads(client.get_secret_value(SecretId=secret)["SecretString"]) | changes
    client.put_secret_value(SecretId=secret, SecretString=json.dumps(value))


def assert_unreachable(answer: Response) -> None:
    """Check that the response does not give the cause."""
    assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, UNREACHABLE, "10")


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def context(request: pytest.FixtureRequest, certificates: Certificates) -> ssl.SSLContext:
    """The CAF's context, in each version of TLS: 1.3 refuses a client only once it has spoken."""
    made = certificates.server_context()
    made.minimum_version = made.maximum_version = request.param
    return made


def test_both_versions_of_tls_are_spoken(
    caf_secret: str, context: ssl.SSLContext, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caf_secret
    with Caf().serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        assert call_caf(key).status == 200


@pytest.fixture
def unknown_certificate(caf_secret: str, strangers: Certificates) -> None:
    fill(caf_secret, certificate=strangers.client.read_text(), key=strangers.client_key.read_text())


@pytest.mark.usefixtures("unknown_certificate")
@pytest.mark.parametrize("door", ROUTES)  # one door a test: all their failures together would open the circuit breaker
def test_a_caf_that_refuses_our_certificate_is_unreachable(
    context: ssl.SSLContext, key: str, door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Caf()
    with played.serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        assert_unreachable(call_caf(key, door))
    assert played.requests == []


def test_a_server_with_an_unknown_authority_receives_nothing(
    caf_secret: str, strangers: Certificates, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caf_secret
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # it would take any client
    context.load_cert_chain(strangers.server, strangers.server_key)
    played = Caf()
    with played.serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        assert_unreachable(call_caf(key))
    assert played.requests == []


def test_a_server_with_the_certificate_of_another_host_receives_nothing(
    caf_secret: str, certificates: Certificates, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caf_secret
    context = certificates.server_context()
    context.load_cert_chain(certificates.client, certificates.client_key)  # of the authority, and not of this address
    played = Caf()
    with played.serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        assert_unreachable(call_caf(key))
    assert played.requests == []


def test_only_the_authority_of_the_secret_is_trusted_even_after_a_first_call(
    caf_secret: str, certificates: Certificates, strangers: Certificates, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that also trusted the public authorities would send the numbers to the second server."""
    assert caf_secret
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(variable, str(strangers.authority))
    monkeypatch.setattr("requests.adapters.DEFAULT_CA_BUNDLE_PATH", str(strangers.authority))
    context, played = certificates.server_context(), Caf()
    with played.serve(context) as url:
        monkeypatch.setenv("CAF_URL", url)
        played.respond_with(multipart(envelope(drt_document(PEOPLE))))
        assert played.override is not None
        played.override.headers["Connection"] = "close"
        assert call_caf(key).status == 200
        context.load_cert_chain(strangers.server, strangers.server_key)
        assert_unreachable(call_caf(key))
        assert len(played.requests) == 1
        context.load_cert_chain(certificates.server, certificates.server_key)
        assert call_caf(key).status == 200


def test_the_authority_of_the_secret_may_be_an_intermediate_one(
    caf: Caf, caf_secret: str, certificates: Certificates, key: str
) -> None:
    fill(caf_secret, authority=signed_by_a_root(certificates.authority.read_bytes()))
    assert call_caf(key).status == 200
    assert len(caf.requests) == 1


def signed_by_a_root(authority: bytes) -> str:
    """Return the certificate of an authority, issued by another one instead of by itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import NameOID

    own = x509.load_pem_x509_certificate(authority)
    builder = (
        x509.CertificateBuilder()
        .subject_name(own.subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Racine")]))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(own.not_valid_before_utc)
        .not_valid_after(own.not_valid_after_utc)
    )
    for extension in own.extensions:
        if extension.oid != x509.AuthorityKeyIdentifier.oid:
            builder = builder.add_extension(extension.value, critical=extension.critical)
    return builder.sign(generate_private_key(SECP256R1()), SHA256()).public_bytes(Encoding.PEM).decode()


def test_a_caf_that_does_not_speak_tls_is_unreachable(
    caf_secret: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caf_secret
    shorten_timeouts(monkeypatch)
    with answering(response(b"plain"))() as url:
        monkeypatch.setenv("CAF_URL", url.replace("http://", "https://"))
        assert_unreachable(call_caf(key))


def test_a_caf_that_never_shakes_hands_is_unreachable(
    caf_secret: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert caf_secret
    shorten_timeouts(monkeypatch)
    with silent() as url:
        monkeypatch.setenv("CAF_URL", url.replace("http://", "https://"))
        assert_unreachable(call_caf(key))


@pytest.mark.parametrize(
    "dripping",
    [(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a"), (response(b"", headers={"Content-Length": "999999"}), b" ")],
    ids=["head", "body"],
)
@pytest.mark.usefixtures("caf_secret")
def test_a_response_that_drips_over_tls_ends_with_the_time_of_the_question(
    dripping: tuple[bytes, bytes], certificates: Certificates, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shorten_timeouts(monkeypatch)
    beginning, drop = dripping
    ended = Event()

    def drip(connection: Any, stopped: Event) -> None:
        with certificates.server_context().wrap_socket(connection, server_side=True) as secured:
            read_request(secured)
            secured.sendall(beginning)
            while not stopped.wait(0.02):
                try:
                    secured.sendall(drop)
                except OSError:
                    ended.set()
                    return

    with converse(drip) as url:
        monkeypatch.setenv("CAF_URL", url.replace("http://", "https://"))
        assert_unreachable(call_caf(key))
        assert ended.wait(10), "the connection was left open"


NOT_CONFIGURED = {
    "error": "not_configured",
    "reason": "The service has not been given its access yet",
    "message": "Le service n'a pas encore reçu les accès nécessaires à cet appel, veuillez réessayer plus tard",
}
SECRETS = {
    "is not filled": "",
    "is no JSON": "-----BEGIN CERTIFICATE-----",
    "is another JSON": '{"certificate": "", "key": ""}',
    "holds no certificate": '{"certificate": "a", "key": "b", "authority": "c"}',
}


@pytest.mark.parametrize("state", SECRETS)
def test_an_unusable_secret_is_not_configured_and_the_log_names_it(
    cloud: Cloud, key: str, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = boto3.client("secretsmanager")
    monkeypatch.setenv("CAF_SECRET_ID", made := client.create_secret(Name="caf")["ARN"])
    monkeypatch.setenv("CAF_URL", "https://127.0.0.1:9")
    if state != "is not filled":
        client.put_secret_value(SecretId=made, SecretString=SECRETS[state])
    answer = call_caf(key)
    assert (answer.status, answer.body, answer.headers["Retry-After"]) == (503, NOT_CONFIGURED, "300")
    assert (cloud.audit_records()[-1]["status"], cloud.audit_records()[-1]["released"]) == (503, [])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (why,) = [line for line in lines if line["event"] == "not_configured"]
    assert (why["secret"], why["outcome"]) == (
        "CafCertificate",
        "empty" if state == "is not filled" else "malformed",
    )
    assert not [line for line in lines if line["event"] in {"internal_error", "provider_failed"}]


def test_a_secret_filled_later_is_read_at_the_next_call(caf: Caf, key: str, caf_secret: str) -> None:
    client = boto3.client("secretsmanager")
    good = client.get_secret_value(SecretId=caf_secret)["SecretString"]
    client.put_secret_value(SecretId=caf_secret, SecretString="{}")
    assert call_caf(key).body == NOT_CONFIGURED
    client.put_secret_value(SecretId=caf_secret, SecretString=good)
    assert call_caf(key).status == 200
    assert len(caf.requests) == 1


def test_an_encrypted_private_key_is_a_malformed_secret(
    caf_secret: str, key: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    unlocked = load_pem_private_key(certificates.client_key.read_bytes(), None)
    locked = unlocked.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    fill(caf_secret, key=locked.decode())
    monkeypatch.setenv("CAF_URL", "https://127.0.0.1:9")
    assert call_caf(key).body == NOT_CONFIGURED


def test_the_private_key_is_read_from_a_private_file_that_is_deleted(
    caf: Caf, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    load = ssl.SSLContext.load_cert_chain

    def watch(context: ssl.SSLContext, path: str, **options: Any) -> None:
        modes.append(Path(path).stat().st_mode & 0o777)
        assert Path(path).parent == tmp_path
        load(context, path, **options)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", watch)
    assert call_caf(key).status == 200
    assert caf.requests
    assert modes == [0o600]
    assert list(tmp_path.iterdir()) == []


def test_an_environment_reads_the_certificate_once_a_minute(
    caf_secret: str, certificates: Certificates, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, played = boto3.client("secretsmanager"), Caf()
    with played.serve(certificates.server_context()) as url:
        monkeypatch.setenv("CAF_URL", url)
        now = [1000.0]
        monkeypatch.setattr(adapter, "monotonic", lambda: now[0])
        assert call_caf(key).status == 200
        client.put_secret_value(SecretId=caf_secret, SecretString="{}")
        now[0] += 59
        assert call_caf(key, "quotient_familial/v1").status == 200
        now[0] += 2
        assert call_caf(key).body == NOT_CONFIGURED
        client.put_secret_value(SecretId=caf_secret, SecretString=certificates.secret())
        assert call_caf(key).status == 200
    assert len(played.requests) == 3


def test_plain_http_on_loopback_needs_no_certificate(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Caf()
    with played.serve(None) as url:
        monkeypatch.setenv("CAF_URL", url)
        assert call_caf(key).body == FILE


def test_plain_http_outside_loopback_is_refused(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAF_URL", "http://192.0.2.1")
    answer = call_caf(key)
    assert (answer.status, answer.body["error"]) == (503, "audit_unavailable")  # nothing works with wrong settings
    with pytest.raises(ValueError, match="loopback"):
        settings()
