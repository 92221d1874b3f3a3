"""Keys, as only operators look at them: when each was last used, and which scopes serve nobody.

Both are read from the audit, which knows every call of a token by its day: nothing is written for it when a caller is
served.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.conditions import Key

from api_particulier.keys.token import Token
from api_particulier.scopes import fields_of, is_granted
from ops.functions import datasets

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table

LOOKED_BACK = timedelta(days=90)
"""How far a last use is looked for, unless said otherwise."""
_AT_ONCE = 16
"""Tokens looked up at a time."""


def last_use(audit: "Table", token: Token, since: datetime, now: datetime) -> datetime | None:
    """Return when ``token`` last made a call that reached a function, refused ones too; None when not since then."""
    earliest = max(since, token.created)
    for day in _days_back(earliest, now):
        found = audit.query(
            KeyConditionExpression=Key("token_day").eq(f"{token.id}#{day}"), ScanIndexForward=False, Limit=1
        )["Items"]
        if found:
            used = datetime.fromisoformat(str(found[0]["at"]))
            return used if used >= earliest else None
    return None


def last_uses(audit: "Table", tokens: Iterable[Token], since: datetime, now: datetime) -> dict[str, datetime | None]:
    """Return the last use of each token, by its id."""
    known = list(tokens)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(
            zip((one.id for one in known), pool.map(lambda one: last_use(audit, one, since, now), known), strict=True)
        )


@dataclass(frozen=True)
class ScopesUsed:
    """What a key's scopes opened over a period, atomic scope by atomic scope: a bundle is the scopes that it holds."""

    calls: int
    """That released something."""
    used: tuple[str, ...]
    unused: tuple[str, ...]


def scopes_used(audit: "Table", token: Token, since: datetime, now: datetime) -> ScopesUsed:
    """Tell which scopes of ``token`` released a field since then, and which did not.

    A field that the provider did not show is not released: a scope whose field is rare may look unused.
    """
    scope_of = {
        (route, path): scope
        for dataset in datasets()
        for route, model in dataset.routes.items()
        for path, scope in fields_of(model)
    }
    calls, used = 0, set[str]()
    for entry in _entries(audit, token, since, now):
        if entry["released"]:
            calls += 1
            used |= {scope_of[at] for path in entry["released"] if (at := (str(entry["route"]), path)) in scope_of}
    granted = {scope for scope in scope_of.values() if is_granted(scope, token.scopes)}
    return ScopesUsed(calls, tuple(sorted(used & granted)), tuple(sorted(granted - used)))


def _entries(audit: "Table", token: Token, since: datetime, now: datetime) -> Iterator[dict[str, Any]]:
    for day in _days_back(since, now):
        query: dict[str, Any] = {"KeyConditionExpression": Key("token_day").eq(f"{token.id}#{day}")}
        while True:
            page = audit.query(**query)
            yield from (one for one in page["Items"] if datetime.fromisoformat(str(one["at"])) >= since)
            if "LastEvaluatedKey" not in page:
                break
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]


def _days_back(since: datetime, now: datetime) -> Iterator[str]:
    """Yield the days of the audit, which are UTC's, from today back to that of ``since``."""
    first, day = since.astimezone(UTC).date(), now.astimezone(UTC).date()
    while day >= first:
        yield day.isoformat()
        day -= timedelta(days=1)


def forget_suspicions(stats: "Table", token: Token) -> None:
    """Forget the groups of people that a token was suspected for, or a question more would suspend it again."""
    asked: dict[str, Any] = {"KeyConditionExpression": Key("pk").eq(f"watch#{token.id}"), "ConsistentRead": True}
    while True:
        page = stats.query(**asked)
        with stats.batch_writer() as batch:
            for item in page["Items"]:
                batch.delete_item(Key={"pk": item["pk"], "sk": item["sk"]})
        if "LastEvaluatedKey" not in page:
            return
        asked["ExclusiveStartKey"] = page["LastEvaluatedKey"]
