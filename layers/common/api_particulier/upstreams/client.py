"""How every provider is spoken to: connections kept alive, deadlines, a limit on size, one safe retry, errors mapped.

A provider's module makes one ``Client``, opens a ``question``, calls ``send`` within it and reads the ``Answer``.
Whatever goes wrong on the way is one of these, its cause dropped (it would print a URL, and a URL names people):

- refused connection, reset, time-out, failed TLS, HTTP 5xx → ``ProviderUnreachable``
- HTTP 403 or 429 → ``ProviderRefused``
- any other status that the provider's module did not ask for, an answer too large, cut short or that is no HTTP →
  ``ProviderUnreadable``
"""

import io
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from http.cookiejar import CookieJar
from socket import socket
from time import monotonic
from typing import Any, Final, override
from urllib.parse import urlencode, urlsplit
from urllib.request import Request

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, NewConnectionError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as WireTimeoutError

from api_particulier import deadline as call_deadline
from api_particulier.circuit import Circuit
from api_particulier.connections import connections_to, trusting_public_authorities
from api_particulier.errors import ProviderRefused, ProviderUnreachable, ProviderUnreadable
from api_particulier.observability import provider_call
from api_particulier.settings import settings
from api_particulier.upstreams.retries import Retries

MAX_BYTES: Final = 2 * 1024 * 1024
"""A notice is 5 kB, a family file 3 kB: what is a thousand times that is no answer."""
_CHUNK: Final = 64 * 1024
OK: Final = frozenset({200})
_HEADERS: Final = {"User-Agent": "api-particulier", "Accept": "*/*", "Accept-Encoding": "identity"}


