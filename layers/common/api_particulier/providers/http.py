"""How every provider is asked: a session kept alive, a time limit, a bound on size, one safe retry, errors mapped.

A provider's module makes one ``ProviderClient``, opens a ``question``, calls ``send`` within it and reads the
``ProviderResponse``. A failure on the way is one of these, without its cause, which would print a URL that names a
person:

- refused connection, reset, timeout, failed TLS, HTTP 5xx, a redirection to a page about an outage
  → ``ProviderUnavailable``
- HTTP 403 or 429 → ``ProviderRateLimited``
- any other status that the provider's module does not expect; a response too large, cut short, followed by more,
  compressed or that is not HTTP → ``ProviderInvalidResponse``

A connection is used again only after a response of an expected status was read to its end: everything else closes it,
so that a caller never reads what was sent for another one.

An ``HttpClient`` within a ``time_limit`` asks a server that is no provider of data, with the same bounds and errors.
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENETDOWN, ENETUNREACH
from functools import lru_cache
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from random import uniform
from socket import SOCK_STREAM, getaddrinfo
from time import sleep
from typing import Any, Final, override

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NameResolutionError, NewConnectionError, ProtocolError

from api_particulier.api import deadline
from api_particulier.api.asker import current_asker
from api_particulier.errors import Failure, ProviderInvalidResponse, ProviderRateLimited, ProviderUnavailable
from api_particulier.observability import provider_call
from api_particulier.providers import outage
from api_particulier.providers.circuit_breaker import CircuitBreaker
from api_particulier.providers.time_limit import current_limit, time_limit
from api_particulier.settings import settings

MAX_BYTES: Final = 2 * 1024 * 1024
"""Of a response's body. A notice is 5 kB, a family file 3 kB."""
MAX_HEAD_BYTES: Final = 64 * 1024
_ADDRESS_SECONDS: Final = 0.5
"""Of the time to connect, what each address of a provider has at least; they share the rest."""
OK: Final = frozenset({200})
_CHUNK: Final = 64 * 1024
_HEADERS: Final = {"User-Agent": "api-particulier", "Accept": "*/*", "Accept-Encoding": "identity"}
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True)
class ProviderResponse:
    """A whole response of an expected status."""

    status: int
    headers: Mapping[str, str]
    """By name, without distinction of case."""
    content: bytes


