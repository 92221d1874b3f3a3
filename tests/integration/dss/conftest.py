"""A scripted API-SECU, and a key with all scopes of v3."""

from collections.abc import Iterator

import pytest

from tests.support.api_secu import EVERY_SCOPE, Gate, play_gate
from tests.support.cloud import Cloud


@pytest.fixture
def gate(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:  # noqa: ARG001 - moto
    with play_gate(monkeypatch) as played:
        yield played


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key(*EVERY_SCOPE)
