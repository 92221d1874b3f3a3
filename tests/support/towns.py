"""The enumeration guard in every environment of every function, over a table in memory, for months of calls."""

import re
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from cachetools import LRUCache

from api_particulier.api import enumeration
from api_particulier.api.parameters import Parameters
from api_particulier.audit import pseudonyms
from api_particulier.audit.record import AuditRecord
from api_particulier.dynamodb import deserialize, serialize
from api_particulier.errors import EnumerationSuspected, UnknownNotice
from api_particulier.keys.token import Token
from api_particulier.observability import LogEvent

_CREATED = datetime(2026, 9, 1, tzinfo=UTC)


class Table:
    """A statistics table in memory that knows the updates of the enumeration guard: all of them add."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.writes = 0

    def update_item(
        self,
        *,
        Key: Any,  # noqa: N803 - boto3's
        UpdateExpression: str,  # noqa: N803 - boto3's
        ExpressionAttributeValues: Any,  # noqa: N803 - boto3's
        **_: Any,
    ) -> dict[str, Any]:
        self.writes += 1
        item = self.items.setdefault((Key["pk"]["S"], Key["sk"]["S"]), {})
        added = dict(re.findall(r"#(\w+) (:\w+)", UpdateExpression.partition(" SET ")[0]))
        values = deserialize(ExpressionAttributeValues)
        for name, value in added.items():
            more = values[value]
            item[name] = item.get(name, set()) | more if isinstance(more, set) else item.get(name, 0) + more
        return {"Attributes": serialize(item)}


class World:
    """Every environment of every function, and the table that they share."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table = Table()
        self.calls = 0
        self.refused = Counter[str]()
        self.warned = Counter[str]()
        self.tokens: dict[str, Token] = {}
        self._environments = [LRUCache[str, Any](maxsize=256) for _ in range(8)]
        self._serving = self._environments[0]
        monkeypatch.setattr(enumeration, "_histories", lambda: self._serving)
        monkeypatch.setattr(enumeration, "dynamodb", lambda: self.table)
        monkeypatch.setattr(enumeration, "sqs", Silent)
        monkeypatch.setattr(enumeration, "log", lambda *_, **__: None)
        monkeypatch.setattr(enumeration, "alert", self._warn)
        monkeypatch.setattr(enumeration, "sign", lambda *_: "")
        monkeypatch.setattr(pseudonyms, "_current_key", lambda *_: b"a key of the month")

    def _warn(self, _event: LogEvent, *, token: str, **_: Any) -> None:
        self.warned[token] += 1

    def ask(self, town: str, parameters: Parameters, at: datetime, environment: int, *, known: bool) -> bool:
        """Make one call; return whether it was answered."""
        self.calls += 1
        self._serving = self._environments[environment]
        entry = AuditRecord(at, "", "", "", "", id="")
        entry.citizen = pseudonyms.pseudonym(parameters.citizen_id, at)
        try:
            with enumeration.guard(self.tokens.get(town) or token(town), parameters, entry):
                if not known:
                    raise UnknownNotice  # noqa: TRY301 - as a provider does
        except EnumerationSuspected:
            self.refused[town] += 1
            return False
        except UnknownNotice:
            pass
        return True


def token(name: str, people_a_day: int | None = None, unknown_a_day: int | None = None) -> Token:
    bare = Token("", name, "", "", frozenset(), "active", _CREATED)
    return replace(bare, people_a_day=people_a_day, unknown_a_day=unknown_a_day)


class Silent:
    def send_message(self, **_: Any) -> None:
        """Accept a message and drop it."""
