"""Each failure of each provider gives the caller the same errors (contract §5)."""

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import boto3
import pytest

from sandbox.simulators import impot_particulier
from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, shorten_timeouts

pytestmark = pytest.mark.slow

HIDDEN: Final = "CE-QUE-DIT-LE-FOURNISSEUR"
PAGE: Final = f"<html><body><p>{HIDDEN} à lire</p></body></html>".encode()


@dataclass(frozen=True)
class Provider:
    """A provider: the setting of its address, and a call to a dataset that requests data from it."""

    url: str
    event: str
    scope: str
    query: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further settings."""
    secret: str = ""
    """The value of a secret named "secret"."""

    def call(self, key: str) -> Response:
        return call_api(self.event, key=key, headers={"X-User": "agent-42"}, **self.query)


AVIS: Final = {"numeroFiscal": "2690000000095", "referenceAvis": "2690000000096"}
PROVIDERS: Final = {
    "svair": Provider(
        "DGFIP_SVAIR_URL", "avis_imposition/v2", "dgfip_avis_imposition", AVIS, {"DGFIP_AVAILABLE_YEARS": "99"}
    ),
    "impot_particulier": Provider(
        "IMPOT_PARTICULIER_URL",
        "avis_imposition/v2",
        "dgfip_avis_imposition",
        AVIS,
        {
            "DGFIP_PROVIDER": "impot_particulier",
            "DGFIP_AVAILABLE_YEARS": "99",
            "IMPOT_PARTICULIER_SECRET_ID": "secret",
        },
        json.dumps(impot_particulier.CLIENT),
    ),
    "caf": Provider(
        "CAF_URL",
        "composition_familiale/v2",
        "cnaf_attestation_droits",
        {"numeroAllocataire": "2600095", "codePostal": "75096"},
    ),
}


class Failure(NamedTuple):
    server: wire.Server
    status: int
    code: str
    is_slow: bool = False
    """Whether only the timeouts end it."""


def _unreachable(server: wire.Server) -> Failure:
    return Failure(server, 503, "network_error")


def _too_slow(server: wire.Server) -> Failure:
    return Failure(server, 503, "network_error", is_slow=True)


def _refused(server: wire.Server) -> Failure:
    return Failure(server, 503, "rate_limited")


def _unreadable(server: wire.Server) -> Failure:
    return Failure(server, 502, "invalid_response")


def _status(status: int) -> wire.Server:
    return wire.answering(wire.response(PAGE, status=status))


def _page(body: bytes, **headers: str) -> wire.Server:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return wire.answering(wire.response(body, headers=named))


FAILURES: Final = {
    "refuses connections": _unreachable(wire.refusing),
    "resets connections": _unreachable(wire.resetting),
    "closes without a response": _unreachable(wire.closing_after(b"")),
    "never responds": _too_slow(wire.silent),
    "drips a header": _too_slow(wire.dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a")),
    "drips header after header": _too_slow(wire.dripping(b"HTTP/1.1 200 OK\r\n", b"X-Slow: a\r\n")),
    "drips its body": _too_slow(wire.dripping(wire.response(b"", headers={"Content-Length": "999999"}), b" ")),
    "does not speak TLS": _unreachable(wire.plain_behind_https),
    "responds 500": _unreachable(_status(500)),
    "responds 502": _unreachable(_status(502)),
    "responds 503": _unreachable(_status(503)),
    "responds 503, compressed": _unreachable(
        wire.answering(wire.response(gzip.compress(PAGE), status=503, headers={"Content-Encoding": "gzip"}))
    ),
    "responds 403": _refused(_status(403)),
    "responds 429": _refused(_status(429)),
    "redirects": _unreadable(_status(301)),
    "responds 400": _unreadable(_status(400)),
    "responds 404": _unreadable(_status(404)),
    "does not speak HTTP": _unreadable(wire.answering(b"220 " + HIDDEN.encode() + b" SMTP\r\n")),
    "responds with nothing": _unreadable(_page(b"")),
    "responds with another page": _unreadable(_page(PAGE)),
    "responds with JSON": _unreadable(_page(b'{"a": "%s"}' % HIDDEN.encode(), Content_Type="application/json")),
    "responds with bytes": _unreadable(_page(bytes(range(256)), Content_Type="application/octet-stream")),
    "responds with latin-1 for UTF-8": _unreadable(_page(PAGE.decode().encode("latin-1"))),
    "responds with in an unknown encoding": _unreadable(_page(PAGE, Content_Type="text/html; charset=klingon")),
    "responds with gzip that is none": _unreadable(_page(PAGE, Content_Encoding="gzip")),
    "responds with chunks that are none": _unreadable(
        _page(PAGE + b"\r\n", Content_Length="", Transfer_Encoding="chunked")
    ),
    "cuts its body short": _unreadable(wire.closing_after(wire.response(PAGE, headers={"Content-Length": "9999"}))),
    "responds with 50 MB": _unreadable(wire.flooding),
    "responds with 50 MB, compressed": _unreadable(
        _page(gzip.compress(bytes(wire.FLOOD_BYTES), compresslevel=1), Content_Encoding="gzip")
    ),
}


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Provider:
    assert cloud.tokens.name
    found = PROVIDERS[request.param]
    for name, value in found.environment.items():
        monkeypatch.setenv(name, value)
    if found.secret:
        boto3.client("secretsmanager").create_secret(Name="secret", SecretString=found.secret)
    if request.param == "caf":
        request.getfixturevalue("caf_secret")
    return found


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_failing_provider_has_its_error_code_and_reveals_no_cause(
    provider: Provider,
    failure: Failure,
    cloud: Cloud,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = cloud.issue_key(provider.scope)
    if failure.is_slow:
        shorten_timeouts(monkeypatch)
    with failure.server() as url:
        monkeypatch.setenv(provider.url, url)
        response = provider.call(key)

    assert (response.status, response.body["error"]) == (failure.status, failure.code)
    assert list(response.body) == ["error", "reason", "message"]
    assert ("Retry-After" in response.headers) == (failure.status == 503)
    assert int(response.headers.get("Retry-After", 1)) > 0
    assert response.headers["X-Request-Id"]

    [record] = cloud.audit_records()
    assert (record["status"], record["error"]) == (failure.status, failure.code)
    assert (record["released"], record["withheld"]) == ([], [])
    assert record["citizen"]
    assert record["provider_ms"] >= 0

    captured = capfd.readouterr()
    assert f'"outcome":"{failure.code}"' in captured.out
    output = " ".join([response.text, str(response.headers), captured.out, captured.err, str(record)])
    sent = (*provider.query.values(), key)
    cause = (HIDDEN, "127.0.0.1", "Traceback", "urllib3", "requests.", "HTTPConnection", "SSL", "codec", "lxml")
    assert [secret for secret in (*sent, *cause) if secret in output] == []


def test_the_next_call_reaches_a_provider_that_has_recovered(
    provider: Provider, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is not cached: the next call makes a request to the provider."""
    requests: list[bytes] = []

    def fail_once(connection: Any, _: Any) -> None:
        while request := wire.read_request(connection):
            requests.append(request)
            connection.sendall(wire.response(PAGE, status=503 if len(requests) == 1 else 429))

    key = cloud.issue_key(provider.scope)
    with wire.converse(fail_once) as url:
        monkeypatch.setenv(provider.url, url)
        responses = [provider.call(key) for _ in range(2)]
    assert [(response.status, response.body["error"]) for response in responses] == [
        (503, "network_error"),
        (503, "rate_limited"),
    ]
    assert len(requests) == 2
