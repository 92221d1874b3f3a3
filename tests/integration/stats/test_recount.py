"""The command's recount: counters compared with the signed counts of the seals, and corrected."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_particulier.audit import sealing as sealing_module
from api_particulier.audit.seals import COUNTERS, key_of
from api_particulier.dynamodb import Table
from api_particulier.public import statistics
from ops.statistics import StatisticsAudit, StatisticsMove
from tests.support.counting import Clock, audit_record, count, counters, figures
from tests.support.sealing import BUCKET, Sealing

pytestmark = pytest.mark.slow
COUNTED = {"pk": "seal", "sk": "counted"}


@pytest.fixture
def audit(sealing: Sealing, clock: Clock) -> StatisticsAudit:
    clock.now = datetime.now(UTC)
    return StatisticsAudit(sealing.deployment)


def wrong(audit: StatisticsAudit) -> list[tuple[str, int, int]]:
    differences = audit.recount().described()["differences"]
    return [(difference["dataset"], difference["counted"], difference["audited"]) for difference in differences]


def test_a_recount_agrees_with_the_counters(audit: StatisticsAudit, sealing: Sealing, clock: Clock) -> None:
    old = audit_record(clock.now - timedelta(days=29))
    count(sealing, old, audit_record(clock.now), audit_record(clock.now, status=404))
    count(sealing, audit_record(clock.now, dataset="introspect", record_type=None))
    count(sealing, audit_record(clock.now - timedelta(days=31)))
    recount = audit.recount()
    assert recount.described() == {
        "period": {"first": f"{recount.first}", "last": f"{recount.last}"},
        "seals": 3,
        "audited": 3,
        "uncounted": 0,
        "differences": [],
        "findings": [],
    }
    assert audit.figures().total == recount.figures.total == 2


def test_calls_of_seals_that_are_not_counted_yet_are_no_difference(
    audit: StatisticsAudit, sealing: Sealing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(sealing, audit_record(clock.now))
    with monkeypatch.context() as patched:
        patched.setattr(sealing_module, "_count", lambda _: None)
        count(sealing, audit_record(clock.now), audit_record(clock.now))
    recount = audit.recount()
    assert (recount.uncounted, sum(recount.sums.values()), [*recount.differences]) == (2, 1, [])
    count(sealing, audit_record(clock.now))
    assert audit.recount().uncounted == 0
    assert audit.figures().total == 4


def test_a_rebuild_sets_the_counters_to_the_sums_of_the_seals(
    audit: StatisticsAudit, sealing: Sealing, clock: Clock
) -> None:
    count(sealing, *(audit_record(clock.now) for _ in range(5)), audit_record(clock.now, status=404))
    whole, today = counters(), f"{audit.recount().last}"
    for name, calls in (("declarants#200", 9), ("declarants#404", None), ("imaginary#200", 4)):
        key = {"pk": COUNTERS, "sk": f"{today}#{name}"}
        if calls is None:
            sealing.cloud.stats.delete_item(Key=key)
        else:
            sealing.cloud.stats.put_item(Item=key | {"calls": calls})
    expected = [("declarants", 9, 5), ("declarants", 0, 1), ("imaginary", 4, 0)]
    assert wrong(audit) == expected
    assert len(audit.rebuild().differences) == 3
    assert wrong(audit) == []
    assert counters() == whole | {f"{today}#imaginary#200": 0}
    count(sealing, audit_record(clock.now))
    assert figures()["total"] == 6


@pytest.mark.parametrize("stored", [None, {"number": 10**9, "hash": "00" * 32}, {"number": 1, "hash": "x"}])
def test_a_rebuild_repairs_the_number_of_the_last_seal_counted(
    audit: StatisticsAudit, sealing: Sealing, clock: Clock, stored: dict[str, Any] | None
) -> None:
    count(sealing, audit_record(clock.now))
    count(sealing, audit_record(clock.now))
    if stored is None:
        sealing.cloud.stats.delete_item(Key=COUNTED)
    else:
        sealing.cloud.stats.put_item(Item=COUNTED | stored)
    audit.rebuild()
    assert sealing.cloud.stats.get_item(Key=COUNTED)["Item"]["number"] == 2
    count(sealing, audit_record(clock.now))
    assert figures()["total"] == 3
    assert wrong(audit) == []


def test_seals_that_are_missing_or_forged_are_findings(audit: StatisticsAudit, sealing: Sealing, clock: Clock) -> None:
    for _ in range(4):
        count(sealing, audit_record(clock.now))
    sealing.replace_seal(2, None)
    sealing.replace_seal(3, b"{}")
    recount = audit.recount()
    assert list(recount.findings) == ["seal 2: it is missing", "seal 3: it cannot be read"]
    assert [(difference.counted, difference.audited) for difference in recount.differences] == [(4, 2)]


def test_a_seal_stepped_over_is_no_finding(audit: StatisticsAudit, sealing: Sealing, clock: Clock) -> None:
    count(sealing, audit_record(clock.now))
    sealing.s3.put_object(Bucket=BUCKET, Key=key_of(2), Body=b"x")
    count(sealing, audit_record(clock.now))
    recount = audit.recount()
    assert ([*recount.findings], [*recount.differences], recount.figures.total) == ([], [], 2)


def test_a_rebuild_beside_the_function_corrects_nothing(
    audit: StatisticsAudit, sealing: Sealing, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    count(sealing, audit_record(clock.now))
    today = audit.recount().last
    sealing.cloud.stats.put_item(Item={"pk": COUNTERS, "sk": f"{today}#declarants#200", "calls": 9})
    read = statistics.counters

    def counted_then(table: Table, *arguments: object, **options: object) -> dict[str, int]:
        found = read(table, *arguments, **options)  # type: ignore[arg-type]  # as it was called
        monkeypatch.setattr(statistics, "counters", read)
        return found

    recount = StatisticsAudit.recount

    def then_counted(self: StatisticsAudit) -> object:
        found = recount(self)
        count(sealing, audit_record(clock.now))
        return found

    monkeypatch.setattr(statistics, "counters", counted_then)
    monkeypatch.setattr(StatisticsAudit, "recount", then_counted)
    with pytest.raises(StatisticsMove):
        audit.rebuild()
    monkeypatch.setattr(StatisticsAudit, "recount", recount)
    audit.rebuild()
    assert figures()["total"] == 2
