"""Fixtures of the tests of statistics."""

from datetime import datetime
from typing import Any, override

import pytest

from api_particulier import paris_time
from api_particulier.public import statistics
from tests.support.counting import Clock


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the statistics and their command read a clock that the test sets, and retry without waiting."""
    set_clock = Clock()

    class SetTime(datetime):
        @classmethod
        @override
        def now(cls, tz: Any = None) -> Any:
            return set_clock.now.astimezone(tz)

    for module in (statistics, paris_time):
        monkeypatch.setattr(module, "datetime", SetTime)
    monkeypatch.setattr("ops.statistics.datetime", SetTime)
    monkeypatch.setattr(statistics, "monotonic", lambda: set_clock.seconds)
    monkeypatch.setattr(statistics, "sleep", lambda _: None)
    return set_clock