class HttpClient:
    """A session with a server. It sends one request at a time, within a ``time_limit``."""

    def __init__(self, base_url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Reach the server at ``base_url``; ``tls`` carries a client certificate where it needs one."""
        self._base_url = base_url
        self._retries = RetryBudget()
        self.tls = tls or _public_authorities()
        self._session = _Session(self.tls)

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        expected: frozenset[int] = OK,
    ) -> ProviderResponse:
        """Send a request, and once more if the connection fell before a response began: every question only reads.

        A ``body`` that is a text is a form, as ``urlencode`` writes it. A redirection is never followed.
        """
        request = requests.PreparedRequest()
        request.prepare(
            method=method,
            url=f"{self._base_url}{path}",
            headers={**_HEADERS, **(_FORM if isinstance(body, str) else {}), **(headers or {})},
            data=body,
            cookies=self._session.cookies,
        )
        self._retries.earn()
        try:
            return self._send(request, expected)
        except _ConnectionLost as lost:
            if not self._retries.take():
                raise ProviderUnavailable.of(lost.failure) from None
        try:
            return self._send(request, expected)
        except _ConnectionLost as lost:
            raise ProviderUnavailable.of(lost.failure) from None

    def _send(self, request: requests.PreparedRequest, expected: frozenset[int]) -> ProviderResponse:
        limit = current_limit()
        timeout = (limit.bound(settings().provider_connect_timeout), limit.bound(settings().provider_read_timeout))
        try:
            response = self._session.send(request, timeout=timeout, stream=True, proxies={}, allow_redirects=False)
            with response:  # closes the connection, unless the response was read to its end
                self._check_status(response, expected)
                content = _read(response)
        except (requests.RequestException, OSError, ValueError) as error:
            if limit.expired:
                raise ProviderUnavailable.of("timeout") from None
            raise _mapped(error) from None
        if limit.expired:  # the end of what was read may be that of the time, not of the response
            raise ProviderUnavailable.of("timeout")
        return ProviderResponse(response.status_code, response.headers, content)

    def _check_status(self, response: requests.Response, expected: frozenset[int]) -> None:
        status, headers = response.status_code, response.headers
        location = headers.get("Location", "")
        if 300 <= status < 400 and outage.is_redirection_away(status, location, self._base_url):  # noqa: PLR2004 - HTTP's
            raise ProviderUnavailable(retry_after=outage.delay(headers))
        if status in expected:
            return
        if status in {403, 429}:
            raise ProviderRateLimited(retry_after=outage.delay(headers))
        if status >= 500:  # noqa: PLR2004 - HTTP's own families
            raise ProviderUnavailable(retry_after=outage.delay(headers))
        raise ProviderInvalidResponse

    def forget_session(self) -> None:
        """Drop the cookies of the session."""
        self._session.cookies.clear()


class ProviderClient(HttpClient):
    """A provider's session. It asks one question at a time, as Lambda gives an environment one call at a time."""

    def __init__(
        self, provider: str, base_url: str, *, tls: ssl.SSLContext | None = None, circuit: str | None = None
    ) -> None:
        """Reach ``provider``; ``circuit`` is the name of the circuit breaker, for a provider that has several."""
        super().__init__(base_url, tls=tls)
        self._provider = provider
        self._circuit_breaker = CircuitBreaker(circuit or provider)

    @contextmanager
    def question(self, *, seconds: float | None = None) -> Iterator[None]:
        """Trace the requests sent within, and log their failure, under one time limit: ``seconds``, or the setting's.

        Raise ``CircuitOpen`` or ``ProviderInMaintenance``, and send nothing, when the provider must not be asked.
        """
        left = deadline.left()
        if left <= 0:  # too late for a response, which is not the provider's fault
            raise ProviderUnavailable.of("timeout")
        limit = min(settings().provider_deadline if seconds is None else seconds, left)
        with self._circuit_breaker.guard(current_asker()), provider_call(self._provider), time_limit(limit):
            yield


def _read(response: requests.Response) -> bytes:
    """Return the whole body of a response that is acceptable."""
    headers = response.headers
    if sum(len(name) + len(value) for name, value in headers.items()) > MAX_HEAD_BYTES:
        raise ProviderInvalidResponse
    if headers.get("Content-Encoding", "identity").lower() != "identity":  # which was not asked for
        raise ProviderInvalidResponse
    if headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
        raise ProviderInvalidResponse
    content = b""
    for chunk in response.iter_content(_CHUNK):
        content += chunk
        if len(content) > MAX_BYTES:
            raise ProviderInvalidResponse
    if getattr(response.raw._original_response, "has_surplus", False):  # noqa: SLF001 - the response that urllib3 reads
        raise ProviderInvalidResponse
    return content


# ── Errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class _ConnectionLost(Exception):
    """The connection was refused, or closed before a response began: the request may be sent again."""

    def __init__(self, failure: Failure = "unreachable") -> None:
        super().__init__()
        self.failure: Failure = failure


def _mapped(error: Exception) -> Exception:
    """Return the error that stands for one of requests', urllib3's or the system's."""
    cause = _cause(error)
    if isinstance(cause, RemoteDisconnected | NewConnectionError):
        return _ConnectionLost(_failure_of(cause))
    if isinstance(error, requests.Timeout | requests.exceptions.SSLError):
        return ProviderUnavailable.of("timeout" if isinstance(error, requests.Timeout) else "tls")
    if isinstance(error, requests.ConnectionError) and not isinstance(cause, HTTPException):
        return ProviderUnavailable()
    return ProviderInvalidResponse()


def _failure_of(cause: RemoteDisconnected | NewConnectionError) -> Failure:
    if isinstance(cause, NameResolutionError):
        return "dns"
    system = cause.__cause__
    return "no_network" if isinstance(system, OSError) and system.errno in {ENETUNREACH, ENETDOWN} else "unreachable"


def _cause(error: Exception) -> object:
    """Return what requests and urllib3 wrapped: the reason of the one, then the last argument of the other."""
    wrapped = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    reason = getattr(wrapped, "reason", wrapped)
    return reason.args[-1] if isinstance(reason, ProtocolError) else reason


# ── The session ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _Session(requests.Session):
    """A session that reads nothing of the environment, follows no redirection and trusts one TLS context."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__()
        self.trust_env = False
        adapter = _Adapter(tls)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    @override
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return nothing: requests reads the whole body of a response that it could follow."""


class _Adapter(HTTPAdapter):
    """An adapter that gives its connections one TLS context and a time limit."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls
        super().__init__(max_retries=0)

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    @override
    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        # Without these two overrides requests loads the public authorities into the context at the first request.
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls} if host["scheme"] == "https" else {}

    @override
    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the connection to its TLS context."""


class _Response(HTTPResponse):
    """A response that notes whether bytes came after its end: they could be read as the next one's."""

    has_surplus = False

    def _close_conn(self) -> None:  # at its end
        connection = current_limit().socket
        before = connection.gettimeout()
        try:
            connection.settimeout(0)
            self.has_surplus = bool(self.fp.peek(1))
        except (OSError, ValueError):  # nothing came, or it is closed
            self.has_surplus = False
        with suppress(OSError):
            connection.settimeout(before)
            if self.has_surplus:  # the rest of it may come later
                connection.shutdown(2)
        super()._close_conn()  # type: ignore[misc]  # what http.client calls at the end of a body


class _Watched:
    """Gives the time limit of the question the socket that a response is awaited on."""

    sock: Any
    response_class: Any = _Response
    host: str
    port: int
    timeout: Any

    def _new_conn(self) -> Any:
        # urllib3 tries the addresses of a name one after the other, each for the whole time.
        with suppress(OSError):
            addresses = len(getaddrinfo(self.host, self.port, type=SOCK_STREAM))
            self.timeout = max(min(self.timeout, _ADDRESS_SECONDS), self.timeout / addresses)
        return super()._new_conn()  # type: ignore[misc]  # that of the connection

    def getresponse(self) -> Any:
        current_limit().socket = self.sock
        return super().getresponse()  # type: ignore[misc]  # that of the connection


class _Connection(_Watched, HTTPConnection):
    """A connection under a time limit."""


class _TlsConnection(_Watched, HTTPSConnection):
    """A TLS connection under a time limit."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


@lru_cache(maxsize=1)
def _public_authorities() -> ssl.SSLContext:
    """Return the TLS context of a provider without one of its own; reading the authorities takes 15 ms."""
    return ssl.create_default_context(cafile=certifi.where())


# ── Retries ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class RetryBudget:
    """The retries that an environment may still make at a provider.

    One request in ten may be sent again, after a random pause: a provider that fails more must not be asked twice as
    much, nor by every environment at once.
    """

    PAUSE_SECONDS: Final = 0.05
    """At most."""
    SHARE: Final = 0.1
    """Of an environment's requests, those that may be sent again."""
    SAVED: Final = 3.0
    """Retries that an environment starts with, and saves at most."""

    def __init__(self) -> None:
        self._saved = self.SAVED

    def earn(self) -> None:
        """Count a request."""
        self._saved = min(self.SAVED, self._saved + self.SHARE)

    def take(self) -> bool:
        """Use a retry, after its pause; return False when there is none left."""
        if self._saved < 1:
            return False
        self._saved -= 1
        sleep(uniform(0, self.PAUSE_SECONDS))  # noqa: S311 - the order of retries is not a secret
        return True
