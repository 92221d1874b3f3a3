"""Enumeration: a token that walks through people's numbers is slowed down, then suspended.

Two signs: in a day, many people whose numbers are neighbours or follow each other by one step; in an hour, many people
unknown to the provider. Each such cluster is a set of people and a count of calls, in the statistics table,
shared by every environment of every function. An ordinary call of a town belongs to no cluster that has a second
person, and writes nothing: an environment keeps in memory what it has not sent.

No number is stored: people, and the names of clusters, which roughly show the numbers, are pseudonyms of the
month (docs/decisions/0015-enumeration.md).
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
from api_particulier.dynamodb import Table
from api_particulier.errors import AuditUnavailable, EnumerationSuspected, UnknownPerson
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

RETRY_AFTER: Final = EnumerationSuspected.retry_after
KEPT: Final = timedelta(days=2)
"""How long a cluster stays in the table: longer than anything is added to it."""
_TOKENS: Final = 256
_CLUSTERS: Final = 64
"""The most recent tokens that an environment remembers, and clusters of each."""
_IN_A_ROW: Final = 3
"""Equal steps between consecutive numbers that are no longer a coincidence."""
_INSISTENT: Final = 4
"""Times the threshold from which neighbours are a walk even though each person is asked about again and again."""

type Suspicion = Literal["slowed", "suspended"]


@dataclass
class _Cluster:
    """People with something in common that one token asked about, as far as an environment knows."""

    name: str
    """In clear, which is why it does not leave the memory."""
    people: set[str] = field(default_factory=set)
    """The beginnings of their pseudonyms; also those that other environments wrote to the table."""
    unsent: set[str] = field(default_factory=set)
    calls: int = 0
    """Not sent."""
    refused_until: float = 0.0

    @property
    def is_refused(self) -> bool:
        return monotonic() < self.refused_until

    def add(self, person: str) -> None:
        """Count a call; while the cluster is refused, the same person again is not counted."""
        if person not in self.people:
            self.people.add(person)
            self.unsent.add(person)
        elif self.is_refused:
            return
        self.calls += 1


class _TokenHistory:
    """The recent questions of one token, as far as an environment knows."""

    def __init__(self) -> None:
        self._clusters: LRUCache[str, _Cluster] = LRUCache(maxsize=_CLUSTERS)
        self._last: dict[str, tuple[int, int, int]] = {}
        """Of each kind of number: the last, its distance to the one before, and how often that distance came."""

    def cluster(self, name: str) -> _Cluster:
        """Return a cluster by its name, an empty one at first."""
        if name not in self._clusters:
            self._clusters[name] = _Cluster(name)
        return self._clusters[name]

    def unknown(self, at: datetime) -> _Cluster:
        """Return the cluster of the people unknown to the provider."""
        return self.cluster(f"{at:%Y-%m-%dT%H}")

    def neighbours(self, parameters: Parameters, at: datetime) -> list[_Cluster]:
        """Return a number's clusters: two ranges that overlap, so that no walk is cut in half, and a step."""
        kind, number = parameters.documented[0].name, int(parameters.number)
        half = number // (parameters.neighbourhood // 2)
        day = f"{at:%Y-%m-%d}#{kind}#"
        names = [f"{day}{half}", f"{day}{half + 1}"]
        if step := self._step(kind, number):
            names.append(f"{day}by {step}")
        return [self.cluster(name) for name in names]

    def _step(self, kind: str, number: int) -> int:
        """Return the step by which numbers have been coming, in either direction; 0 when there is none."""
        last, step, times = self._last.get(kind, (number, 0, 0))
        if number != last:  # not asked again
            times = times + 1 if number - last == step else 1
            step = number - last
        self._last[kind] = (number, step, times)
        return abs(step) if times >= _IN_A_ROW else 0


@lru_cache(maxsize=1)
def _histories() -> LRUCache[str, _TokenHistory]:
    return LRUCache(maxsize=_TOKENS)


def _history(token_id: str) -> _TokenHistory:
    histories = _histories()
    if token_id not in histories:
        histories[token_id] = _TokenHistory()
    return histories[token_id]


