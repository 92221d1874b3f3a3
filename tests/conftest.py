"""Fixtures of every test: the environment of a function, tables in moto, certificates."""

from collections.abc import Iterator
from typing import Any, override

import boto3
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from sandbox.certificates import Certificates, ensure
from tests.support.cloud import Cloud, moto_cloud
from tests.support.function import new_environment

# No test is timed: the machine that runs it may be busy.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


class _OneStack(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """One process has the end-to-end tests, in order: they share a stack. The others are for whoever is free."""

    @override
    def _split_scope(self, nodeid: str) -> str:
        return "tests/e2e" if nodeid.startswith("tests/e2e/") else nodeid


@pytest.hookimpl(optionalhook=True)  # for those who run without pytest-xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _OneStack:
    return _OneStack(config, log)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A function's environment, and no memory of another test's."""
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
        "PROVIDER_CONNECT_TIMEOUT": "1",
        "PROVIDER_READ_TIMEOUT": "1",
        "PROVIDER_DEADLINE": "2",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    new_environment()
    yield
    new_environment()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with moto_cloud(monkeypatch) as made:
        yield made


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What the CAF, played on the wire, and its client speak mutual TLS with."""
    return ensure(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture
def caf_secret(cloud: Cloud, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> str:  # noqa: ARG001 - moto
    """The secret of our client certificate, filled; returns its id."""
    made: str = boto3.client("secretsmanager").create_secret(Name="caf", SecretString=certificates.secret())["ARN"]
    monkeypatch.setenv("CAF_SECRET_ID", made)
    return made
