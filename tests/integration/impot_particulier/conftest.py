"""Fixtures of the API Impôt particulier tests."""

import json
from collections.abc import Iterator

import boto3
import pytest

from sandbox.simulators import impot_particulier
from sandbox.simulators.svair import Person
from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.impot_particulier import PERSON, ImpotParticulier
from tests.support.scopes import EVERY_SCOPE


@pytest.fixture
def people() -> list[Person]:
    return [PERSON]


@pytest.fixture
def service(cloud: Cloud, people: list[Person], monkeypatch: pytest.MonkeyPatch) -> Iterator[ImpotParticulier]:
    """The service, configured as the tax provider, with our credentials in the secret."""
    assert cloud.tokens.name
    made = ImpotParticulier(impot_particulier.app_of(lambda: people))
    boto3.client("secretsmanager").create_secret(Name="client", SecretString=json.dumps(impot_particulier.CLIENT))
    with wire.serve(made) as made.url:
        monkeypatch.setenv("DGFIP_PROVIDER", "impot_particulier")
        monkeypatch.setenv("IMPOT_PARTICULIER_URL", made.url)
        monkeypatch.setenv("IMPOT_PARTICULIER_SECRET_ID", "client")
        monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")  # a test of 2026 passes in 2036
        yield made


@pytest.fixture
def key(cloud: Cloud, service: ImpotParticulier) -> str:
    assert service.url
    return cloud.issue_key(*EVERY_SCOPE)
