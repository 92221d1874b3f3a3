"""The CAF over mutual TLS, and a key with all of its scopes."""

from collections.abc import Iterator

import pytest

from sandbox.certificates import Certificates
from tests.support.caf import Caf, caf_at
from tests.support.function import Cloud


@pytest.fixture
def caf(caf_secret: str, certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> Iterator[Caf]:
    assert caf_secret
    with caf_at(certificates.server_context(), monkeypatch) as played:
        yield played


@pytest.fixture
def key(cloud: Cloud) -> str:
    """A key with every scope of the CAF."""
    return cloud.token("cnaf_attestation_droits")
