"""What a server may send on a connection, and that nobody is ever answered with what was sent for another."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from socket import socket
from threading import Event
from typing import Final

import pytest

from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.svair import COUPLE, NOTICE, render_notice, to_json, v2

FORM: Final = wire.response(b"<input name='javax.faces.ViewState' value='a'>")
PAGE: Final = render_notice(COUPLE).encode()
OTHER: Final = render_notice(COUPLE.model_copy(update={"nombre_personnes_charge": "5"})).encode()
OTHERS: Final = {**NOTICE, "nombrePersonnesCharge": 5}


@contextmanager
def answering(*answers: bytes, closing: bool = False) -> Iterator[tuple[str, list[int]]]:
    """Give the form to a GET, and to the POSTs these answers, the last of them for ever.

    Yields the address, and on which connection each request came.
    """
    connections: list[int] = []
    pages = chain(answers, repeat(answers[-1]))

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


GOOD: Final = wire.response(PAGE)


@pytest.mark.parametrize(
    "too_much",
    [
        GOOD + wire.response(OTHER),
        GOOD + wire.response(OTHER)[:50],
        GOOD + b"<p>nobody asked for this</p>",
        wire.response(PAGE, headers={"Content-Length": str(len(PAGE) - 1)}).replace(b"</html>", b"</html>  "),
    ],
    ids=["another answer", "the beginning of another", "no answer", "a length that is too small"],
)
def test_what_follows_an_answer_is_not_that_to_the_next_question(
    too_much: bytes, key: str, at: Callable[[str], None]
) -> None:
    with answering(too_much, wire.response(OTHER)) as (url, connections):
        at(url)
        assert [v2(key).text for _ in range(2)] == [to_json(NOTICE), to_json(OTHERS)]
    form, first, second = connections
    assert form == first != second


def test_what_comes_between_two_questions_is_not_an_answer(key: str, at: Callable[[str], None]) -> None:
    pages = iter([GOOD, wire.response(OTHER)])
    late: list[socket] = []

    def converse(connection: socket, _: Event) -> None:
        while request := wire.read_request(connection):
            connection.sendall(next(pages) if request.startswith(b"POST") else FORM)
            late.append(connection)

    with wire.converse(converse) as url:
        at(url)
        assert v2(key).text == to_json(NOTICE)
        wire.deliver(late[-1], GOOD)
        assert v2(key).text == to_json(OTHERS)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\nX-Early: yes\r\n\r\n" + GOOD,
        b"HTTP/1.1 103 Early Hints\r\nContent-Type: image/png\r\n\r\n" + GOOD,
        GOOD.replace(b"HTTP/1.1 200 Status", b"HTTP/1.1 200"),
        GOOD.replace(b"Content-Type:", b"content-TYPE:"),
        GOOD.replace(b"Content-Type: ", b"Content-Type:"),
        GOOD.replace(b"Content-Type: ", b"X-Others: \xe9\r\nContent-Type:\t "),
        GOOD.replace(b"Content-Type:", b"Content-Encoding: identity\r\nContent-Type:"),
        wire.response(b"", headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
        + b"%x;name=value\r\n%b\r\n0\r\nContent-Type: image/png\r\n\r\n" % (len(PAGE), PAGE),
    ],
    ids=["100", "103", "no phrase", "small letters", "no space", "Latin-1", "identity", "chunks and a trailer"],
)
def test_an_answer_is_read_however_http_lets_it_be_written(answer: bytes, key: str, at: Callable[[str], None]) -> None:
    with answering(answer) as (url, connections):
        at(url)
        assert [v2(key).text for _ in range(2)] == [to_json(NOTICE)] * 2
    assert len(set(connections)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        wire.response(PAGE, headers={"Content-Length": ""}),
        wire.response(PAGE, headers={"Content-Length": ""}).replace(b"HTTP/1.1", b"HTTP/1.0"),
        wire.response(PAGE, headers={"Connection": "close"}),
        GOOD,
    ],
    ids=["no length", "HTTP/1.0", "said to be closed", "closed without a word"],
)
def test_an_answer_may_end_with_its_connection(answer: bytes, key: str, at: Callable[[str], None]) -> None:
    with answering(answer, closing=True) as (url, connections):
        at(url)
        assert [v2(key).text for _ in range(2)] == [to_json(NOTICE)] * 2
    form, first, second = connections
    assert form == first != second


@pytest.mark.parametrize(
    "answer",
    [
        wire.response(PAGE, headers={"Transfer-Encoding": "chunked"}),
        wire.response(PAGE, headers={"Content-Length": f"{len(PAGE)}\r\nContent-Length: {len(PAGE) - 1}"}),
        wire.response(PAGE, headers={"Content-Length": "-1"}),
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n" + GOOD,
        GOOD.replace(b"HTTP/1.1", b"HTTP/9.9"),
        GOOD.replace(b"200", b"2000"),
        GOOD.replace(b"Content-Type:", b"Content-Type :"),
        GOOD.replace(b"Content-Type:", b"Content\x00Type:"),
        b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * (3 * 1024 * 1024),
    ],
    ids=[
        *("a length and chunks", "two lengths", "a negative length", "another protocol"),
        *("HTTP/9.9", "a status of four digits", "a space in a name", "a NUL in a name", "an endless head"),
    ],
)
@pytest.mark.parametrize("closing", [False, True], ids=["kept", "closed"])
def test_what_http_does_not_let_be_written_is_no_answer(
    answer: bytes, key: str, at: Callable[[str], None], *, closing: bool
) -> None:
    with answering(answer, closing=closing) as (url, _):
        at(url)
        told = v2(key)
    assert (told.status, told.body["error"]) == (502, "invalid_response")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n",
        wire.response(PAGE, headers={"Content-Length": "", "Transfer-Encoding": "gzip"}),
    ],
    ids=["an interim one", "half a head", "no chunks"],
)
def test_what_is_not_whole_when_its_connection_ends_is_no_answer(
    answer: bytes, key: str, at: Callable[[str], None]
) -> None:
    with answering(answer, closing=True) as (url, _):
        at(url)
        told = v2(key)
    assert (told.status, told.body["error"]) == (502, "invalid_response")
