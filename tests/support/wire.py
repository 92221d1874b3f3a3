"""HTTP servers on loopback: any WSGI application, or a server that is broken in a chosen way."""

import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from fcntl import ioctl
from functools import partial
from http.server import BaseHTTPRequestHandler
from itertools import repeat
from socketserver import BaseRequestHandler, ThreadingTCPServer
from ssl import SSLContext
from termios import TIOCOUTQ
from threading import Event, Thread
from time import sleep
from typing import TYPE_CHECKING, override

from werkzeug.test import EnvironBuilder, run_wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

HOST = "127.0.0.1"
DRIP_SECONDS = 0.05
FLOOD_BYTES = 50 * 1024 * 1024


class _Handler(BaseHTTPRequestHandler):
    """Serve a WSGI application with persistent connections, which werkzeug's own handler does not support."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    app: "WSGIApplication"
    opened: list[socket.socket]

    @override
    def setup(self) -> None:
        super().setup()
        self.opened.append(self.connection)

    @override
    def handle(self) -> None:
        with suppress(OSError):  # the client may close the connection at any time
            super().handle()

    def respond(self) -> None:
        request = EnvironBuilder(
            self.path,
            method=self.command,
            headers=list(self.headers.items()),
            data=self.rfile.read(int(self.headers.get("Content-Length", 0))),
            environ_overrides={"REMOTE_ADDR": self.client_address[0], "REMOTE_PORT": self.client_address[1]},
        )
        content, status, headers = run_wsgi_app(self.app, request.get_environ(), buffered=True)
        body = b"".join(content)
        self.send_response_only(int(status.split()[0]))
        for name, value in headers:
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = respond  # noqa: N815 - names that http.server requires


@contextmanager
def serve(app: "WSGIApplication", tls: SSLContext | None = None) -> Iterator[str]:
    """Serve ``app`` on a free port, over TLS if a context is given, and yield its address."""
    opened: list[socket.socket] = []
    handler = type("Handler", (_Handler,), {"app": staticmethod(app), "opened": opened})
    with _started(handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        yield f"{'https' if tls else 'http'}://{HOST}:{server.server_address[1]}"
    for connection in opened:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def _started(handler: type[BaseRequestHandler]) -> Iterator[ThreadingTCPServer]:
    with ThreadingTCPServer((HOST, 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


type Conversation = Callable[[socket.socket, Event], None]
"""What a server does with one connection; it stops once the event is set."""
type Server = Callable[[], AbstractContextManager[str]]
"""A context manager that starts a server and yields its address."""


@contextmanager
def converse(conversation: Conversation) -> Iterator[str]:
    """Start a server that has this conversation on each connection, and yield its address."""
    stopped = Event()

    class Handler(BaseRequestHandler):
        @override
        def handle(self) -> None:
            with suppress(OSError):  # the client may close the connection at any time
                conversation(self.request, stopped)

    with _started(Handler) as server:
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            stopped.set()


def read_request(connection: socket.socket) -> bytes:
    """Read one request with its body; empty if the client has closed the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (chunk := connection.recv(65536)):
            return b""
        received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def deliver(connection: socket.socket, content: bytes) -> None:
    """Send the content, and return once the client's system has received all of it."""
    connection.sendall(content)
    while any(ioctl(connection, TIOCOUTQ, bytes(4))):
        sleep(0.001)


def response(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a response: by default an HTML page with its length."""
    all_headers = {"Content-Type": "text/html; charset=UTF-8", "Content-Length": str(len(body))} | dict(headers or {})
    lines = [f"HTTP/1.1 {status} Status", *(f"{name}: {value}" for name, value in all_headers.items() if value), "", ""]
    return "\r\n".join(lines).encode() + body


# ── Broken servers ────────────────────────────────────────────────────────────────────────────────────────────────────


@contextmanager
def refusing() -> Iterator[str]:
    """Yield an address that refuses connections; the port stays taken within the ``with`` block."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield f"http://{HOST}:{bound.getsockname()[1]}"


@contextmanager
def plain_behind_https() -> Iterator[str]:
    """Yield an ``https://`` address at which the server does not speak TLS."""
    with converse(_respond_in_clear) as url:
        yield url.replace("http://", "https://")


def answering(content: bytes) -> Server:
    """Send these bytes in response to each request, and keep the connection open."""
    return partial(converse, partial(_respond, content))


def closing_after(content: bytes) -> Server:
    """Send these bytes in response to one request, and close the connection."""
    return partial(converse, partial(_respond_once, content))


def dripping(beginning: bytes, drop: bytes) -> Server:
    """Send the beginning of a response, then ``drop`` every 50 ms, without end."""
    return partial(converse, partial(_drip, beginning, drop))


def flooding() -> AbstractContextManager[str]:
    """Send a response of 50 MB, with its length in the header."""
    return converse(_flood)


def resetting() -> AbstractContextManager[str]:
    """Read a request and reset the connection."""
    return converse(_reset)


def silent() -> AbstractContextManager[str]:
    """Accept connections and never send anything."""
    return converse(_wait)


def _respond(content: bytes, connection: socket.socket, _: Event) -> None:
    while read_request(connection):
        connection.sendall(content)


def _respond_once(content: bytes, connection: socket.socket, _: Event) -> None:
    read_request(connection)
    connection.sendall(content)


def _respond_in_clear(connection: socket.socket, _: Event) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _drip(beginning: bytes, drop: bytes, connection: socket.socket, stopped: Event) -> None:
    read_request(connection)
    connection.sendall(beginning)
    while not stopped.wait(DRIP_SECONDS):
        connection.sendall(drop)


def _flood(connection: socket.socket, _: Event) -> None:
    read_request(connection)
    connection.sendall(response(b"", headers={"Content-Length": str(FLOOD_BYTES)}))
    for megabyte in repeat(b"<p>" + b" " * (1024 * 1024 - 3), 50):
        connection.sendall(megabyte)


def _reset(connection: socket.socket, _: Event) -> None:
    read_request(connection)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _wait(_: socket.socket, stopped: Event) -> None:
    stopped.wait()
