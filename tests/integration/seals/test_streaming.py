"""A verification and an export read a day at a time: their memory does not grow with the period."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from api_particulier.audit import archive
from ops import audit, chain
from ops.audit import Period
from ops.export import export
from tests.support.history import History, noon
from tests.support.sealing import Sealing

pytestmark = pytest.mark.slow

DAYS = 12
FIRST = noon("2026-10-20")


class Reads:
    """The client of the bucket; it keeps how many seals were read before each day of the archive."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.seals = 0
        self.days: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)

    def get_object(self, *, Key: str, **more: Any) -> Any:  # noqa: N803 - boto3's name
        self.seals += "VersionId" in more
        if Key.startswith("archive/") and Key.endswith(".gz"):
            self.days[Key.split("/")[1]] = self.seals
        return self.client.get_object(Key=Key, **more)


@pytest.fixture
def reads(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> Reads:
    """Twelve days of the audit, two seals a day, archived; seals are read four at a time."""
    history = History(sealing)
    for number in range(DAYS):
        noon_of_day = FIRST + timedelta(days=number)
        for at in (noon_of_day, noon_of_day + timedelta(hours=1)):
            history.seal([history.record(at, habilitation="habilitation-9")], at + timedelta(seconds=30))
        archive.archive_day(history.bucket, noon_of_day.date())
    vars(sealing.deployment)["s3"] = counting = Reads(sealing.s3)
    monkeypatch.setattr(chain, "AT_ONCE", 1)
    return counting


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_day_is_read_with_its_seals(sealing: Sealing, reads: Reads, tmp_path: Path, command: str) -> None:
    period = Period(datetime(2026, 10, 20, tzinfo=UTC), datetime(2026, 11, 1, tzinfo=UTC))
    if command == "verify":
        assert audit.verify(sealing.deployment, period).findings == []
    else:
        export(sealing.deployment, period, tmp_path / "export.json", habilitation="habilitation-9")
    assert len(reads.days) == DAYS
    for number, seals in enumerate(reads.days.values()):
        assert seals <= 2 * (number + 4) + 4  # two days later a record may still come, and one batch is read ahead
