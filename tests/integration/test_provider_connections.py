"""A caller reads the response to its own question, after anything that the provider sent on the connection."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain, repeat
from socket import AF_INET, SOCK_STREAM, getaddrinfo, socket
from threading import Event
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import pytest

from sandbox.simulators import impot_particulier
from tests.support import wire
from tests.support.caf import PEOPLE, drt_document, envelope, multipart
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api
from tests.support.impot_particulier import SITUATION
from tests.support.svair import COUPLE, NOTICE, render_notice, to_json, v2
from tests.support.wire import response

pytestmark = pytest.mark.slow


FORM: Final = response(b"<input name='javax.faces.ViewState' value='a'>")
PAGE: Final = render_notice(COUPLE).encode()
OTHER: Final = render_notice(COUPLE.model_copy(update={"nombre_personnes_charge": "5"})).encode()
OTHER_NOTICE: Final = {**NOTICE, "nombrePersonnesCharge": 5}
GOOD: Final = response(PAGE)
TOKEN: Final = response(
    b'{"access_token":"t","token_type":"bearer","expires_in":3600}', headers={"Content-Type": "application/json"}
)


# ── Two people, every provider ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Provider:
    """How a provider is reached, and its responses about two people."""

    url: str
    event: str
    first: bytes
    second: bytes
    read: Callable[[Response], object]
    """The value in which the two people differ."""
    expected: tuple[object, object]
    environment: Mapping[str, str] = field(default_factory=dict)


def family(quotient: int) -> bytes:
    month = f"<QFMOIS><DUMOIS>10</DUMOIS><DELANNEE>2026</DELANNEE><QUOTIENTF>{quotient}</QUOTIENTF></QFMOIS>"
    file = drt_document(f"{PEOPLE}<quotients>{month}</quotients>")
    return response(multipart(envelope(file)).encode(), headers={"Content-Type": "multipart/related"})


def situation(income: int) -> bytes:
    return response(json.dumps(SITUATION | {"rfr": income}).encode(), headers={"Content-Type": "application/json"})


def _income(received: Response) -> object:
    return received.body["revenuFiscalReference"]


PROVIDERS: Final = {
    "svair": Provider(
        "DGFIP_SVAIR_URL",
        "avis_imposition/v2",
        GOOD,
        response(OTHER),
        lambda received: received.body["nombrePersonnesCharge"],
        (NOTICE["nombrePersonnesCharge"], 5),
    ),
    "impot_particulier": Provider(
        "IMPOT_PARTICULIER_URL",
        "avis_imposition/v2",
        situation(10_000),
        situation(20_000),
        _income,
        (10_000, 20_000),
        {"DGFIP_PROVIDER": "impot_particulier", "IMPOT_PARTICULIER_SECRET_ID": "secret"},
    ),
    "caf": Provider(
        "CAF_URL",
        "composition_familiale/v2",
        family(400),
        family(900),
        lambda received: received.body["quotientFamilial"],
        (400, 900),
    ),
}
GIVEN_UP: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "half of its body": lambda good: good[: len(good) - 20],
    "half of its head": lambda good: good[:30],
    "nothing": lambda _: b"",
    "an unexpected status": lambda good: good.replace(b"200", b"418", 1),
    "a failure": lambda good: good.replace(b"200", b"503", 1),
    "an interim response": lambda good: good.replace(b"200", b"103", 1),
    "a compressed response": lambda good: good.replace(b"Content-Type", b"Content-Encoding: gzip\r\nContent-Type", 1),
}
"""The first person's response, of which the caller gets nothing; its rest comes too late."""


