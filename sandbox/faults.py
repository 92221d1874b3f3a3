"""Give a simulated provider a fault, for drills.

- ``slow``: sends a byte a second. No wait between two bytes is long enough to time out: only a total deadline ends it
- ``half``: announces the length of its response, and closes the connection in the middle of it
- ``certificate``: presents a certificate of another authority; only for a provider that speaks TLS
"""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

CERTIFICATE: Final = "certificate"
_PAUSE: Final = 1.0


def _drip(app: "WSGIApplication", environ: "WSGIEnvironment", start: "StartResponse") -> Iterator[bytes]:
    for byte in b"".join(app(environ, start)):
        time.sleep(_PAUSE)
        yield bytes([byte])


def _cut(app: "WSGIApplication", environ: "WSGIEnvironment", start: "StartResponse") -> Iterator[bytes]:
    content = b"".join(app(environ, start))
    yield content[: len(content) // 2]
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


_RESPONSES: Final[Mapping[str, Callable[["WSGIApplication", "WSGIEnvironment", "StartResponse"], Iterator[bytes]]]] = {
    "slow": _drip,
    "half": _cut,
}
FAULTS: Final = (*_RESPONSES, CERTIFICATE)


def with_fault(app: "WSGIApplication", fault: str | None) -> "WSGIApplication":
    """Return ``app`` with a fault of ``FAULTS``, or ``app`` itself without a fault."""
    respond = _RESPONSES.get(fault or "")
    return (lambda environ, start: respond(app, environ, start)) if respond else app
