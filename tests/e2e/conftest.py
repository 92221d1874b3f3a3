"""Fixtures of the end-to-end tests: the deployed local stack; attacks without their counter-measures."""

from collections.abc import Generator, Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, visit
from tests.support.disarmed.countermeasures import DISARMED, STOPPED_BY, under_way
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
    items.sort(key=_order_of_attack if DISARMED else _rank)
    for item in items:
        if "e2e" in item.path.parts:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(900))


def _rank(item: pytest.Item) -> int:
    marker = item.get_closest_marker("order")
    return 0 if marker is None else marker.args[0]


# ── make attack WITHOUT=countermeasures ──────────────────────────────────────────────────────────────────────────────

_succeeded: list[str] = []
_refused: list[str] = []
_broken: list[str] = []


def _order_of_attack(item: pytest.Item) -> int:
    return list(STOPPED_BY).index(_attack(item)) if _attack(item) in STOPPED_BY else 0


def _attack(item: pytest.Item) -> str:
    """Return the name of a test without its parameters."""
    return item.name.partition("[")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Take away what stops an attack while its test runs, if that is asked for."""
    if not DISARMED or item.get_closest_marker("attack") is None:
        return (yield)
    kept = _broken
    try:
        with under_way(_attack(item)):
            result = yield
        kept = _refused
    except (AssertionError, pytest.fail.Exception):
        kept = _succeeded
        raise
    finally:
        kept.append(item.name)
    return result


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail for an attack that is refused all the same, even where no other was played."""
    if _refused:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the attacks that still do not succeed once what stops them is taken away."""
    if not DISARMED:
        return
    terminalreporter.section("without their counter-measures")
    count = len(_succeeded) + len(_refused) + len(_broken)
    terminalreporter.line(f"{len(_succeeded)} attacks of {count} succeed, so their tests fail, as they must.")
    for name in _refused:
        terminalreporter.line(f"REFUSED ALL THE SAME: {name}: another thing stops it, or its test cannot fail")
    for name in _broken:
        terminalreporter.line(f"BROKEN: {name} ended by an error that is no finding")
