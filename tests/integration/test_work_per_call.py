"""Count the requests of a call to AWS and to its provider: the same at any number of tokens, records and calls."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.aws_requests import Request, record
from tests.support.caf import Caf
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api
from tests.support.scopes import EVERY_SCOPE
from tests.support.tax_service import TaxService

pytestmark = pytest.mark.slow


DOORS = ("avis_imposition/v2", "revenu_fiscal_reference/v2", "composition_familiale/v2")
WARM = [("PutItem", "audit")]
"""The requests of a warm call to AWS: the token, the keys and the circuit breaker are cached."""

CIRCUIT = ("GetItem", "stats")
"""The circuit breaker, read once a second by an environment."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """The operations requested from AWS, with their tables, in order."""
    return record(monkeypatch)


@pytest.fixture
def providers(dgfip: TaxService, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Serve both providers; return the number of requests that they received."""
    with (caf := Caf()).serve(None) as url:
        monkeypatch.setenv("CAF_URL", url)
        yield lambda: len(dgfip.requests) + len(caf.requests)


def called(door: str, key: str) -> Response:
    answer = call_api(door, key=key)
    assert answer.status == 200
    return answer


@pytest.mark.parametrize("door", DOORS)
def test_a_warm_call_writes_one_audit_record_and_calls_its_provider_once_at_any_table_size(
    door: str, cloud: Cloud, asked: list[Request], providers: Callable[[], int]
) -> None:
    key = cloud.issue_key(*EVERY_SCOPE)
    called(door, key)
    for calls in (1, 30):  # the second time among other tokens and their audit records
        asked.clear()
        before = providers()
        for _ in range(calls):
            called(door, key)
        assert [request for request in asked if request != CIRCUIT] == WARM * calls
        assert providers() - before == calls
        for _ in range(100):
            called("introspect/introspect", cloud.issue_key(*EVERY_SCOPE))


def test_a_first_call_reads_single_items_and_never_lists(
    cloud: Cloud, asked: list[Request], providers: Callable[[], int]
) -> None:
    key = cloud.issue_key(*EVERY_SCOPE)
    for door in DOORS:
        called(door, key)
    assert providers() > 0
    operations = {operation for operation, _ in asked}
    assert operations <= {"GetItem", "PutItem", "UpdateItem", "GenerateMac", "VerifyMac", "GetSecretValue"}
