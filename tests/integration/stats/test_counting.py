"""Counters are the sum of what the seals hold: exact, however the stream delivers the records."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_particulier.paris_time import day_of
from tests.support.counting import TODAY, Clock, audit_record, count, counters, figures, stream_records
from tests.support.function import call_api, new_environment
from tests.support.sealing import Sealing, stream_record

pytestmark = pytest.mark.slow


@pytest.mark.usefixtures("dgfip")
def test_the_total_is_the_number_of_responses_200_of_datasets(sealing: Sealing, clock: Clock) -> None:
    clock.now = datetime.now(UTC)
    key = sealing.cloud.issue_key("dgfip_avis_imposition")
    for _ in range(3):
        assert call_api("declarants/v2", key=key).status == 200
    assert call_api("avis_imposition/v1", key=key).status == 200
    assert call_api("avis_imposition/v1", key=key, numeroFiscal="x").status == 400
    assert call_api("declarants/v2", key="unknown").status == 401
    assert call_api("introspect/introspect", key=key).status == 200
    sealing.deliver(map(stream_record, sealing.cloud.audit_records()))
    today = day_of(clock.now)
    assert counters() == {
        f"{today}#declarants#200": 3,
        f"{today}#declarants#401": 1,
        f"{today}#avis_imposition#200": 1,
        f"{today}#avis_imposition#400": 1,
    }
    assert counters() == sum((Counter(seal.counts) for seal in sealing.seals()), Counter())
    assert call_api("stats/stats").text == "4"
    assert figures()["parJeuDeDonnees"] == {"avis_imposition": 1, "declarants": 3}


def test_a_thousand_calls_leave_counters_and_no_mark(sealing: Sealing) -> None:
    count(sealing, *(audit_record() for _ in range(1000)))
    assert counters() == {f"{TODAY}#declarants#200": 1000}
    assert len(sealing.cloud.stats.scan()["Items"]) == 2  # the counter, and the number of the last seal counted


def test_a_record_delivered_again_is_counted_once(sealing: Sealing) -> None:
    records = stream_records(*(audit_record() for _ in range(150)))
    for batch in (records[:100], records[50:], records[::-1], [*records, *records]):
        sealing.deliver(batch)
        new_environment()
    assert counters() == {f"{TODAY}#declarants#200": 150}


def test_a_call_stays_counted_when_its_record_expires_or_is_changed(sealing: Sealing) -> None:
    (record,) = stream_records(audit_record())
    service = {"type": "Service", "principalId": "dynamodb.amazonaws.com"}
    sealing.deliver([record, record | {"eventName": "MODIFY"}])
    sealing.deliver([record | {"eventName": "REMOVE", "userIdentity": service}])
    assert figures()["total"] == 1


def test_what_bears_no_mark_of_ours_is_not_counted(sealing: Sealing) -> None:
    item, other = audit_record().to_item(), audit_record().to_item()
    forged = item | {"dataset": "quotient_familial"}
    unsigned = {name: value for name, value in item.items() if name != "mac"}
    sealing.deliver(map(stream_record, (forged, unsigned, other)))
    assert counters() == {f"{TODAY}#declarants#200": 1}


def test_a_batch_with_more_counters_than_a_transaction_holds_is_counted_whole(sealing: Sealing) -> None:
    count(sealing, *(audit_record(dataset=f"dataset_{number}") for number in range(250)))
    assert counters() == {f"{TODAY}#dataset_{number}#200": 1 for number in range(250)}
    assert [len(seal.counts) for seal in sealing.seals()] == [99, 99, 52]


@pytest.mark.parametrize(("stored", "kind"), [({"number": 2, "hash": "00" * 32}, "counted"), ({"number": "x"}, None)])
def test_seals_are_not_counted_from_a_number_that_was_not_stored_by_the_function(
    sealing: Sealing, capfd: pytest.CaptureFixture[str], stored: dict[str, Any], kind: str | None
) -> None:
    for _ in range(3):
        count(sealing, audit_record())
    sealing.cloud.stats.put_item(Item={"pk": "seal", "sk": "counted"} | stored)
    new_environment()
    capfd.readouterr()
    count(sealing, audit_record())
    assert (len(sealing.seals()), counters()) == (4, {f"{TODAY}#declarants#200": 3})
    assert (f'"outcome":"{kind}"' in capfd.readouterr().out) is (kind is not None)


def test_a_record_is_counted_on_its_day_in_paris(sealing: Sealing) -> None:
    count(sealing, audit_record(datetime(2026, 11, 22, 23, 30, tzinfo=UTC)), audit_record())
    assert counters() == {f"{TODAY}#declarants#200": 2}
    count(sealing, audit_record(datetime(2026, 11, 22, 22, 30, tzinfo=UTC)))
    assert counters() == {f"{TODAY}#declarants#200": 2, f"{TODAY - timedelta(1)}#declarants#200": 1}
