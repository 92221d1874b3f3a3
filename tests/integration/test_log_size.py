"""What a call costs of log, which is paid for by the byte: of every dataset, with the longest ids that AWS gives."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from ops.functions import datasets
from sandbox import ban
from tests import wire
from tests.caf import Caf
from tests.conftest import EVERY_SCOPE, Cloud, ask
from tests.integration.conftest import Provider

DOORS = [(one.name, route) for one in datasets() for route in one.routes]


@pytest.fixture
def key(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ENVIRONMENT", "production")
    return cloud.token(*EVERY_SCOPE, id=str(uuid4()))


@pytest.fixture
def providers(dgfip: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert dgfip.url
    with wire.serve(ban.app()) as geocoder, Caf().serve(None) as caf:
        monkeypatch.setenv("BAN_URL", geocoder)
        monkeypatch.setenv("CAF_URL", caf)
        yield


def written(door: tuple[str, str], key: str, status: int, capfd: pytest.CaptureFixture[str]) -> int:
    """Return how many bytes are logged of a call that is answered with this status."""
    dataset, route = door
    capfd.readouterr()
    assert ask(f"{dataset}/{'v2' if '/v2/' in route else 'v1'}", key=key).status == status
    return len(capfd.readouterr().out.encode())


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.usefixtures("providers")
def test_the_log_of_a_call_is_less_than_a_kilobyte(
    key: str, door: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert 0 < written(door, key, 200, capfd) < 1000


@pytest.mark.parametrize("door", DOORS)
def test_that_of_a_call_whose_provider_fails_too(
    key: str, door: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert 0 < written(door, key, 503, capfd) < 1000


@pytest.mark.usefixtures("providers")
def test_of_a_tax_address_both_providers_are_told(key: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert ask("adresse_fiscale/v2", key=key).status == 200
    logged = capfd.readouterr().out
    assert [logged.count(f'"provider": "{name}"') for name in ("dgfip", "ban")] == [1, 1]
