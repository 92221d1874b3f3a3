"""Fixtures of the end-to-end tests: the deployed local stack."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, visit
from tests.support.stack import Run, Stack


@pytest.fixture(scope="session")
def run() -> Iterator[Run]:
    """Start the main job in a folder of the tests, and stop it at the end."""
    started = Run()
    yield started
    started.stop()


@pytest.fixture(scope="session")
def stack(run: Run) -> Stack:
    """Return the stack that the main job has deployed, which all end-to-end tests share."""
    assert run.printed
    return Stack.running()


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Visit]:
    with visit(chromium) as made:
        yield made


@pytest.fixture(autouse=True)
def _environment() -> None:
    """Override the fixture of the other tests: its variables would change what `make up` deploys."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the end-to-end tests, and order them by the rank of ``order(rank)``, 0 without it."""
    items.sort(key=_rank)
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))


def _rank(item: pytest.Item) -> int:
    marker = item.get_closest_marker("order")
    return 0 if marker is None else marker.args[0]
