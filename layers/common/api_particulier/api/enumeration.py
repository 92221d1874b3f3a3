"""Enumeration: a token that walks through people's numbers, or guesses at an identity, is slowed down, then suspended.

Two signs: in a day, many people whose numbers are neighbours or follow each other by one step; in an hour, many people
unknown to the provider. Each such cluster is a set of people and a count of calls, in the statistics table,
shared by every environment of every function. An ordinary call of a town belongs to no cluster that has a second
person, and writes nothing: an environment keeps in memory what it has not sent.

Unknown people alone do not suspend a token: strangers may be typing numbers in a town's public form. From the threshold
on, their 404 becomes a 429, and the town's families are still answered. A caller that names its end user
(``X-End-User``) has that user alone refused. Beside the ratios, each token has two absolute bounds a day: the people
that it asks about, and those of them that the provider does not know (docs/decisions/0048-daily-bounds.md).

An identity has no number to walk. There the signs are one birth name, first name and place with many dates in a day,
and one birth name and place with many first names. Where homonyms are many - first names, and births in a country
without a commune - only people unknown to the provider count (docs/decisions/0044-v3.md).

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
from typing import Any, Final, Literal, NoReturn, cast

from botocore.exceptions import BotoCoreError, ClientError
from cachetools import LRUCache

from api_particulier.api.identity import Identity
from api_particulier.api.parameters import Numbers, Parameters
from api_particulier.audit.mac import MAC, sign
from api_particulier.audit.pseudonyms import pseudonym
from api_particulier.audit.record import AuditRecord
from api_particulier.aws import dynamodb, sqs
from api_particulier.dynamodb import Item, Table
from api_particulier.errors import AuditUnavailable, EnumerationSuspected, UnknownPerson
from api_particulier.keys.token import Token
from api_particulier.observability import LogEvent, alert, log
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
_FOUND: Final = 4
"""A walk suspends its token when it found people: a quarter of the threshold."""
_END_USER_SLOWED_AT: Final = 20
"""Unknown people in an hour from which one end user of a caller is refused."""
_PEOPLE_REMEMBERED: Final = 1024
"""People of a day that an environment remembers for a token; one of more is counted again."""
_SENT_A_DAY: Final = 200
"""An environment sends its count of people this many times, at most, before a token reaches its bound."""

_DATES: Final = (8, 16)
"""Dates of birth tried for one name and place from which a token is slowed down, and suspended."""
_FIRST_NAMES: Final = (40, 80)
"""The same of first names."""

type Suspicion = Literal["slowed", "suspended", "bounded"]


@dataclass
class _Cluster:
    """People with something in common that one token asked about, as far as an environment knows."""

    name: str
    """In clear, which is why it does not leave the memory."""
    limits: tuple[int, int] | None = None
    """Of guesses: how many slow the token down and suspend it, of however many calls; else the settings decide."""
    people: set[str] = field(default_factory=set)
    """The beginnings of their pseudonyms; also those that other environments wrote to the table."""
    unsent: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    """Those of whom data was released; not sent."""
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


@dataclass
class _Day:
    """The people of one day that a token asked about, as far as an environment knows."""

    name: str = ""
    people: LRUCache[str, None] = field(default_factory=lambda: LRUCache(maxsize=_PEOPLE_REMEMBERED))
    """The beginnings of the pseudonyms of those that this environment was asked about."""
    unsent: int = 0
    is_over: bool = False
    """Whether a bound of the token is reached: people that are not remembered are refused until the day ends."""


class _TokenHistory:
    """The recent questions of one token, as far as an environment knows."""

    def __init__(self) -> None:
        self._day = _Day()
        self._clusters: LRUCache[str, _Cluster] = LRUCache(maxsize=_CLUSTERS)
        self._last: dict[str, tuple[int, int, int]] = {}
        """Of each kind of number: the last, its distance to the one before, and how often that distance came."""

    def cluster(self, name: str, limits: tuple[int, int] | None = None) -> _Cluster:
        """Return a cluster by its name, an empty one at first."""
        if name not in self._clusters:
            self._clusters[name] = _Cluster(name, limits)
        return self._clusters[name]

    def day(self, at: datetime) -> _Day:
        """Return the day of a question (UTC), empty at its first question."""
        if self._day.name != (name := f"{at:%Y-%m-%d}"):
            self._day = _Day(name)
        return self._day

    def unknown(self, at: datetime) -> _Cluster:
        """Return the cluster of the people unknown to the provider."""
        return self.cluster(f"{at:%Y-%m-%dT%H}")

    def unknown_to(self, end_user: str, at: datetime) -> _Cluster:
        """Return the cluster of the unknown people that one end user of the caller asked about."""
        return self.cluster(f"{at:%Y-%m-%dT%H}@{end_user}")

    def guesses(self, identity: Identity, at: datetime) -> tuple[_Cluster, _Cluster]:
        """Return an identity's clusters: of dates for one name, and of first names for one birth name."""
        place = identity.place
        family = f"{identity.nom_naissance.casefold()}|{place.country}|{place.known_commune.casefold()}"
        day = f"{at:%Y-%m-%d}#"
        return (
            self.cluster(f"{day}dates of {family}|{identity.first_name.casefold()}", _DATES),
            self.cluster(f"{day}first names of {family}", _FIRST_NAMES),
        )

    def neighbours(self, parameters: Numbers, at: datetime) -> list[_Cluster]:
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


