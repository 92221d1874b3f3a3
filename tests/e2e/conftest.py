"""Fixtures of the end-to-end tests: the deployed local stack."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, browser, visit
from tests.support.stack import Stack, run_sandbox, start_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Deploy the template to a local stack in a folder of the tests; stop it at the end."""
    try:
        yield start_stack()
    finally:
        run_sandbox("down")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture
def visitor(chromium: Browser) -> Iterator[Visit]:
    with visit(chromium) as made:
        yield made


@pytest.fixture(autouse=True)
def _environment() -> None:
    """Override the fixture of the other tests: its variables would change what `make up` deploys."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))
