"""Forward ports: on the host from Docker's bridge to loopback, in the container from loopback to the bridge.

A container does not reach the host's loopback, where the local stack listens, and the addresses of the simulated
providers stay loopback's. This file is also in the image, where it imports nothing of the project:
``relay.py 127.0.0.1 172.17.0.1 PORT…`` returns once it listens, and goes on in the background.
"""

import asyncio
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event, Thread

_CHUNK = 64 * 1024


def listen(host: str, ports: Sequence[int]) -> list[socket.socket]:
    """Listen on each port of an address; raise ``OSError`` when it is not this machine's, or a port is taken."""
    return [socket.create_server((host, port)) for port in ports]


async def forward(sockets: Sequence[socket.socket], target: str) -> None:
    """Forward every connection to the same port of ``target``, for ever."""
    servers = [
        await asyncio.start_server(partial(_connect, target, listening.getsockname()[1]), sock=listening)
        for listening in sockets
    ]
    await asyncio.gather(*(server.serve_forever() for server in servers))


async def _connect(target: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        other_reader, other_writer = await asyncio.open_connection(target, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(_copy(reader, other_writer), _copy(other_reader, writer))
    other_writer.close()
    writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@contextmanager
def relaying(host: str, target: str, ports: Sequence[int]) -> Iterator[None]:
    """Forward the ports of ``host`` to those of ``target`` in a thread, for the time of a ``with``."""
    sockets, loop, started = listen(host, ports), asyncio.new_event_loop(), Event()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.call_soon(started.set)
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for pending in asyncio.all_tasks(loop):
            pending.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    task = loop.create_task(forward(sockets, target))
    thread = Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()
        for listening in sockets:
            listening.close()


if __name__ == "__main__":
    bound = listen(sys.argv[1], [int(port) for port in sys.argv[3:]])
    if os.fork() == 0:  # the caller goes on: it may connect
        asyncio.run(forward(bound, sys.argv[2]))