@contextmanager
def guard(token_id: str, parameters: Parameters, record: AuditRecord) -> Iterator[None]:
    """Let the provider be asked within, unless the token's questions are an enumeration; learn from the outcome.

    Raise ``EnumerationSuspected`` when they are, and note it in the audit record; raise ``AuditUnavailable`` when the
    table cannot be reached for a question that looks like one.
    """
    history = _history(token_id)
    person = str(record.citizen)[:8]
    unknown = history.unknown(record.at)
    clusters = history.neighbours(parameters, record.at)
    if unknown.is_refused:
        clusters.append(unknown)
    else:
        unknown.calls += 1
    for cluster in clusters:
        cluster.add(person)
    # One person alone in a cluster is not yet a coincidence.
    _evaluate(token_id, [cluster for cluster in clusters if len(cluster.people) > 1], record)
    try:
        yield
    except UnknownPerson:  # and not a person of whom it has nothing to say
        # The same first number with other numbers is another person: the caller may be guessing.
        unknown.calls -= 1
        unknown.add(pseudonym(parameters.whole, record.at)[:8])
        _evaluate(token_id, [unknown], record)
        raise


def _evaluate(token_id: str, clusters: list[_Cluster], record: AuditRecord) -> None:
    """Send what the table does not know yet, and refuse the question when a cluster is too large."""
    suspicions = [_suspicion(token_id, cluster, record) for cluster in clusters]
    if "suspended" in suspicions:
        record.suspicion = "suspended"
        _report(token_id, record.at)
    elif "slowed" in suspicions:
        record.suspicion = "slowed"
    if record.suspicion:
        log(
            LogEvent.ENUMERATION_SUSPECTED,
            token=token_id,
            outcome=record.suspicion,
            request_id=record.request_id,
        )
        raise EnumerationSuspected


def _suspicion(token_id: str, cluster: _Cluster, record: AuditRecord) -> Suspicion | None:
    """Return the suspicion that a cluster raises, once the table knows it."""
    if not cluster.unsent:
        return "slowed" if cluster.is_refused else None
    people, calls = _add(token_id, cluster, record.at)
    cluster.people |= people
    cluster.unsent.clear()
    cluster.calls = 0
    suspicion = classify(len(people), calls, is_walk="#" in cluster.name)
    cluster.refused_until = monotonic() + RETRY_AFTER if suspicion else 0.0
    return suspicion


def classify(people: int, calls: int, *, is_walk: bool) -> Suspicion | None:
    """Return the suspicion that so many people of a cluster, in so many calls, raise.

    For people unknown to the provider, the calls are all those of the token. Software that comes back to
    the same people works on files; a walk does not come back.
    """
    thresholds = settings()
    mostly_new = people >= thresholds.enumeration_share * calls
    if not mostly_new and not (is_walk and people >= _INSISTENT * thresholds.enumeration_slowed_at):
        return None
    if people >= thresholds.enumeration_suspended_at:
        return "suspended"
    return "slowed" if people >= thresholds.enumeration_slowed_at else None


def _add(token_id: str, cluster: _Cluster, at: datetime) -> tuple[set[str], int]:
    """Add to the table's cluster what this environment knows; return its people and calls, of every environment."""
    try:
        stored = Table(dynamodb(), settings().stats_table).update(
            {"pk": f"watch#{token_id}", "sk": pseudonym(f"group:{cluster.name}", at)[:32]},
            "ADD people :people, calls :calls SET expires_at = :then",
            values={"people": cluster.unsent, "calls": cluster.calls, "then": round((at + KEPT).timestamp())},
        )
    except (BotoCoreError, ClientError) as error:
        log(LogEvent.ENUMERATION_UNKNOWN, token=token_id, exception=type(error).__name__)
        raise AuditUnavailable from None
    assert stored is not None  # noqa: S101 - the write has no condition
    return stored["people"], stored["calls"]


def _report(token_id: str, at: datetime) -> None:
    """Ask the function that may suspend tokens to do so; until then this one refuses the walk's questions."""
    message = dumps({"token": token_id, "at": at.isoformat()})
    try:
        sqs().send_message(QueueUrl=settings().suspicions_queue, MessageBody=message)
    except (BotoCoreError, ClientError) as error:  # the next question of the walk reports it again
        log(LogEvent.ENUMERATION_UNKNOWN, token=token_id, exception=type(error).__name__)
