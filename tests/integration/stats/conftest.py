"""Fixtures of the tests of statistics."""

from datetime import datetime
from typing import Any, override

import pytest

from api_particulier import paris_time
from api_particulier.public import statistics
from tests.support.cloud import Cloud
from tests.support.counting import Clock
from tests.support.sealing import Sealing, play_sealing


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the statistics read a clock that the test sets."""
    set_clock = Clock()

    class SetTime(datetime):
        @classmethod
        @override
        def now(cls, tz: Any = None) -> Any:
            return set_clock.now.astimezone(tz)

    monkeypatch.setattr(paris_time, "datetime", SetTime)
    monkeypatch.setattr(statistics, "monotonic", lambda: set_clock.seconds)
    return set_clock


@pytest.fixture
def sealing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Sealing:
    return play_sealing(cloud, monkeypatch)