type _Sighting = tuple[_Cluster, str]
"""A cluster, and the member of it that a question adds."""


@contextmanager
def guard(token: Token, parameters: Parameters, record: AuditRecord, end_user: str | None = None) -> Iterator[None]:
    """Let the provider be asked within, unless the token's questions are an enumeration; learn from the outcome.

    Raise ``EnumerationSuspected`` when they are, and note it in the audit record; raise ``AuditUnavailable`` when the
    table cannot be reached for a question that looks like one.
    """
    history = _history(token.id)
    person = str(record.citizen)[:8]
    of_user = history.unknown_to(end_user, record.at) if end_user else None
    if of_user and of_user.is_refused:
        _refuse(token, record, "slowed")
    _count_person(token, history.day(record.at), person, record)
    unknown = history.unknown(record.at)
    unknown.calls += 1
    asked, if_unknown = _sightings(history, parameters, record)
    asked += [sighting for sighting in if_unknown if sighting[0].is_refused]
    _evaluate(token, _add(asked), record)
    try:
        yield
    except UnknownPerson:  # and not a person of whom it has nothing to say
        # The same first number with other numbers is another person: the caller may be guessing.
        stranger = pseudonym(parameters.whole, record.at)[:8]
        unknown.calls -= 1
        strangers = [unknown, of_user] if of_user else [unknown]
        for cluster in strangers:
            cluster.add(stranger)
        _evaluate(token, strangers + _add(if_unknown), record)
        _count_unknown(token, history.day(record.at), stranger, record)
        raise
    for cluster, member in asked:
        cluster.found.add(member)


def _add(sightings: list[_Sighting]) -> list[_Cluster]:
    """Add to clusters, and return those to evaluate: one person alone in a cluster is not yet a coincidence."""
    for cluster, member in sightings:
        cluster.add(member)
    return [cluster for cluster, _ in sightings if len(cluster.people) > 1]


def _sightings(
    history: _TokenHistory, parameters: Parameters, record: AuditRecord
) -> tuple[list[_Sighting], list[_Sighting]]:
    """Return what a question adds to clusters as soon as it is asked, and what it adds if the person is unknown."""
    person = str(record.citizen)[:8]
    if not isinstance(parameters, Identity):
        numbers = cast("Numbers", parameters)
        return [(cluster, person) for cluster in history.neighbours(numbers, record.at)], []
    if parameters.is_vague:
        log(LogEvent.VAGUE_QUESTION, dataset=record.dataset, request_id=record.request_id)
    dates, first_names = history.guesses(parameters, record.at)
    of_dates = (dates, person)
    of_first_names = (first_names, pseudonym(parameters.first_name, record.at)[:8])
    if parameters.place.known_commune:
        return [of_dates], [of_first_names]
    return [], [of_dates, of_first_names]


# ── Bounds of a day ──────────────────────────────────────────────────────────────────────────────────────────────────


