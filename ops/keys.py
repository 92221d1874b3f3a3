"""The use of keys, read from the audit: the last call of each token, and the scopes that released a field.

The audit has the records of a token by day, so a call writes nothing more for these.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from api_particulier.audit.reader import AuditReader
from api_particulier.dynamodb import Table, serialize
from api_particulier.habilitations.model import Habilitation
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import ACTIVE, SUSPENDED, Token
from api_particulier.scopes import fields_of, includes, is_granted
from ops.functions import datasets

LOOKED_BACK = timedelta(days=90)
"""How far back a last use is looked for by default."""
_THREADS = 16
"""Tokens looked up at the same time."""


def last_use(reader: AuditReader, token: Token, since: datetime, now: datetime) -> datetime | None:
    """Return the time of the last call that reached a function, refused or not; None without a call since ``since``."""
    return last_uses(reader, [token], since, now)[token.id]


def last_uses(
    reader: AuditReader, tokens: Iterable[Token], since: datetime, now: datetime
) -> dict[str, datetime | None]:
    """Return the last use of each token, by its id.

    Raise ``NotProven`` when a day is in neither the table nor the archive.
    """
    created = {token.id: token.created for token in tokens}
    uses: dict[str, datetime | None] = dict.fromkeys(created)
    since = max(since, min(created.values(), default=now))
    for day in _days_back(since, now):
        unknown = [token_id for token_id, used in uses.items() if used is None]
        if not unknown:
            break
        usage = reader.usage(day)
        if usage is None:
            found = _last_calls(reader.table, unknown, day)
        else:
            found = {token_id: usage.get(token_id, {}).get("last") for token_id in unknown}
        for token_id, last in found.items():
            if last is not None and (moment := datetime.fromisoformat(last)) >= max(since, created[token_id]):
                uses[token_id] = moment
    return uses


def _last_calls(audit: Table, token_ids: Sequence[str], day: date) -> dict[str, str | None]:
    """Return when each token was last used on a day that the table holds."""
    with ThreadPoolExecutor(_THREADS) as pool:
        last_calls = pool.map(lambda token_id: _last_call(audit, f"{token_id}#{day}"), token_ids)
        return dict(zip(token_ids, last_calls, strict=True))


def _last_call(audit: Table, token_day: str) -> str | None:
    latest = audit.client.query(
        TableName=audit.name,
        KeyConditionExpression="token_day = :token_day",
        ExpressionAttributeValues=serialize({":token_day": token_day}),
        ScanIndexForward=False,
        Limit=1,
    )["Items"]
    return latest[0]["at"]["S"] if latest else None


@dataclass(frozen=True)
class ScopesUsed:
    """The scopes of a token that released a field over a period; a bundle counts as the scopes that it contains."""

    calls: int
    """Number of calls that released a field."""
    used: tuple[str, ...]
    unused: tuple[str, ...]


def scopes_used(reader: AuditReader, token: Token, since: datetime, now: datetime) -> ScopesUsed:
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
    for day in _days_back(since, now):
        releasing, released = _released_on(reader, token, day, since)
        calls += releasing
        used |= {scope_of[path] for path in released if path in scope_of}
    granted = {scope for scope in scope_of.values() if is_granted(scope, token.scopes)}
    return ScopesUsed(calls, tuple(sorted(used & granted)), tuple(sorted(granted - used)))


def _released_on(reader: AuditReader, token: Token, day: date, since: datetime) -> tuple[int, set[tuple[str, str]]]:
    """Return how many calls of a day released a field, and the fields, each after its route.

    An archived day has them counted; its records are read only for a part of it.
    """
    usage = reader.usage(day) if day > since.astimezone(UTC).date() else None
    if usage is not None:
        used = usage.get(token.id, {"releasing": 0, "released": {}})
        return used["releasing"], {(route, path) for route, paths in used["released"].items() for path in paths}
    records = [
        record
        for record in reader.of_token(token.id, day)
        if record["released"] and datetime.fromisoformat(record["at"]) >= since
    ]
    return len(records), {(record["route"], path) for record in records for path in record["released"]}


def _days_back(since: datetime, now: datetime) -> Iterator[date]:
    """Yield the UTC days of the audit, from today back to the day of ``since``."""
    first, day = since.astimezone(UTC).date(), now.astimezone(UTC).date()
    while day >= first:
        yield day
        day -= timedelta(days=1)


def forget_suspicions(stats: Table, token: Token) -> None:
    """Delete the enumeration history of a token, which would suspend it again at its next suspect call."""
    for item in stats.query("#pk = :pk", {"pk": f"watch#{token.id}"}, consistent=True):
        stats.delete({"pk": item["pk"], "sk": item["sk"]})


@dataclass(frozen=True)
class Moved:
    """The keys issued before decision 0045, which now have gateway keys whose values open nothing."""

    former: dict[str, list[str]]
    """Gateway keys to delete once nothing remembers them, by the id of the token."""
    left: tuple[str, ...]
    """Suspended tokens: they are moved once they are resumed."""


def move_secrets(store: KeyStore) -> Moved:
    """Give the keys whose secrets are at the gateway other gateway keys; idempotent, and calls go on."""
    old = [token for token in store.list_all() if token.shown is None and not token.is_pending]
    moved = [
        token if token.usage_key else lifecycle.replace_gateway_key(store, token)
        for token in old
        if token.state == ACTIVE
    ]
    former = {token.id: lifecycle.former_gateway_keys(store, token) for token in moved}
    left = tuple(token.id for token in old if token.state == SUSPENDED and not token.usage_key)
    return Moved({token_id: ids for token_id, ids in former.items() if ids}, left)


@dataclass(frozen=True)
class TokenProblem:
    """A token that is not what was granted."""

    token: str
    text: str


def check_tokens(store: KeyStore, habilitations: HabilitationRepository) -> list[TokenProblem]:
    """Return what is wrong with the active tokens: their MAC, their habilitation's grant, their key at the gateway.

    A table's writer can put back an older token, or make a suspended one active again: the grant and the gateway, which
    this writer cannot change, tell.
    """
    granted = {habilitation.id: habilitation for habilitation in habilitations.list_all()}
    gateway = store.enabled_gateway_keys()
    active = [token for token in store.list_all() if token.state == ACTIVE]
    return [
        TokenProblem(token.id, text)
        for token in active
        for text in (*_of_itself(store, token, gateway), *_of_its_grant(token, granted))
    ]


def _of_itself(store: KeyStore, token: Token, gateway: frozenset[str]) -> Iterator[str]:
    if not store.is_as_signed(token):
        yield "is not as it was signed" if token.mac else "is not signed"
    if token.gateway_key_id not in gateway:
        yield "is active, and its key at the gateway is disabled or deleted"


def _of_its_grant(token: Token, granted: dict[str, Habilitation]) -> Iterator[str]:
    if token.habilitation is None:
        return
    habilitation = granted.get(token.habilitation)
    if habilitation is None or not habilitation.is_open or habilitation.request is None:
        yield f"belongs to the habilitation {token.habilitation}, which is not approved"
        return
    if added := sorted(scope for scope in token.scopes if not includes(habilitation.granted, scope)):
        yield f"opens {', '.join(added)}, which its habilitation does not grant"
    if (token.organisation, token.siret) != (habilitation.request.organisation, habilitation.request.siret):
        yield "names another administration than its habilitation"
