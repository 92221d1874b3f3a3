"""What the probes of a provider found over 30 days: how many a day, how many answers, and when there was none.

Uptime and incidents are the arithmetic of that history, and of nothing else. A day is Paris's. What was announced as
maintenance is not probed: it counts neither for nor against.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, Self

from api_particulier.public.statistics import day_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

PERIOD: Final = 30
"""Days that the history is of, today included."""
EVERY: Final = timedelta(minutes=5)
"""Between two probes; the schedule of the template."""
_KEPT: Final = timedelta(days=40)


@dataclass(frozen=True)
class Day:
    """A day's probes."""

    day: date
    probes: int = 0
    answered: int = 0
    failures: tuple[datetime, ...] = ()
    """When nobody answered, in order."""

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Self:
        return cls(
            date.fromisoformat(item["sk"]["S"]),
            int(item["probes"]["N"]),
            int(item["answered"]["N"]) if "answered" in item else 0,
            tuple(datetime.fromisoformat(one["S"]) for one in item.get("failures", {"L": ()})["L"]),
        )


@dataclass(frozen=True)
class Incident:
    """A time during which probes failed, to within the time between two of them."""

    start: datetime
    end: datetime | None
    """None while it lasts."""


def record(client: "DynamoDBClient", table: str, provider: str, at: datetime, *, answered: bool) -> None:
    """Add one probe to the history."""
    failure = "" if answered else ", failures = list_append(if_not_exists(failures, :none), :at)"
    values: dict[str, Any] = {":one": {"N": "1"}, ":end": {"N": f"{(at + _KEPT).timestamp():.0f}"}}
    if not answered:
        values |= {":none": {"L": []}, ":at": {"L": [{"S": at.isoformat(timespec="seconds")}]}}
    client.update_item(
        TableName=table,
        Key={"pk": {"S": f"probes#{provider}"}, "sk": {"S": f"{day_of(at)}"}},
        UpdateExpression=f"SET expires_at = :end{failure} ADD probes :one{', answered :one' if answered else ''}",
        ExpressionAttributeValues=values,
    )


def history(client: "DynamoDBClient", table: str, provider: str, last: date) -> list[Day]:
    """Return each of the ``PERIOD`` days that end with ``last``, in order, those without a probe too."""
    days = [last - timedelta(number) for number in reversed(range(PERIOD))]
    pages = client.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :probes AND sk BETWEEN :first AND :last",
        ExpressionAttributeValues={
            ":probes": {"S": f"probes#{provider}"},
            ":first": {"S": f"{days[0]}"},
            ":last": {"S": f"{last}"},
        },
    )
    found = {day.day: day for page in pages for day in map(Day.of, page["Items"])}
    return [found.get(day, Day(day)) for day in days]


def percentage(days: Sequence[Day]) -> float | None:
    """Return the share of probes that were answered, in percent to three decimals; None without a probe."""
    probes = sum(day.probes for day in days)
    return round(100 * sum(day.answered for day in days) / probes, 3) if probes else None


def incidents(days: Sequence[Day], *, over: datetime | None) -> list[Incident]:
    """Return the runs of failed probes, the latest first; the last one goes on unless it is ``over``, since when."""
    runs: list[list[datetime]] = []
    for moment in chain.from_iterable(day.failures for day in days):
        if runs and moment - runs[-1][-1] < 2 * EVERY:
            runs[-1].append(moment)
        else:
            runs.append([moment])
    found = [Incident(run[0], run[-1] + EVERY) for run in runs]
    if found:
        last = runs[-1][-1]
        found[-1] = Incident(runs[-1][0], min(over, last + EVERY) if over and over > last else None)
    return found[::-1]
