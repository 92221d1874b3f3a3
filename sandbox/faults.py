"""Drills: a simulated provider that listens, and does not serve as it should.

- ``slow``: says a byte a second. No wait between two bytes is too long: only the question's deadline ends it
- ``half``: says how long its answer is, and closes the connection in the middle of it
- ``certificate``: shows a certificate of another authority; of a provider that speaks TLS
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


_ANSWERS: Final[Mapping[str, Callable[["WSGIApplication", "WSGIEnvironment", "StartResponse"], Iterator[bytes]]]] = {
    "slow": _drip,
    "half": _cut,
}
FAULTS: Final = (*_ANSWERS, CERTIFICATE)


def answering(app: "WSGIApplication", fault: str | None) -> "WSGIApplication":
    """Return an application that answers what ``app`` does, with a fault of ``FAULTS``; itself without one."""
    played = _ANSWERS.get(fault or "")
    return (lambda environ, start: played(app, environ, start)) if played else app
