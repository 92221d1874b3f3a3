"""Fixtures of all tests: the environment of a function, the cloud in moto, certificates."""

from collections.abc import Iterator
from typing import Any, override

import boto3
import hypothesis
import pytest
from playwright.sync_api import Browser
from xdist.scheduler import LoadScopeScheduling

from sandbox.certificates import Certificates, ensure
from tests.support.browser import browser
from tests.support.cloud import Cloud, moto_cloud
from tests.support.function import new_environment

# Examples have no deadline: the machine may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


class _OneStack(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Run the end-to-end tests in one process, in order, since they share a stack, and those of a browser by file.

    Any process takes the other tests.

    ``--dist loadgroup`` would do, but is broken with pytest 9.2 until pytest-xdist 3.9 (pytest-xdist issue 1386).
    """

    @override
    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith("tests/e2e/"):
            return "tests/e2e"
        return nodeid.partition("::")[0] if "test_site_pages" in nodeid else nodeid


@pytest.hookimpl(optionalhook=True)  # pytest-xdist may be absent
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneStack:
    return _OneStack(config, log)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give each test the variables of a function and the empty caches of a new environment."""
    variables = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-3",
        "TOKENS_TABLE": "tokens",
        "AUDIT_TABLE": "audit",
        "STATS_TABLE": "stats",
        "HABILITATIONS_TABLE": "habilitations",
        "DGFIP_SVAIR_URL": "http://127.0.0.1:9",
        "CAF_URL": "http://127.0.0.1:9",
        "BAN_URL": "http://127.0.0.1:9",
        # Long: a busy machine is not to be taken for a slow provider (``shorten_timeouts``).
        "PROVIDER_CONNECT_TIMEOUT": "10",
        "PROVIDER_READ_TIMEOUT": "20",
        "PROVIDER_DEADLINE": "28",
        "BAN_DEADLINE": "20",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    new_environment()
    yield
    new_environment()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with moto_cloud(monkeypatch) as started:
        yield started


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The certificates of the simulated CAF and of its client, for mutual TLS."""
    return ensure(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture
def caf_secret(cloud: Cloud, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: ARG001 - moto
    """Store the client certificate as a secret, and return the secret's id."""
    secret_id: str = boto3.client("secretsmanager").create_secret(Name="caf", SecretString=certificates.secret())["ARN"]
    monkeypatch.setenv("CAF_SECRET_ID", secret_id)
    return secret_id


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started
