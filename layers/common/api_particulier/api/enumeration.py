"""Enumeration: a token that walks through people's numbers is slowed, then suspended.

What gives it away is many people, in a day, whose numbers are neighbours or follow each other by one step; or many, in
an hour, whom the provider does not know. Each such group is a set of people and a count of calls, in the statistics
table, for every environment of every function at once. A town's ordinary call belongs to no group that has a second
person, and writes nothing: an environment remembers in memory what it has not sent.

No number is stored: people, and the groups that tell roughly what their numbers are, are pseudonyms of the month
(docs/decisions/0015-enumeration.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from json import dumps
from time import monotonic
from typing import Final, Literal

from botocore.exceptions import BotoCoreError, ClientError
from cachetools import LRUCache

from api_particulier.api.parameters import Parameters
from api_particulier.audit.pseudonyms import pseudonym
from api_particulier.audit.record import AuditRecord
from api_particulier.aws import dynamodb, sqs
from api_particulier.errors import AuditUnavailable, EnumerationSuspected, NotFound, UnavailableYear
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

RETRY_AFTER: Final = EnumerationSuspected.retry_after
KEPT: Final = timedelta(days=2)
"""How long a group is remembered in the table: longer than it is added to."""
_TOKENS: Final = 256
_GROUPS: Final = 64
"""What an environment remembers at most, of how many tokens and of each: the last ones."""
_IN_A_ROW: Final = 3
"""Equal steps between one number and the next that are no coincidence any more."""
_INSISTENT: Final = 4
"""Times the threshold from which neighbours are a walk though each be asked about again and again."""

type Suspicion = Literal["slowed", "suspended"]


@dataclass
class _Cluster:
    """What an environment knows of people who have something in common, and whom one token asked about."""

    name: str
    """In clear, which is why it does not leave the memory."""
    people: set[str] = field(default_factory=set)
    """By the beginning of their pseudonyms; those that other environments told the table of, too."""
    unsent: set[str] = field(default_factory=set)
    calls: int = 0
    """Not sent."""
    refused_until: float = 0.0

    @property
    def is_refused(self) -> bool:
        return monotonic() < self.refused_until

    def add(self, person: str) -> None:
        """Note a call; while they are refused, a person who comes back is not one more."""
        if person not in self.people:
            self.people.add(person)
            self.unsent.add(person)
        elif self.is_refused:
            return
        self.calls += 1


class _TokenHistory:
    """What an environment remembers of the questions of one token."""

    def __init__(self) -> None:
        self._groups: LRUCache[str, _Cluster] = LRUCache(maxsize=_GROUPS)
        self._last: dict[str, tuple[int, int, int]] = {}
        """Of each kind of number: the last one, its distance to the one before, and how often in a row that was so."""

    def group(self, name: str) -> _Cluster:
        if name not in self._groups:
            self._groups[name] = _Cluster(name)
        return self._groups[name]

    def unknown(self, at: datetime) -> _Cluster:
        """Return the group of the people whom the provider does not know."""
        return self.group(f"{at:%Y-%m-%dT%H}")

    def neighbours(self, parameters: Parameters, at: datetime) -> list[_Cluster]:
        """Return the groups of a number: two ranges that overlap, so that no walk is cut in halves, and a step."""
        kind, number = parameters.documented[0].name, int(parameters.number)
        half = number // (parameters.neighbourhood // 2)
        day = f"{at:%Y-%m-%d}#{kind}#"
        names = [f"{day}{half}", f"{day}{half + 1}"]
        if step := self._step(kind, number):
            names.append(f"{day}by {step}")
        return [self.group(name) for name in names]

    def _step(self, kind: str, number: int) -> int:
        """Return the step by which numbers have come since a while, whatever its direction; 0 when there is none."""
        last, step, times = self._last.get(kind, (number, 0, 0))
        if number != last:  # not asked again
            times = times + 1 if number - last == step else 1
            step = number - last
        self._last[kind] = (number, step, times)
        return abs(step) if times >= _IN_A_ROW else 0


@lru_cache(maxsize=1)
def _trails() -> LRUCache[str, _TokenHistory]:
    return LRUCache(maxsize=_TOKENS)


def _trail(token: str) -> _TokenHistory:
    trails = _trails()
    if token not in trails:
        trails[token] = _TokenHistory()
    return trails[token]


@contextmanager
def guard(token: str, parameters: Parameters, entry: AuditRecord) -> Iterator[None]:
    """Let the provider be asked within, unless the token's questions are an enumeration, and learn from its answer.

    ``EnumerationSuspected`` when they are, said in the entry; ``AuditUnavailable`` when the table cannot tell of
    a question that looks like one.
    """
    trail = _trail(token)
    person = str(entry.citizen)[:8]
    unknown = trail.unknown(entry.at)
    groups = trail.neighbours(parameters, entry.at)
    if unknown.is_refused:
        groups.append(unknown)
    else:
        unknown.calls += 1
    for group in groups:
        group.add(person)
    # Alone in a group, a person is not yet a coincidence.
    _evaluate(token, [group for group in groups if len(group.people) > 1], entry)
    try:
        yield
    except UnavailableYear:  # nobody was asked
        raise
    except NotFound:
        # Other numbers than theirs with the same first one are other people, whom somebody may be guessing at.
        unknown.calls -= 1
        unknown.add(pseudonym(parameters.whole, entry.at)[:8])
        _evaluate(token, [unknown], entry)
        raise


def _evaluate(token: str, groups: list[_Cluster], entry: AuditRecord) -> None:
    """Send what the table does not know, and refuse when it knows too much."""
    found = [_of(token, group, entry) for group in groups]
    if "suspended" in found:
        entry.suspicion = "suspended"
        _report(token, entry.at)
    elif "slowed" in found:
        entry.suspicion = "slowed"
    if entry.suspicion:
        log(LogEvent.ENUMERATION_SUSPECTED, token=token, outcome=entry.suspicion, request_id=entry.request_id)
        raise EnumerationSuspected


def _of(token: str, group: _Cluster, entry: AuditRecord) -> Suspicion | None:
    """Return what is to be thought of a token for one group."""
    if not group.unsent:
        return "slowed" if group.is_refused else None
    people, calls = _add(token, group, entry.at)
    group.people |= people
    group.unsent.clear()
    group.calls = 0
    found = classify(len(people), calls, is_walk="#" in group.name)
    group.refused_until = monotonic() + RETRY_AFTER if found else 0.0
    return found


def classify(people: int, calls: int, *, is_walk: bool) -> Suspicion | None:
    """Return what so many people of a group, asked about in so many calls, make of a token.

    Of those whom the provider does not know, the calls are all of the token's. A software that comes back to the same
    people works on files; a walk does not come back.
    """
    known = settings()
    mostly = people >= known.enumeration_share * calls
    if not mostly and not (is_walk and people >= _INSISTENT * known.enumeration_slowed_at):
        return None
    if people >= known.enumeration_suspended_at:
        return "suspended"
    return "slowed" if people >= known.enumeration_slowed_at else None


def _add(token: str, group: _Cluster, at: datetime) -> tuple[set[str], int]:
    """Add to a group what this environment knows, and return what all of them do: its people, and the calls."""
    try:
        found = dynamodb().update_item(
            TableName=settings().stats_table,
            Key={"pk": {"S": f"watch#{token}"}, "sk": {"S": pseudonym(f"group:{group.name}", at)[:32]}},
            UpdateExpression="ADD people :people, calls :calls SET expires_at = :then",
            ExpressionAttributeValues={
                ":people": {"SS": sorted(group.unsent)},
                ":calls": {"N": f"{group.calls}"},
                ":then": {"N": f"{(at + KEPT).timestamp():.0f}"},
            },
            ReturnValues="ALL_NEW",
        )["Attributes"]
    except (BotoCoreError, ClientError) as error:
        log(LogEvent.ENUMERATION_UNKNOWN, token=token, exception=type(error).__name__)
        raise AuditUnavailable from None
    return set(found["people"]["SS"]), int(found["calls"]["N"])


def _report(token: str, at: datetime) -> None:
    """Have the token suspended, by a function that may; until then this one refuses what belongs to the walk."""
    try:
        sqs().send_message(
            QueueUrl=settings().suspicions_queue, MessageBody=dumps({"token": token, "at": at.isoformat()})
        )
    except (BotoCoreError, ClientError) as error:  # the next question of the walk tells again
        log(LogEvent.ENUMERATION_UNKNOWN, token=token, exception=type(error).__name__)