@dataclass(frozen=True)
class Answer:
    """What a provider answered, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Budget:
    """The instant at which a question is given up, whatever the provider is still dripping."""

    def __init__(self) -> None:
        self._end = 0.0

    def start(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def left(self, at_most: float) -> float:
        """Return the seconds to wait for the next bytes; ``TimeoutError`` when there are none left."""
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, at_most)


class Client:
    """A provider's connections. One question at a time: that is how Lambda calls an environment."""

    def __init__(self, provider: str, base_url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Speak to ``provider`` at ``base_url``; ``tls`` carries a client certificate where it asks for one."""
        self._provider = provider
        self._circuit = Circuit(provider)
        self._retries = Retries()
        self._base_url = base_url
        self._prefix = urlsplit(base_url).path
        self._budget = Budget()
        self._cookies = CookieJar()
        self._last_cookie: tuple[str, dict[str, str]] = ("", {})
        self.tls = tls or (trusting_public_authorities() if base_url.startswith("https") else None)
        self._connections = connections_to(base_url, self.tls)
        self._connections.ConnectionCls = partial(_connection, self._connections.ConnectionCls, self._budget)  # type: ignore[assignment, arg-type]  # called only

    @contextmanager
    def question(self, *, deadline: float | None = None) -> Iterator[None]:
        """Time, count and trace all that is sent within, under one deadline (seconds): its own, or that of all.

        ``CircuitOpen`` or ``ProviderInMaintenance``, and nothing is sent, when the provider is not to be asked.
        """
        if call_deadline.left() <= 0:  # too late for an answer, by no fault of the provider
            raise ProviderUnreachable
        with self._circuit.guard(), provider_call(self._provider):
            own = settings().provider_deadline if deadline is None else deadline
            self._budget.start(min(own, call_deadline.left()))
            yield

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        expected: frozenset[int] = OK,
    ) -> Answer:
        """Ask, and perhaps once more if the connection fell before an answer began: every question only reads.

        A ``body`` of names and values is sent as a form. A redirection is never followed.
        """
        said = {**_HEADERS, **(headers or {})}
        if isinstance(body, Mapping):
            body, said["Content-Type"] = urlencode(body).encode(), "application/x-www-form-urlencoded"
        self._retries.earn()
        try:
            return self._send(method, path, body, said, expected)
        except _ConnectionLostError:
            if not self._retries.take():
                raise ProviderUnreachable from None
            try:
                return self._send(method, path, body, said, expected)
            except _ConnectionLostError:
                raise ProviderUnreachable from None

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], expected: frozenset[int]
    ) -> Answer:
        try:
            response = self._connections.urlopen(
                method,
                f"{self._prefix}{path}",
                body,
                headers | self._cookie(path),
                redirect=False,
                preload_content=False,
                timeout=Timeout(
                    connect=self._budget.left(at_most=settings().provider_connect_timeout),
                    read=self._budget.left(at_most=settings().provider_read_timeout),
                ),
            )
            try:
                self._keep_cookies(path, response)
                _check_status(response.status, expected)
                return Answer(response.status, response.headers, _read(response))
            finally:
                if not response.closed:  # an answer that was not read to its end takes its connection with it
                    response.close()
                response.release_conn()
        except NewConnectionError:  # which urllib3 takes for a time-out too
            raise _ConnectionLostError from None
        except (WireTimeoutError, TimeoutError, SSLError):
            raise ProviderUnreachable from None
        except ProtocolError as error:
            causes = list(_causes(error))
            if any(isinstance(cause, TimeoutError) for cause in causes):
                raise ProviderUnreachable from None
            if any(isinstance(cause, HTTPException) and not isinstance(cause, OSError) for cause in causes):
                raise ProviderUnreadable from None  # it does not speak HTTP
            raise _ConnectionLostError from None
        except (HTTPError, OSError, ValueError):
            raise ProviderUnreadable from None

    def forget_session(self) -> None:
        """Drop the cookies of the provider's session."""
        self._cookies.clear()
        self._last_cookie = "", {}

    def _cookie(self, path: str) -> dict[str, str]:
        """Return the header to send: that of the last question, for the same path and until another cookie is set."""
        if not len(self._cookies):
            return {}
        if self._last_cookie[0] != path:
            asking = Request(f"{self._base_url}{path}")  # noqa: S310 - only described
            self._cookies.add_cookie_header(asking)
            cookie = asking.get_header("Cookie")
            self._last_cookie = path, {"Cookie": cookie} if cookie else {}
        return self._last_cookie[1]

    def _keep_cookies(self, path: str, response: BaseHTTPResponse) -> None:
        if "Set-Cookie" in response.headers:
            self._cookies.extract_cookies(response, Request(f"{self._base_url}{path}"))  # type: ignore[arg-type]  # noqa: S310 - only described; urllib3's answers are made for it
            self._last_cookie = "", {}


class _ConnectionLostError(Exception):
    """The connection was refused, or fell before an answer began."""


def _check_status(status: int, expected: frozenset[int]) -> None:
    if status in expected:
        return
    if status in {403, 429}:
        raise ProviderRefused
    if status >= 500:  # noqa: PLR2004 - HTTP's own families
        raise ProviderUnreachable
    raise ProviderUnreadable


def _read(response: BaseHTTPResponse) -> bytes:
    """Read the body; what is too large or cut short is not an answer."""
    content = bytearray()
    try:
        while chunk := response.read1(_CHUNK, decode_content=True):
            content += chunk
            if len(content) > MAX_BYTES:
                raise ProviderUnreadable
    except ProtocolError:  # cut short, or chunks that are none
        raise ProviderUnreadable from None
    return bytes(content)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those at the bottom of it: ``urllib3`` calls many things a protocol error."""
    while error is not None:
        yield error
        inner = [*reversed(error.args), error.__context__]
        error = next((one for one in inner if isinstance(one, BaseException)), None)


def _connection(connection: type[HTTPConnection], budget: Budget, *args: Any, **kwargs: Any) -> HTTPConnection:
    made = connection(*args, **kwargs)
    made.response_class = partial(_PacedResponse, budget)  # type: ignore[assignment]  # called only
    return made


class _PacedResponse(HTTPResponse):
    """A response whose every read, of headers as of body, ends with the budget."""

    def __init__(self, budget: Budget, sock: socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        raw = self.fp.detach()
        self.fp = io.BufferedReader(_Paced(raw, sock, budget))


class _Paced(io.RawIOBase):
    def __init__(self, raw: io.RawIOBase, sock: socket, budget: Budget) -> None:
        self._raw, self._sock, self._budget = raw, sock, budget

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Any, /) -> int | None:
        self._sock.settimeout(self._budget.left(at_most=settings().provider_read_timeout))
        return self._raw.readinto(buffer)

    @override
    def close(self) -> None:
        self._raw.close()
        super().close()
