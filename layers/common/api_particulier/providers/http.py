"""How every provider is spoken to: connections kept alive, deadlines, a limit on size, one safe retry, errors mapped.

A provider's module makes one ``Client``, opens a ``question``, calls ``send`` within it and reads the ``Answer``.
Whatever goes wrong on the way is one of these, its cause dropped (it would print a URL, and a URL names people):

- refused connection, reset, time-out, failed TLS, HTTP 5xx → ``ProviderUnreachable``
- HTTP 403 or 429 → ``ProviderRefused``
- any other status that the provider's module did not ask for, an answer too large, cut short or that is no HTTP →
  ``ProviderUnreadable``
"""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from http.cookiejar import CookieJar
from io import BytesIO
from time import monotonic
from typing import Final
from urllib.parse import urlsplit
from urllib.request import Request
from urllib.response import addinfo

from api_particulier.api import deadline as call_deadline
from api_particulier.connections import Answer, Connections, LostError, UnreadableError, trusting_public_authorities
from api_particulier.errors import ProviderInvalidResponse, ProviderRateLimited, ProviderUnavailable
from api_particulier.observability import provider_call
from api_particulier.providers.circuit_breaker import CircuitBreaker
from api_particulier.providers.retries import Retries
from api_particulier.settings import settings

MAX_BYTES: Final = 2 * 1024 * 1024
"""A notice is 5 kB, a family file 3 kB: what is a thousand times that is no answer."""
OK: Final = frozenset({200})
_HEADERS: Final = {"User-Agent": "api-particulier", "Accept": "*/*", "Accept-Encoding": "identity"}


class Budget:
    """The instant at which a question is given up, whatever the provider is still dripping."""

    def __init__(self) -> None:
        self._end = 0.0

    def start(self, seconds: float) -> None:
        self._end = monotonic() + seconds

    def to_connect(self) -> float:
        return self._left(settings().provider_connect_timeout)

    def to_read(self) -> float:
        return self._left(settings().provider_read_timeout)

    def _left(self, at_most: float) -> float:
        left = self._end - monotonic()
        if left <= 0:
            raise TimeoutError
        return min(left, at_most)


class Client:
    """A provider's connections. One question at a time: that is how Lambda calls an environment."""

    def __init__(self, provider: str, base_url: str, *, tls: ssl.SSLContext | None = None) -> None:
        """Speak to ``provider`` at ``base_url``; ``tls`` carries a client certificate where it asks for one."""
        self._provider = provider
        self._circuit = CircuitBreaker(provider)
        self._retries = Retries()
        self._base_url = base_url
        self._prefix = urlsplit(base_url).path
        self._budget = Budget()
        self._cookies = CookieJar()
        self._last_cookie: tuple[str, dict[str, str]] = ("", {})
        self.tls = tls or (trusting_public_authorities() if base_url.startswith("https") else None)
        self._connections = Connections(base_url, self.tls, self._budget, at_most=MAX_BYTES)

    @contextmanager
    def question(self, *, deadline: float | None = None) -> Iterator[None]:
        """Time, count and trace all that is sent within, under one deadline (seconds): its own, or that of all.

        ``CircuitOpen`` or ``ProviderInMaintenance``, and nothing is sent, when the provider is not to be asked.
        """
        if call_deadline.left() <= 0:  # too late for an answer, by no fault of the provider
            raise ProviderUnavailable
        with self._circuit.guard(), provider_call(self._provider):
            own = settings().provider_deadline if deadline is None else deadline
            self._budget.start(min(own, call_deadline.left()))
            yield

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        expected: frozenset[int] = OK,
    ) -> Answer:
        """Ask, and perhaps once more if the connection fell before an answer began: every question only reads.

        A ``body`` that is a text is a form, as ``urlencode`` writes it. A redirection is never followed.
        """
        said = {**_HEADERS, **(headers or {})}
        if isinstance(body, str):
            body, said["Content-Type"] = body.encode(), "application/x-www-form-urlencoded"
        self._retries.earn()
        try:
            return self._send(method, path, body, said, expected)
        except LostError:
            if not self._retries.take():
                raise ProviderUnavailable from None
            try:
                return self._send(method, path, body, said, expected)
            except LostError:
                raise ProviderUnavailable from None

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str], expected: frozenset[int]
    ) -> Answer:
        said = headers | self._cookie(path)
        try:
            answer = self._connections.ask(method, f"{self._prefix}{path}", said, body, expected=expected)
        except (TimeoutError, ssl.SSLError):
            raise ProviderUnavailable from None
        except (UnreadableError, ValueError):
            raise ProviderInvalidResponse from None
        self._keep_cookies(path, answer)
        _check_status(answer.status, expected)
        return answer

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

    def _keep_cookies(self, path: str, answer: Answer) -> None:
        if answer.cookies:
            said = Message()
            for cookie in answer.cookies:
                said["Set-Cookie"] = cookie
            self._cookies.extract_cookies(addinfo(BytesIO(), said), Request(f"{self._base_url}{path}"))  # type: ignore[arg-type]  # noqa: S310 - only described
            self._last_cookie = "", {}


def _check_status(status: int, expected: frozenset[int]) -> None:
    if status in expected:
        return
    if status in {403, 429}:
        raise ProviderRateLimited
    if status >= 500:  # noqa: PLR2004 - HTTP's own families
        raise ProviderUnavailable
    raise ProviderInvalidResponse
