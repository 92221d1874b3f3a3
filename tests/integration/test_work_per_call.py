"""What a call asks of AWS and of its provider is the same, however many tokens, entries and calls there are."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.client import BaseClient

from tests.support.caf import Caf
from tests.support.function import EVERY_SCOPE, Answer, Cloud, ask
from tests.support.tax_service import Provider

DOORS = ("avis_imposition/v2", "revenu_fiscal_reference/v2", "composition_familiale/v2")
WARM = [("PutItem", "audit")]
"""All that a warm call asks of AWS: one entry is written; the token, the keys and the circuit are known."""

CIRCUIT = ("GetItem", "stats")
"""Read once a second by an environment, whatever is called."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Return the operations of AWS and their tables, as they are asked."""
    told: list[tuple[str, str]] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 - every operation of boto3 goes through it

    def recorded(self: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        told.append((operation, str(request.get("TableName", ""))))
        return call(self, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", recorded)
    return told


@pytest.fixture
def providers(dgfip: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Serve both; return how many questions they were asked."""
    with (caf := Caf()).serve(None) as url:
        monkeypatch.setenv("CAF_URL", url)
        yield lambda: len(dgfip.asked) + len(caf.asked)


def called(door: str, key: str) -> Answer:
    answer = ask(door, key=key)
    assert answer.status == 200
    return answer


@pytest.mark.parametrize("door", DOORS)
def test_a_warm_call_writes_its_entry_and_asks_its_provider_once_whatever_there_is_in_the_tables(
    door: str, cloud: Cloud, asked: list[tuple[str, str]], providers: Callable[[], int]
) -> None:
    key = cloud.token(*EVERY_SCOPE)
    called(door, key)
    for calls in (1, 30):  # the second time among other tokens, and all that was written meanwhile
        asked.clear()
        before = providers()
        for _ in range(calls):
            called(door, key)
        assert [one for one in asked if one != CIRCUIT] == WARM * calls
        assert providers() - before == calls
        for _ in range(100):
            called("introspect/introspect", cloud.token(*EVERY_SCOPE))


def test_a_first_call_asks_for_single_items_and_for_no_list(
    cloud: Cloud, asked: list[tuple[str, str]], providers: Callable[[], int]
) -> None:
    key = cloud.token(*EVERY_SCOPE)
    for door in DOORS:
        called(door, key)
    assert providers() > 0
    operations = {operation for operation, _ in asked}
    assert operations <= {"GetItem", "PutItem", "UpdateItem", "GenerateMac", "GetSecretValue"}
