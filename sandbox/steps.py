"""Say what a long command is doing, and for how long."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Final

_EVERY: Final = 5.0
"""Seconds between two signs that a step goes on."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print the title of a step, a dot every five seconds, and its duration."""
    started, ended = time.monotonic(), Event()
    print(f"· {title} … ", end="", file=sys.stderr, flush=True)
    Thread(target=_dots, args=(ended,), daemon=True).start()
    try:
        yield
    except BaseException:
        ended.set()
        print("failed", file=sys.stderr)
        raise
    ended.set()
    print(f"{time.monotonic() - started:.1f} s", file=sys.stderr)


def _dots(ended: Event) -> None:
    while not ended.wait(_EVERY):
        print(". ", end="", file=sys.stderr, flush=True)
