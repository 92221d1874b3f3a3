"""Fixtures of the tests of seals."""

import pytest

from tests.support.cloud import Cloud
from tests.support.sealing import Sealing, play_sealing


@pytest.fixture
def sealing(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Sealing:
    return play_sealing(cloud, monkeypatch)
