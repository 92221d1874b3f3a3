"""Check the rules that depend on the date, on the day when they change."""

from datetime import UTC, datetime

import pytest
import time_machine

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
