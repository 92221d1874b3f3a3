"""Connections to a server, kept alive; a request leaves in one write, its head with its body.

``http.client`` writes them apart: twice the system calls, TLS records and packets, for bodies of a kilobyte.
"""

import ssl
from functools import lru_cache
from typing import Any, override

import certifi
from urllib3 import HTTPConnectionPool, connection_from_url
from urllib3.connection import HTTPConnection, HTTPSConnection


class _InOneWrite(HTTPConnection):
    _held: bytearray | None = None

    @override
    def request(self, *args: Any, **kwargs: Any) -> None:
        self._held = bytearray()
        try:
            super().request(*args, **kwargs)
            held = self._held
        finally:
            self._held = None
        self.send(held)

    @override
    def send(self, data: Any) -> None:
        if self._held is None:
            super().send(data)
        else:
            self._held += data


class _TLSInOneWrite(_InOneWrite, HTTPSConnection):
    pass


def connections_to(url: str, tls: ssl.SSLContext | None) -> HTTPConnectionPool:
    """Return those to a URL's server, from which no proxy of the environment turns away; nothing is tried twice."""
    options = {"ssl_context": tls} if tls else {}
    made = connection_from_url(url, maxsize=1, retries=False, **options)
    made.ConnectionCls = _TLSInOneWrite if tls else _InOneWrite
    return made


@lru_cache(maxsize=1)
def trusting_public_authorities() -> ssl.SSLContext:
    """Return the one context of every connection that asks nothing particular: reading the authorities is slow."""
    return ssl.create_default_context(cafile=certifi.where())
