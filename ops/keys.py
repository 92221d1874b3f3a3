"""The use of keys, read from the audit: the last call of each token, and the scopes that released a field.

The audit has the records of a token by day, so a call writes nothing more for these.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from api_particulier.dynamodb import Item, Table, serialize
from api_particulier.keys.token import Token
from api_particulier.scopes import fields_of, is_granted
from ops.functions import datasets

LOOKED_BACK = timedelta(days=90)
"""How far back a last use is looked for by default."""
_THREADS = 16
"""Tokens looked up at the same time."""


def last_use(audit: Table, token: Token, since: datetime, now: datetime) -> datetime | None:
    """Return the time of the last call that reached a function, refused or not; None without a call since ``since``."""
    earliest = max(since, token.created)
    for day in _days_back(earliest, now):
        latest = audit.client.query(
            TableName=audit.name,
            KeyConditionExpression="token_day = :token_day",
            ExpressionAttributeValues=serialize({":token_day": f"{token.id}#{day}"}),
            ScanIndexForward=False,
            Limit=1,
        )["Items"]
        if latest:
            used = datetime.fromisoformat(latest[0]["at"]["S"])
            return used if used >= earliest else None
    return None


def last_uses(audit: Table, tokens: Iterable[Token], since: datetime, now: datetime) -> dict[str, datetime | None]:
    """Return the last use of each token, by its id."""
    tokens = list(tokens)
    with ThreadPoolExecutor(_THREADS) as pool:
        uses = pool.map(lambda token: last_use(audit, token, since, now), tokens)
        return dict(zip((token.id for token in tokens), uses, strict=True))


@dataclass(frozen=True)
class ScopesUsed:
    """The scopes of a token that released a field over a period; a bundle counts as the scopes that it contains."""

    calls: int
    """Number of calls that released a field."""
    used: tuple[str, ...]
    unused: tuple[str, ...]


def scopes_used(audit: Table, token: Token, since: datetime, now: datetime) -> ScopesUsed:
    """Return the scopes of a token that released a field since ``since``, and those that did not.

    A scope whose field is rare at the provider may look unused.
    """
    scope_of = {
        (route, path): scope
        for dataset in datasets()
        for route, model in dataset.routes.items()
        for path, scope in fields_of(model)
    }
    calls, used = 0, set[str]()
    for record in _records(audit, token, since, now):
        if record["released"]:
            calls += 1
            route = record["route"]
            used |= {scope_of[route, path] for path in record["released"] if (route, path) in scope_of}
    granted = {scope for scope in scope_of.values() if is_granted(scope, token.scopes)}
    return ScopesUsed(calls, tuple(sorted(used & granted)), tuple(sorted(granted - used)))


def _records(audit: Table, token: Token, since: datetime, now: datetime) -> Iterator[Item]:
    for day in _days_back(since, now):
        for record in audit.query("#token_day = :token_day", {"token_day": f"{token.id}#{day}"}):
            if datetime.fromisoformat(record["at"]) >= since:
                yield record


def _days_back(since: datetime, now: datetime) -> Iterator[str]:
    """Yield the UTC days of the audit, from today back to the day of ``since``."""
    first, day = since.astimezone(UTC).date(), now.astimezone(UTC).date()
    while day >= first:
        yield day.isoformat()
        day -= timedelta(days=1)


def forget_suspicions(stats: Table, token: Token) -> None:
    """Delete the enumeration history of a token, which would suspend it again at its next suspect call."""
    for item in stats.query("#pk = :pk", {"pk": f"watch#{token.id}"}, consistent=True):
        stats.delete({"pk": item["pk"], "sk": item["sk"]})
