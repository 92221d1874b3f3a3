"""The tax service on the wire, and a key with all of its scopes."""

from collections.abc import Iterator

import pytest

from tests.support.cloud import Cloud
from tests.support.svair import SimulatedSvair
from tests.support.wire import serve


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedSvair]:
    """The simulated tax service; a test changes its people or its pages."""
    played = SimulatedSvair()
    with serve(played) as played.url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", played.url)
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")  # a test of 2026 passes in 2036
        yield played


@pytest.fixture
def key(cloud: Cloud) -> str:
    """A key with every scope of the tax service."""
    return cloud.issue_key("dgfip_avis_imposition")
