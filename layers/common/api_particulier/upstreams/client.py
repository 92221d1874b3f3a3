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
from socket import socket
from time import monotonic
from typing import Any, Final, override

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.exceptions import TimeoutError as WireTimeoutError

from api_particulier import deadline as call_deadline
from api_particulier.circuit import Circuit
from api_particulier.errors import ProviderRefused, ProviderUnreachable, ProviderUnreadable
from api_particulier.observability import provider_call
from api_particulier.settings import settings
from api_particulier.upstreams.retries import Retries

MAX_BYTES: Final = 2 * 1024 * 1024
"""A notice is 5 kB, a family file 3 kB: what is a thousand times that is no answer."""
_CHUNK: Final = 64 * 1024
OK: Final = frozenset({200})


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
        self._budget = Budget()
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy, no .netrc: the address is the one configured, and nothing else
        self.session.headers.update({"User-Agent": "api-particulier", "Accept-Encoding": "identity"})
        self.session.mount(base_url, _Adapter(self._budget, tls))

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

    def send(self, method: str, path: str, *, expected: frozenset[int] = OK, **options: Any) -> Answer:
        """Ask, and perhaps once more if the connection fell before an answer began: every question only reads.

        ``options`` are those of ``requests.Session.request``. A redirection is never followed.
        """
        self._retries.earn()
        try:
            return self._send(method, path, expected, options)
        except _ConnectionLostError:
            if not self._retries.take():
                raise ProviderUnreachable from None
            try:
                return self._send(method, path, expected, options)
            except _ConnectionLostError:
                raise ProviderUnreachable from None

    def _send(self, method: str, path: str, expected: frozenset[int], options: Mapping[str, Any]) -> Answer:
        try:
            timeout = (
                self._budget.left(at_most=settings().provider_connect_timeout),
                self._budget.left(at_most=settings().provider_read_timeout),
            )
            with self.session.request(
                method, f"{self._base_url}{path}", timeout=timeout, stream=True, allow_redirects=False, **options
            ) as response:
                _check_status(response.status_code, expected)
                return Answer(response.status_code, response.headers, _read(response))
        except (requests.Timeout, requests.exceptions.SSLError, WireTimeoutError, TimeoutError):
            raise ProviderUnreachable from None
        except requests.ConnectionError as error:
            causes = list(_causes(error))
            if any(isinstance(cause, TimeoutError | WireTimeoutError) for cause in causes):
                raise ProviderUnreachable from None
            if any(isinstance(cause, HTTPException) and not isinstance(cause, OSError) for cause in causes):
                raise ProviderUnreadable from None  # it does not speak HTTP
            raise _ConnectionLostError from None
        except (requests.RequestException, HTTPError, OSError, ValueError):
            raise ProviderUnreadable from None


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


def _read(response: requests.Response) -> bytes:
    """Read the body; what is too large or cut short is not an answer."""
    content = bytearray()
    try:
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            content += chunk
            if len(content) > MAX_BYTES:
                raise ProviderUnreadable
    except ProtocolError:  # cut short, or chunks that are none
        raise ProviderUnreadable from None
    return bytes(content)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and those at the bottom of it: ``requests`` calls many things a connection error."""
    while error is not None:
        yield error
        inner = [getattr(error, "reason", None), *reversed(error.args), error.__context__]
        error = next((one for one in inner if isinstance(one, BaseException)), None)


class _Adapter(HTTPAdapter):
    """Gives every connection the budget of the question, so that a slow drip, headers included, ends with it."""

    def __init__(self, budget: Budget, tls: ssl.SSLContext | None) -> None:
        self._budget = budget
        self._tls = tls
        super().__init__(pool_connections=1, pool_maxsize=1)

    @override
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        if self._tls is not None:
            pool_kwargs["ssl_context"] = self._tls
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {
            "http": partial(_pool, HTTPConnectionPool, self._budget),
            "https": partial(_pool, HTTPSConnectionPool, self._budget),
        }

    @override
    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        if self._tls is None:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]  # the stubs leave it untyped
        else:  # the context says whom to trust; requests would add every public authority to it
            conn.cert_reqs = "CERT_REQUIRED"


def _pool(pool: type[HTTPConnectionPool], budget: Budget, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
    made = pool(*args, **kwargs)
    made.ConnectionCls = partial(_connection, made.ConnectionCls, budget)  # type: ignore[arg-type, assignment]  # called only
    return made


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
