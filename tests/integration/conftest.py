"""Fixtures of the integration tests: the providers, played on the wire."""

from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.support.caf import Caf, caf_at
from tests.support.site import built
from tests.support.tax_service import Provider, _Handler


@pytest.fixture
def dgfip(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """The tax service, which knows everybody's notice, of whatever year."""
    provider = Provider()
    handler = type("_Played", (_Handler,), {"provider": provider})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        provider.url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("DGFIP_SVAIR_URL", provider.url)
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")  # a test of 2026 passes in 2036
        yield provider
        server.shutdown()
        thread.join()


@pytest.fixture
def caf(caf_secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caf]:
    """The CAF, which knows one family."""
    assert caf_secret
    with caf_at(None, monkeypatch) as played:
        yield played


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(built_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's files, where a function's layer brings them."""
    monkeypatch.syspath_prepend(built_site / "python")
