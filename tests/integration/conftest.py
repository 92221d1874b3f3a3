"""Fixtures of the integration tests: the providers on the wire, and the website."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.caf import Caf, play_caf
from tests.support.site import build_site
from tests.support.tax_service import TaxService
from tests.support.wire import serve


@pytest.fixture
def dgfip(monkeypatch: pytest.MonkeyPatch) -> Iterator[TaxService]:
    """Serve the scripted tax service at the address that the functions call."""
    service = TaxService()
    with serve(service) as service.url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", service.url)
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")  # the notices of 2026 stay available in later years
        yield service


@pytest.fixture
def caf(caf_secret: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caf]:
    """Serve the simulated CAF, with one family, without TLS."""
    assert caf_secret
    with play_caf(None, monkeypatch) as served:
        yield served


@pytest.fixture(scope="session")
def built_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(built_site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the files of the website on the import path, where a function's layer puts them."""
    monkeypatch.syspath_prepend(built_site / "python")
