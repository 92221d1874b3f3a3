"""The CAF over mutual TLS, and a key with all of its scopes."""

from collections.abc import Iterator

import pytest

from sandbox.certificates import Certificates
from tests.support.caf import Caf, play_caf
from tests.support.cloud import Cloud


@pytest.fixture
def caf(caf_secret: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caf]:
    assert caf_secret
    with play_caf(certificates.server_context(), monkeypatch) as played:
        yield played


@pytest.fixture
def key(cloud: Cloud) -> str:
    """A key with every scope of the CAF."""
    return cloud.issue_key("cnaf_attestation_droits")
