"""The public figures: 30 days of Paris, readable from any page, at most a minute old."""

from datetime import UTC, date, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from tests.support.cloud import Cloud
from tests.support.counting import NOW, Clock, audit_record, count, figures
from tests.support.function import call_api, new_environment
from tests.support.sealing import Sealing

pytestmark = pytest.mark.usefixtures("cloud")


# ── Days ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("moment", "day"),
    [
        ("2026-01-15T22:59:59.999", "2026-01-15"),
        ("2026-01-15T23:00", "2026-01-16"),
        ("2026-07-15T21:59:59.999", "2026-07-15"),
        ("2026-07-15T22:00", "2026-07-16"),
        # Summer time begins on 29 March at 01:00 UTC: a day of 23 hours.
        ("2026-03-28T22:59:59.999", "2026-03-28"),
        ("2026-03-28T23:00", "2026-03-29"),
        ("2026-03-29T21:59:59.999", "2026-03-29"),
        ("2026-03-29T22:00", "2026-03-30"),
        # It ends on 25 October at 01:00 UTC: a day of 25 hours.
        ("2026-10-24T21:59:59.999", "2026-10-24"),
        ("2026-10-24T22:00", "2026-10-25"),
        ("2026-10-25T22:59:59.999", "2026-10-25"),
        ("2026-10-25T23:00", "2026-10-26"),
    ],
)
def test_a_day_begins_at_midnight_in_paris(sealing: Sealing, clock: Clock, moment: str, day: str) -> None:
    clock.now = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    count(sealing, audit_record(clock.now))
    details = figures()
    assert details["periode"]["fin"] == day
    assert details["parJour"][-1] == {"date": day, "total": 1}


def test_a_call_counts_for_30_days_with_its_own(sealing: Sealing, clock: Clock) -> None:
    clock.now = datetime(2026, 9, 26, 21, 59, tzinfo=UTC)  # one minute before midnight, summer time
    count(sealing, audit_record(clock.now))
    totals = []
    for _ in range(32):
        totals.append(figures()["total"])
        clock.advance(86_400)  # 22:59 in Paris once summer time is over
    assert totals == [1] * 30 + [0, 0]


def test_the_details_have_every_day_of_the_period(sealing: Sealing) -> None:
    old, too_old = (audit_record(NOW - timedelta(days=age)) for age in (3, 30))
    count(sealing, old, too_old, audit_record(status=404))
    details = figures()
    assert list(details) == ["periode", "total", "parJour", "parJeuDeDonnees"]
    assert details["periode"] == {"debut": "2026-10-25", "fin": "2026-11-23"}
    days = [day["date"] for day in details["parJour"]]
    assert days == [str(date(2026, 10, 25) + timedelta(number)) for number in range(30)]
    assert [day["total"] for day in details["parJour"]] == [0] * 26 + [1, 0, 0, 0]
    assert details["parJeuDeDonnees"] == {"declarants": 1}


# ── The public responses ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("route", ["stats/stats", "stats/details"])
def test_any_page_may_read_the_figures_and_keep_them_a_minute(route: str) -> None:
    response = call_api(route)
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Cache-Control"] == "max-age=5"
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"


def test_the_figures_are_available_in_xml(sealing: Sealing) -> None:
    count(sealing, audit_record())
    new_environment()
    assert call_api("stats/stats", format="xml").text.endswith("<result>\n\t<data>1</data>\n</result>")
    text = call_api("stats/details", headers={"Accept": "application/xml"}).text
    details = ET.fromstring(text)  # noqa: S314 - written by the function
    assert (details.findtext("total"), len(details.findall("parJour"))) == ("1", 30)


def test_a_format_that_does_not_exist_is_refused() -> None:
    refused = call_api("stats/stats", headers={"Accept": "text/html"})
    assert (refused.status, refused.body["error"]) == (406, "not_acceptable")
    assert refused.headers["Access-Control-Allow-Origin"] == "*"
    assert refused.headers["Cache-Control"] == "no-store"


def test_figures_that_cannot_be_read_are_an_error_that_no_cache_keeps(cloud: Cloud) -> None:
    cloud.stats.delete()
    response = call_api("stats/stats")
    assert (response.status, response.body["error"]) == (500, "internal_server_error")
    assert response.headers["Cache-Control"] == "no-store"


def test_an_environment_reads_the_counters_every_five_seconds_and_at_midnight(sealing: Sealing, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 23, 22, 59, 25, tzinfo=UTC)
    assert call_api("stats/stats").text == "0"
    count(sealing, audit_record(clock.now), audit_record(NOW - timedelta(days=29)))
    clock.advance(4)
    assert call_api("stats/stats").text == "0"
    clock.advance(1)
    assert call_api("stats/stats").body == call_api("stats/details").body["parJeuDeDonnees"]["declarants"] == 2
    clock.advance(30)  # midnight
    assert call_api("stats/stats").text == "1"
