"""Second tries: few enough for a provider that is going down, and not all at once.

Only what is safe is tried again (``client.py`` says what), once, after a random pause, and while one question in ten
needs it: a provider that fails more is not to be asked twice as much.
"""

from random import uniform
from time import sleep
from typing import Final

PAUSE_SECONDS: Final = 0.05
"""At most; at random from none, so that those who were cut off together do not come back together."""
SHARE: Final = 0.1
"""Of the questions of an environment, those that may be tried again."""
SAVED: Final = 3.0
"""Tries that an environment starts with, and saves at most."""


class Retries:
    """The second tries that one environment may still make at a provider."""

    def __init__(self) -> None:
        self._saved = SAVED

    def earn(self) -> None:
        """Count a question."""
        self._saved = min(SAVED, self._saved + SHARE)

    def take(self) -> bool:
        """Take one, after its pause; False when there is none."""
        if self._saved < 1:
            return False
        self._saved -= 1
        sleep(uniform(0, PAUSE_SECONDS))  # noqa: S311 - who tries again first is no secret
        return True
