"""Measure the log lines and the audit record of a call, which are billed by the byte."""

import json
from collections.abc import Iterator, Mapping
from math import ceil
from statistics import mean
from typing import Any
from uuid import uuid4

import pytest

from ops.cost import ENTRY_BYTES, WRITES
from ops.functions import datasets
from sandbox.simulators import ban
from tests.support import wire
from tests.support.caf import Caf
from tests.support.cloud import Cloud
from tests.support.function import call_api
from tests.support.scopes import EVERY_SCOPE
from tests.support.tax_service import TaxService

pytestmark = pytest.mark.slow


DATASETS = [dataset for dataset in datasets() if dataset.provider != "dss"]
"""Those by number; a record by civil identity has the same attributes and a recipient."""
DOORS = [(dataset.name, route) for dataset in DATASETS for route in dataset.routes]


@pytest.fixture
def key(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ENVIRONMENT", "production")
    return cloud.issue_key(*EVERY_SCOPE, id=str(uuid4()))


@pytest.fixture
def providers(dgfip: TaxService, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert dgfip.url
    with wire.serve(ban.app()) as geocoder, Caf().serve(None) as caf:
        monkeypatch.setenv("BAN_URL", geocoder)
        monkeypatch.setenv("CAF_URL", caf)
        yield


def written(door: tuple[str, str], key: str, status: int, capfd: pytest.CaptureFixture[str]) -> int:
    """Return how many bytes a call logs; its response must have this status."""
    dataset, route = door
    capfd.readouterr()
    assert call_api(f"{dataset}/{'v2' if '/v2/' in route else 'v1'}", key=key).status == status
    return len(capfd.readouterr().out.encode())


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.usefixtures("providers")
def test_a_successful_call_logs_less_than_a_kilobyte(
    key: str, door: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert 0 < written(door, key, 200, capfd) < 1000


@pytest.mark.parametrize("door", DOORS)
def test_a_call_whose_provider_fails_logs_less_than_a_kilobyte(
    key: str, door: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    assert 0 < written(door, key, 503, capfd) < 1000


@pytest.mark.usefixtures("providers")
def test_a_call_logs_one_line_with_its_provider_and_the_time_that_it_took(
    key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call_api("adresse_fiscale/v2", key=key).status == 200
    (line,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert (line["event"], line["provider"]) == ("answered", "dgfip")
    assert 0 <= line["provider_ms"] <= line["duration_ms"] + 1


def bytes_of(value: object) -> int:
    """Return how many bytes DynamoDB counts for a value.

    https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
    """
    match value:
        case str():
            return len(value.encode())
        case list():
            return 3 + sum(1 + bytes_of(element) for element in value)
        case None | bool():
            return 1
        case _:  # a number: two digits a byte, plus one byte
            return ceil(len(str(value)) / 2) + 1


def weight(entry: Mapping[str, Any]) -> int:
    return sum(len(name) + bytes_of(value) for name, value in entry.items())


@pytest.mark.usefixtures("providers")
def test_an_audit_record_weighs_what_the_cost_model_assumes(key: str, cloud: Cloud) -> None:
    for dataset in DATASETS:
        agent = {"X-User": "agent@ville.example"}
        assert call_api(f"{dataset.name}/v2", key=key, headers=agent).status == 200
    weights = {str(entry["dataset"]): weight(entry) for entry in cloud.audit_records()}
    assert {name: ceil(size / 1024) for name, size in weights.items()} == {
        dataset.name: WRITES.get(dataset.name, 1) for dataset in DATASETS
    }
    assert weights["avis_imposition"] <= 1000
    assert mean(weights.values()) + 100 == pytest.approx(ENTRY_BYTES, rel=0.05)
