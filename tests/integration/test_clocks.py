"""Check the rules that depend on the date, on the day when they change."""

from datetime import UTC, datetime, timedelta
from time import sleep

import pytest
import time_machine

from api_particulier.audit.record import new_id
from api_particulier.audit.seals import time_of
from tests.support.cloud import Cloud
from tests.support.function import call_api
from tests.support.tax_service import TaxService

BEFORE = datetime(2026, 12, 31, 22, 59, 30, tzinfo=UTC)
AFTER = datetime(2026, 12, 31, 23, 0, 30, tzinfo=UTC)
"""A minute around midnight in Paris, on 1 January 2027: it is still 2026 in UTC."""


@pytest.mark.parametrize(("moment", "available"), [(BEFORE, ["25", "26"]), (AFTER, ["26", "27"])])
def test_the_available_years_of_a_notice_change_at_midnight_in_paris(
    cloud: Cloud, dgfip: TaxService, monkeypatch: pytest.MonkeyPatch, moment: datetime, available: list[str]
) -> None:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "2")
    assert dgfip.url
    key = cloud.issue_key("dgfip_avis_imposition", expires=None)
    with time_machine.travel(moment, tick=True):
        statuses = {
            year: call_api(
                "avis_imposition/v2", key=key, numeroFiscal="2690000000012", referenceAvis=f"{year}90000000012"
            ).status
            for year in ("24", "25", "26", "27", "28")
        }
    assert [year for year, status in statuses.items() if status == 200] == available
    assert set(statuses.values()) == {200, 404}


def test_a_clock_that_jumped_ahead_once_leaves_no_record_dated_ahead(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_nombre_parts", expires=None)
    for jump in (timedelta(days=3), timedelta()):
        with time_machine.travel(datetime.now(UTC) + jump, tick=True):
            call_api("introspect/introspect", key=key)
    for record in cloud.audit_records():
        assert abs(time_of(record["id"]) - datetime.fromisoformat(record["at"])) < timedelta(seconds=5)
    assert len(cloud.audit_records()) == 2


def test_ids_follow_each_other_within_a_millisecond() -> None:
    ids = []
    for _ in range(200):
        ids.append(new_id())
        sleep(0.000_002)
    assert ids == sorted(ids)
    assert len(set(ids)) == 200