@pytest.fixture(params=list(PROVIDERS))
def provider(request: pytest.FixtureRequest, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Provider:
    assert cloud.tokens.name
    chosen = PROVIDERS[request.param]
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    for name, value in chosen.environment.items():
        monkeypatch.setenv(name, value)
    secret = json.dumps(impot_particulier.CLIENT)
    boto3.client("secretsmanager").create_secret(Name="secret", SecretString=secret)
    return chosen


@pytest.mark.parametrize("given_up", GIVEN_UP.values(), ids=GIVEN_UP)
def test_the_rest_of_an_abandoned_response_is_never_read_by_the_next_caller(
    given_up: Callable[[bytes], bytes], provider: Provider, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[int] = []
    """The connection of each question about a person."""
    late: list[socket] = []

    def converse(connection: socket, _: Event) -> None:
        while request := wire.read_request(connection):
            if request.startswith(b"GET /secavis/"):
                connection.sendall(FORM)
            elif b"/token" in request.split(b"\r\n", 1)[0]:
                connection.sendall(TOKEN)
            else:
                questions.append(connection.getpeername()[1])
                if len(questions) == 1:
                    late.append(connection)
                    connection.sendall(given_up(provider.first))
                else:
                    connection.sendall(provider.second)

    key = cloud.issue_key("dgfip_avis_imposition", "cnaf_attestation_droits")
    with wire.converse(converse) as url:
        monkeypatch.setenv(provider.url, url)
        monkeypatch.setenv("PROVIDER_READ_TIMEOUT", "2")  # for what is never sent
        abandoned = call_api(provider.event, key=key)
        assert abandoned.status in {502, 503}
        with suppress(OSError):  # the caller's side has closed it
            late[0].sendall(provider.first)
        answered = call_api(provider.event, key=key)
    assert (answered.status, provider.read(answered)) == (200, provider.expected[1])
    assert len(questions) == 2, "a question whose response had begun was asked again"
    assert questions[0] != questions[1], "the connection of an abandoned response was used again"


def test_two_people_have_each_their_own_response_on_one_connection(
    provider: Provider, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: set[int] = set()
    people = chain([provider.first, provider.second], repeat(provider.second))

    def converse(connection: socket, _: Event) -> None:
        while request := wire.read_request(connection):
            connections.add(connection.getpeername()[1])
            if request.startswith(b"GET /secavis/"):
                connection.sendall(FORM)
            elif b"/token" in request.split(b"\r\n", 1)[0]:
                connection.sendall(TOKEN)
            else:
                connection.sendall(next(people))

    key = cloud.issue_key("dgfip_avis_imposition", "cnaf_attestation_droits")
    with wire.converse(converse) as url:
        monkeypatch.setenv(provider.url, url)
        values = [provider.read(call_api(provider.event, key=key)) for _ in range(2)]
    assert values == list(provider.expected)
    assert len(connections) == 1


# ── What HTTP allows ─────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def responding(*responses: bytes, closing: bool = False) -> Iterator[tuple[str, list[int]]]:
    """Give the form to a GET, and these responses to the POSTs, the last of them for ever.

    Yield the address, and the list of the connections on which the requests came.
    """
    connections: list[int] = []
    pages = chain(responses, repeat(responses[-1]))

    def converse(connection: socket, _: Event) -> None:
        while request := wire.read_request(connection):
            connections.append(connection.getpeername()[1])
            posted = request.startswith(b"POST")
            connection.sendall(next(pages) if posted else FORM)
            if posted and closing:
                return

    with wire.converse(converse) as url:
        yield url, connections


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    return lambda url: monkeypatch.setenv("DGFIP_SVAIR_URL", url)


@pytest.mark.parametrize(
    "too_much",
    [
        GOOD + response(OTHER),
        GOOD + response(OTHER)[:50],
        GOOD + b"<p>not requested</p>",
        response(PAGE, headers={"Content-Length": str(len(PAGE) - 1)}).replace(b"</html>", b"</html>  "),
    ],
    ids=["another response", "the beginning of another", "no response", "a length that is too small"],
)
def test_a_response_followed_by_more_is_refused_and_the_next_question_has_its_own(
    too_much: bytes, key: str, at: Callable[[str], None]
) -> None:
    with responding(too_much, response(OTHER)) as (url, connections):
        at(url)
        first, second = v2(key), v2(key)
        assert (first.status, second.text) == (502, to_json(OTHER_NOTICE))
    assert len(set(connections)) == 2


def test_an_address_that_does_not_answer_leaves_time_for_the_next(
    key: str, at: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address has its share of the time to connect, which is here that of the whole question."""
    monkeypatch.setenv("PROVIDER_CONNECT_TIMEOUT", "2")
    monkeypatch.setenv("PROVIDER_DEADLINE", "2")
    with responding(GOOD) as (url, _), socket(AF_INET, SOCK_STREAM) as silent, socket(AF_INET, SOCK_STREAM) as waiting:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        waiting.connect(silent.getsockname())  # its queue is full: no other connection is accepted
        port, resolve = urlsplit(url).port, getaddrinfo
        both = [(AF_INET, SOCK_STREAM, 6, "", place) for place in (silent.getsockname(), ("127.0.0.1", port))]

        def found(host: str, asked: int, *more: Any, **options: Any) -> Any:
            return both if asked == port else resolve(host, asked, *more, **options)

        monkeypatch.setattr("socket.getaddrinfo", found)
        monkeypatch.setattr("api_particulier.providers.http.getaddrinfo", found)
        at(url)
        assert v2(key).status == 200


def test_bytes_between_two_questions_are_not_a_response(key: str, at: Callable[[str], None]) -> None:
    pages = iter([GOOD, response(OTHER)])
    late: list[socket] = []

    def converse(connection: socket, _: Event) -> None:
        while request := wire.read_request(connection):
            connection.sendall(next(pages) if request.startswith(b"POST") else FORM)
            late.append(connection)

    with wire.converse(converse) as url:
        at(url)
        assert v2(key).text == to_json(NOTICE)
        wire.deliver(late[-1], GOOD)
        assert v2(key).text == to_json(OTHER_NOTICE)


@pytest.mark.parametrize(
    "valid",
    [
        b"HTTP/1.1 100 Continue\r\nX-Early: yes\r\n\r\n" + GOOD,
        GOOD.replace(b"HTTP/1.1 200 Status", b"HTTP/1.1 200"),
        GOOD.replace(b"Content-Type:", b"content-TYPE:"),
        GOOD.replace(b"Content-Type: ", b"Content-Type:"),
        GOOD.replace(b"Content-Type: ", b"X-Others: \xe9\r\nContent-Type:\t "),
        GOOD.replace(b"Content-Type:", b"Content-Encoding: identity\r\nContent-Type:"),
        response(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
        + b"%x;name=value\r\n%b\r\n0\r\nContent-Type: image/png\r\n\r\n" % (len(PAGE), PAGE),
    ],
    ids=["100", "no phrase", "small letters", "no space", "Latin-1", "identity", "chunks and a trailer"],
)
def test_every_valid_form_of_a_response_is_read(valid: bytes, key: str, at: Callable[[str], None]) -> None:
    with responding(valid) as (url, connections):
        at(url)
        assert [v2(key).text for _ in range(2)] == [to_json(NOTICE)] * 2
    assert len(set(connections)) == 1


@pytest.mark.parametrize(
    "last",
    [
        response(PAGE, headers={"Content-Length": ""}),
        response(PAGE, headers={"Content-Length": ""}).replace(b"HTTP/1.1", b"HTTP/1.0"),
        response(PAGE, headers={"Connection": "close"}),
        GOOD,
    ],
    ids=["no length", "HTTP/1.0", "announced", "not announced"],
)
def test_a_response_may_end_with_its_connection(last: bytes, key: str, at: Callable[[str], None]) -> None:
    with responding(last, closing=True) as (url, connections):
        at(url)
        assert [v2(key).text for _ in range(2)] == [to_json(NOTICE)] * 2
    form, first, second = connections
    assert form == first != second


@pytest.mark.parametrize(
    "invalid",
    [
        response(PAGE, headers={"Content-Length": f"{len(PAGE)}\r\nContent-Length: {len(PAGE) - 1}"}),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + GOOD,
        GOOD.replace(b"HTTP/1.1", b"HTTP/9.9"),
        GOOD.replace(b"200", b"2000"),
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * (3 * 1024 * 1024),
        GOOD.replace(
            b"Content-Type", b"\r\n".join(b"X-%d: %s" % (n, b"a" * 900) for n in range(90)) + b"\r\nContent-Type"
        ),
    ],
    ids=[
        "two lengths",
        "another protocol",
        "HTTP/9.9",
        "a status of four digits",
        "an endless line",
        "a head of 80 kB",
    ],
)
@pytest.mark.parametrize("closing", [False, True], ids=["kept", "closed"])
def test_an_invalid_response_is_refused(invalid: bytes, key: str, at: Callable[[str], None], *, closing: bool) -> None:
    with responding(invalid, closing=closing) as (url, _):
        at(url)
        received = v2(key)
    assert (received.status, received.body["error"]) == (502, "invalid_response")


@pytest.mark.parametrize(
    "cut",
    [
        response(PAGE, headers={"Transfer-Encoding": "chunked"}),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
        response(PAGE, headers={"Content-Length": "", "Transfer-Encoding": "gzip"}),
    ],
    ids=["a length and no chunks", "half a head", "no chunks"],
)
def test_a_response_that_is_not_whole_when_its_connection_ends_is_refused(
    cut: bytes, key: str, at: Callable[[str], None]
) -> None:
    with responding(cut, closing=True) as (url, _):
        at(url)
        received = v2(key)
    assert (received.status, received.body["error"]) == (502, "invalid_response")