def _count_person(token: Token, day: _Day, person: str, record: AuditRecord) -> None:
    """Count a person of the day; refuse those beyond the token's bound.

    The count is an upper bound: a person that two environments were asked about counts twice.
    """
    if person in day.people:
        return
    if day.is_over:
        _refuse(token, record, "bounded")
    day.people[person] = None
    day.unsent += 1
    bound = token.people_a_day or settings().enumeration_people_a_day
    if day.unsent < max(1, bound // _SENT_A_DAY):
        return
    asked = int(_add_to_day(token, day, record.at, "asked", day.unsent)["asked"])
    _warn_at_half(token, record, before=asked - day.unsent, after=asked, bound=bound)
    day.unsent = 0
    if asked > bound:
        day.is_over = True
        del day.people[person]
        _refuse(token, record, "bounded")


def _count_unknown(token: Token, day: _Day, stranger: str, record: AuditRecord) -> None:
    """Count an unknown person of the day; refuse those beyond the token's bound."""
    bound = token.unknown_a_day or settings().enumeration_unknown_a_day
    count = len(_add_to_day(token, day, record.at, "strangers", {stranger})["strangers"])
    _warn_at_half(token, record, before=count - 1, after=count, bound=bound)
    if count > bound:
        day.is_over = True
        _refuse(token, record, "bounded")


def _add_to_day(token: Token, day: _Day, at: datetime, attribute: str, more: int | set[str]) -> Item:
    return _update(token.id, f"day {day.name}", at, f"ADD #{attribute} :more", {"more": more})


def _warn_at_half(token: Token, record: AuditRecord, *, before: int, after: int, bound: int) -> None:
    """Raise the alarm, and have the token's contacts told, when a count passes half of its bound."""
    if before < bound / 2 <= after:
        alert(LogEvent.DAILY_BOUND_NEAR, token=token.id, habilitation=token.habilitation)
        _report(token.id, record.at, "warn")


# ── Clusters ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _evaluate(token: Token, clusters: list[_Cluster], record: AuditRecord) -> None:
    """Send what the table does not know yet, and refuse the question when a cluster is too large."""
    suspicions = [_suspicion(token.id, cluster, record) for cluster in clusters]
    if "suspended" in suspicions:
        _report(token.id, record.at, "suspend")
        _refuse(token, record, "suspended")
    if "slowed" in suspicions:
        _refuse(token, record, "slowed")


def _refuse(token: Token, record: AuditRecord, suspicion: Suspicion) -> NoReturn:
    """Raise ``EnumerationSuspected``, with its reason in the audit record and in the log."""
    record.suspicion = suspicion
    log(LogEvent.ENUMERATION_SUSPECTED, token=token.id, outcome=suspicion, request_id=record.request_id)
    raise EnumerationSuspected


def _suspicion(token_id: str, cluster: _Cluster, record: AuditRecord) -> Suspicion | None:
    """Return the suspicion that a cluster raises, once the table knows it."""
    if not cluster.unsent:
        return "slowed" if cluster.is_refused else None
    added = {"people": cluster.unsent, "calls": cluster.calls} | ({"found": cluster.found} if cluster.found else {})
    names = ", ".join(f"#{name} :{name}" for name in added)
    stored = _update(token_id, f"group:{cluster.name}", record.at, f"ADD {names}", added)
    cluster.people |= stored["people"]
    cluster.unsent.clear()
    cluster.found.clear()
    cluster.calls = 0
    if cluster.limits:
        suspicion = _reached(len(stored["people"]), *cluster.limits)
    else:
        suspicion = classify(cluster.name, len(stored["people"]), int(stored["calls"]), len(stored.get("found", ())))
    cluster.refused_until = monotonic() + RETRY_AFTER if suspicion else 0.0
    return suspicion


def classify(name: str, people: int, calls: int, found: int) -> Suspicion | None:
    """Return the suspicion that so many people of a cluster, in so many calls, raise.

    For people unknown to the provider, the calls are all those of the token. Software that comes back to
    the same people works on files; a walk does not come back. Only a walk that found people suspends.
    """
    thresholds = settings()
    if "@" in name:
        return "slowed" if people >= _END_USER_SLOWED_AT else None
    is_walk = "#" in name
    mostly_new = people >= thresholds.enumeration_share * calls
    if not mostly_new and not (is_walk and people >= _INSISTENT * thresholds.enumeration_slowed_at):
        return None
    has_found = is_walk and found >= thresholds.enumeration_slowed_at / _FOUND
    if has_found and people >= thresholds.enumeration_suspended_at:
        return "suspended"
    return "slowed" if people >= thresholds.enumeration_slowed_at else None


def _reached(people: int, slowed_at: int, suspended_at: int) -> Suspicion | None:
    if people >= suspended_at:
        return "suspended"
    return "slowed" if people >= slowed_at else None


def _update(token_id: str, name: str, at: datetime, adding: str, values: dict[str, Any]) -> Item:
    """Add to an item of the table what this environment knows; return what every environment knows."""
    try:
        stored = Table(dynamodb(), settings().stats_table).update(
            {"pk": f"watch#{token_id}", "sk": pseudonym(name, at)[:32]},
            f"{adding} SET expires_at = :then",
            values=values | {"then": round((at + KEPT).timestamp())},
        )
    except (BotoCoreError, ClientError) as error:
        log(LogEvent.ENUMERATION_UNKNOWN, token=token_id, exception=type(error).__name__)
        raise AuditUnavailable from None
    assert stored is not None  # noqa: S101 - the write has no condition
    return stored


def _report(token_id: str, at: datetime, sanction: Literal["warn", "suspend"]) -> None:
    """Ask the function that may suspend tokens and write to contacts; until then this one refuses the questions.

    The message has a MAC, so that the right to write in the queue is not enough to suspend a token.
    """
    message = {"token": token_id, "at": at.isoformat(), "sanction": sanction}
    try:
        message |= {MAC: sign(message, at)}
        sqs().send_message(QueueUrl=settings().suspicions_queue, MessageBody=dumps(message))
    except (BotoCoreError, ClientError) as error:  # the next question of the walk reports it again
        log(LogEvent.ENUMERATION_UNKNOWN, token=token_id, exception=type(error).__name__)
