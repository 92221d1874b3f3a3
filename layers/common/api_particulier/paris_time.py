"""The civil time of Paris: a day of the statistics, of the status and of a period begins at midnight there."""

from datetime import UTC, date, datetime
from typing import Final
from zoneinfo import ZoneInfo

PARIS: Final = ZoneInfo("Europe/Paris")


def day_of(moment: datetime) -> date:
    """Return the day in Paris of a moment."""
    return moment.astimezone(PARIS).date()


def today() -> date:
    return day_of(datetime.now(UTC))
