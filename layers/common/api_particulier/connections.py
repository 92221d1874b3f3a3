"""Connections to a server, kept alive: HTTP/1.1 whose answers llhttp parses, the parser of Node.js.

A request leaves in one write, its head with its body; every wait has an end. Whatever is not a whole answer closes the
connection: the next request is never answered by what was left of another (docs/decisions/0031-libraries.md).
"""

import select
import socket
import ssl
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

import certifi
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

_CHUNK: Final = 64 * 1024
_FINAL: Final = 200
"""The first status that is an answer; those below announce one (RFC 9110 §15.2)."""


class LostError(Exception):
    """The connection was refused, or fell before an answer began."""


class UnreadableError(Exception):
    """What was answered is no HTTP, is cut short or too large, or is compressed, which nobody asked for."""


class Patience(Protocol):
    """How long to wait, in seconds, asked before each wait; ``TimeoutError`` when there was enough of it."""

    def to_connect(self) -> float: ...
    def to_read(self) -> float: ...


@dataclass(frozen=True)
class Answer:
    """What a server answered, whole."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case; of a repeated one, the last."""
    cookies: tuple[str, ...]
    """Each ``Set-Cookie``."""
    content: bytes


class Connections:
    """Those to a URL's server, as many as there are requests at once; no proxy turns away from it."""

    def __init__(self, url: str, tls: ssl.SSLContext | None, patience: Patience, *, at_most: int) -> None:
        """Speak TLS as ``tls`` says; an answer of more than ``at_most`` bytes is none."""
        self._idle: list[_Wire] = []
        parts = urlsplit(url)
        self._address = parts.hostname or "", parts.port or (443 if tls else 80)
        self.host = parts.netloc.rpartition("@")[2].removesuffix(":443" if tls else ":80")
        self._tls, self._patience, self._at_most = tls, patience, at_most
        if tls:
            tls.set_alpn_protocols(["http/1.1"])

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        expected: Container[int] = range(1000),
    ) -> Answer:
        """Send a request and return its answer: of a status that is not ``expected``, the head alone.

        ``LostError``, ``UnreadableError``, ``TimeoutError``, ``ssl.SSLError``; ``ValueError`` for a request that HTTP
        cannot say.
        """
        request = _request(method, path, {"Host": self.host, **headers}, body)
        wire = self._take() or self._connect()
        try:
            answer = wire.ask(request, expected, self._at_most)
        except BaseException:
            wire.close()
            raise
        if wire.lasts:
            self._idle.append(wire)
        else:
            wire.close()
        return answer

    def __del__(self) -> None:
        """Close what nobody can ask any more."""
        for wire in self._idle:
            wire.close()

    def _take(self) -> "_Wire | None":
        with suppress(IndexError):  # there is none, or another thread took it
            while (wire := self._idle.pop()).has_something_to_say():  # that it is closed, or what nobody asked for
                wire.close()
            return wire
        return None

    def _connect(self) -> "_Wire":
        try:
            opened = socket.create_connection(self._address, self._patience.to_connect())
        except TimeoutError:
            raise
        except OSError:
            raise LostError from None
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                opened.settimeout(self._patience.to_connect())
                opened = self._tls.wrap_socket(opened, server_hostname=self._address[0])
        except (TimeoutError, ssl.SSLError):
            opened.close()
            raise
        except OSError:
            opened.close()
            raise LostError from None
        return _Wire(opened, self._patience)


class _Wire:
    """An open connection, and what its parser tells of the answer that is being read."""

    def __init__(self, opened: socket.socket, patience: Patience) -> None:
        self._socket, self._patience = opened, patience
        self._poll = select.poll()
        self._poll.register(opened, select.POLLIN)
        self._parser = HttpResponseParser(self)
        self._begin()

    def has_something_to_say(self) -> bool:
        return bool(self._poll.poll(0))

    def close(self) -> None:
        self._socket.close()

    def ask(self, request: bytes, expected: Container[int], at_most: int) -> Answer:
        self._begin()
        self._send(request)
        received = 0
        while not self._whole:
            chunk = self._receive(begun=received > 0)
            received += len(chunk)
            broken = not self._parse(chunk) if chunk else not self._ends_with_its_connection()
            if self._status and self._status not in expected:
                self.lasts = False
                return self._answer(b"")
            if (broken and not self._whole) or received > at_most:
                raise UnreadableError
        if self._headers.get("content-encoding", "identity").lower() != "identity":
            raise UnreadableError
        return self._answer(b"".join(self._content))

    def _answer(self, content: bytes) -> Answer:
        return Answer(self._status, self._headers, tuple(self._cookies), content)

    def _begin(self) -> None:
        self._status, self._whole, self.lasts = 0, False, False
        self._headers: dict[str, str] = {}
        self._cookies: list[str] = []
        self._content: list[bytes] = []

    def _send(self, request: bytes) -> None:
        self._socket.settimeout(self._patience.to_read())
        try:
            self._socket.sendall(request)
        except (TimeoutError, ssl.SSLError):
            raise
        except OSError:
            raise LostError from None

    def _receive(self, *, begun: bool) -> bytes:
        """Return the next bytes, or none when the other side has said all it will."""
        self._socket.settimeout(self._patience.to_read())
        try:
            chunk = self._socket.recv(_CHUNK)
        except (TimeoutError, ssl.SSLError):
            raise
        except OSError:
            raise (UnreadableError if begun else LostError) from None
        if not chunk and not begun:
            raise LostError
        return chunk

    def _parse(self, chunk: bytes) -> bool:
        """Return whether it is HTTP."""
        try:
            self._parser.feed_data(chunk)
        except (HttpParserError, HttpParserUpgrade):
            self.lasts = False
            return False
        return True

    def _ends_with_its_connection(self) -> bool:
        """Return whether the answer is one that said no length, hence whole when its connection is closed."""
        self._whole = bool(self._status) and not {"content-length", "transfer-encoding"} & self._headers.keys()
        return self._whole

    # What the parser calls.

    def on_message_begin(self) -> None:
        if self._whole:  # nobody asked for more
            raise UnreadableError
        self._headers.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status:  # a trailer's field, which is none of the head (RFC 9110 §6.5.1)
            return
        told, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[told] = text
        if told == "set-cookie":
            self._cookies.append(text)

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= _FINAL:
            self._status, self.lasts = status, self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        self._content.append(body)

    def on_message_complete(self) -> None:
        self._whole = bool(self._status)


def _request(method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> bytes:
    """Write a request; ``ValueError`` where a name or a value would be more than that."""
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    if " " in path or not all(map(str.isprintable, lines)):
        raise ValueError
    return "\r\n".join((*lines, "", "")).encode("latin-1") + (body or b"")


@lru_cache(maxsize=1)
def trusting_public_authorities() -> ssl.SSLContext:
    """Return the one context of every connection that asks nothing particular: reading the authorities is slow."""
    return ssl.create_default_context(cafile=certifi.where())
