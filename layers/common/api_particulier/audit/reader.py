"""The records of the audit, read alike from its table and from its archive.

A day that is archived is read there; the table holds the days after it. A day that neither holds is an error.
"""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from api_particulier.audit import archive
from api_particulier.audit.bucket import Bucket, NotProven
from api_particulier.audit.record import KEPT_IN_TABLE
from api_particulier.dynamodb import Item, Table


@dataclass(frozen=True)
class AuditReader:
    """The audit table and the bucket of its archive."""

    table: Table
    bucket: Bucket

    def of_token(self, token: str, day: date) -> list[Item]:
        """Return the records of a token on a day (UTC), in order of id, with their attributes in order of name.

        Raise ``NotProven`` when neither the table nor the archive holds the day.
        """
        return self.of_token_day(f"{token}#{day}")

    def of_token_day(self, token_day: str) -> list[Item]:
        """Return the records of a partition of the table, like ``of_token``."""
        day = date.fromisoformat(token_day.rpartition("#")[2])
        manifest = archive.find_day(self.bucket, day)
        if manifest is None:
            self.check_in_table(day)
            found = list(self.table.query("#token_day = :token_day", {"token_day": token_day}))
        else:
            prefix = archive.prefix_of(token_day)
            prefixes = [prefix] if prefix in manifest["objects"] else []
            lines = archive.day_lines(self.bucket, day, manifest, prefixes)
            found = [record for record in map(json.loads, lines) if record["token_day"] == token_day]
        return sorted(map(in_order, found), key=lambda record: str(record["id"]))

    def usage(self, day: date) -> dict[str, Any] | None:
        """Return the use of each token on an archived day; None for a day that the table holds."""
        content = self.bucket.find(archive.usage_key(day))
        if content is None:
            self.check_in_table(day)
            return None
        return dict(json.loads(content))

    def check_in_table(self, day: date) -> None:
        """Raise ``NotProven`` when the table no longer has a day whole, and there were records then."""
        kept_since = datetime.now(UTC) - KEPT_IN_TABLE
        if datetime.combine(day, time(), UTC) >= kept_since:
            return
        first = archive.first_day(self.bucket)
        if first is not None and day >= first:
            msg = f"{archive.day_key(day)}: it is missing, and the table no longer has this day whole"
            raise NotProven(msg)


def in_order(item: Item) -> Item:
    """Return a record with its attributes in order of name, as the archive writes them."""
    return dict(sorted(item.items()))
