"""Which caller asks, and about which person, so that a failure of one file is not taken for one of its provider.

Both are names without a person in them: the id of a token, and the pseudonym of the month.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

_LENGTH: Final = 8


@dataclass(frozen=True)
class Asker:
    """A caller, and the person that it asks about."""

    caller: str
    person: str

    @property
    def name(self) -> str:
        """The two, as they are stored."""
        return f"{self.caller}:{self.person}"


_SERVICE: Final = Asker("service", "service")
_current: ContextVar[Asker] = ContextVar("asker", default=_SERVICE)


@contextmanager
def asking(caller: str, person: str) -> Iterator[None]:
    """Name the caller and the person of the questions asked within, by the beginnings of their names."""
    previous = _current.set(Asker(caller[:_LENGTH], person[:_LENGTH]))
    try:
        yield
    finally:
        _current.reset(previous)


def current_asker() -> Asker:
    """Return who asks; the service itself, for its pings and probes."""
    return _current.get()
