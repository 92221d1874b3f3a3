"""Answer and audit a call however slow its dependencies are; keep retries few and spread out."""

from contextlib import AbstractContextManager
from typing import Any

import boto3
import pytest

from api_particulier.api import deadline
from api_particulier.dynamodb import serialize
from api_particulier.providers import http
from api_particulier.providers.health import key_of
from api_particulier.providers.http import RetryBudget
from api_particulier.providers.time_limit import time_limit
from tests.support import wire
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api
from tests.support.tax_service import TaxService

NUMBERS: dict[str, Any] = {"numeroFiscal": "2690000000095", "referenceAvis": "2690000000096"}


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition")


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that each call of a provider was given."""
    seconds: list[float] = []
    original = time_limit

    def limited(limit: float) -> AbstractContextManager[None]:
        seconds.append(limit)
        return original(limit)

    monkeypatch.setattr(http, "time_limit", limited)
    return seconds


def call(key: str, event: str = "avis_imposition/v2") -> Response:
    return call_api(event, key=key, **NUMBERS)


def test_a_provider_gets_its_full_deadline_in_a_fast_call(
    key: str, dgfip: TaxService, given: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_DEADLINE", "7")
    assert call(key).status == 200
    assert given == [7.0]
    assert dgfip.requests


def test_a_provider_gets_only_the_time_left_in_a_slow_call(
    key: str, dgfip: TaxService, given: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_DEADLINE", "28")
    monkeypatch.setattr(deadline, "CALL", deadline.RESERVED + 3)
    assert call(key).status == 200
    assert 0 < given[0] < 3
    assert dgfip.requests


@pytest.mark.usefixtures("given")
def test_a_call_without_time_left_is_refused_audited_and_not_counted_as_a_failure(
    key: str, dgfip: TaxService, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadline, "CALL", deadline.RESERVED)
    answers = [call(key) for _ in range(6)]
    assert {(answer.status, answer.body["error"]) for answer in answers} == {(503, "network_error")}
    assert [entry["error"] for entry in cloud.audit_records()] == ["network_error"] * 6
    assert dgfip.requests == []
    client: Any = boto3.client("dynamodb")
    assert "Item" not in client.get_item(TableName=cloud.stats.name, Key=serialize(key_of("dgfip")))


def test_outside_a_call_there_is_no_deadline() -> None:
    assert deadline.left() == float("inf")


# ── Retries ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_retries_are_limited_when_a_provider_keeps_closing_connections(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[object] = []

    def hang_up(connection: Any, _: Any) -> None:
        connections.append(wire.read_request(connection))

    pauses: list[float] = []
    monkeypatch.setattr(http, "sleep", pauses.append)
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    with wire.converse(hang_up) as url:
        monkeypatch.setenv("DGFIP_SVAIR_URL", url)
        assert {call(key).status for _ in range(5)} == {503}
    assert len(connections) == 5 + RetryBudget.SAVED
    assert len(set(pauses)) == RetryBudget.SAVED
    assert all(0 <= pause <= RetryBudget.PAUSE_SECONDS for pause in pauses)


def test_one_call_in_ten_earns_a_retry() -> None:
    saved = RetryBudget()
    while saved.take():
        pass
    taken = 0
    for _ in range(100):
        saved.earn()
        taken += saved.take()
    assert taken == pytest.approx(100 * RetryBudget.SHARE, abs=1)
