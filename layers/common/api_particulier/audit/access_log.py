"""The accesses to a citizen's data, found in the audit by the citizen's pseudonyms.

A citizen has one pseudonym for each month and each KMS key, so a search tries 37 months under the current key and under
those from before each rotation. Keys of past months are derived for the search and not kept.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, product
from typing import TYPE_CHECKING, Any, Final

from api_particulier.audit import pseudonyms
from api_particulier.audit.record import DATASET, RETENTION
from api_particulier.dynamodb import Item, Table
from api_particulier.paris_time import day_of

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

_MONTHS_AT_ONCE: Final = 8
_SHOWN: Final = 5000
"""Accesses in a response, at most: Lambda limits its size. The total counts all of them."""


@dataclass(frozen=True)
class AuditArchive:
    """The audit table, and the KMS keys of its pseudonyms: the current one and those before it."""

    table: Table
    kms: "KMSClient"
    key_ids: Sequence[str]

    def records(self, identifier: str, since: datetime, until: datetime) -> list[Item]:
        """Return the records about an identifier between two moments (``until`` excluded), oldest first.

        The identifier is normalised (``api_particulier.api.parameters``). Raise botocore's errors when a month cannot
        be read: a partial result is never returned.
        """
        searches = product(self.key_ids, pseudonyms.months(since, until))
        with ThreadPoolExecutor(_MONTHS_AT_ONCE) as pool:
            months = pool.map(lambda search: self._records_of_month(identifier, *search), searches)
            found = list(chain.from_iterable(months))
        within = [record for record in found if since <= datetime.fromisoformat(record["at"]) < until]
        return sorted(within, key=lambda record: (record["at"], record["id"]))

    def _records_of_month(self, identifier: str, key_id: str, month: str) -> list[Item]:
        citizen = pseudonyms.compute(pseudonyms.derive_month_key(self.kms, key_id, month), identifier)
        return list(self.table.query("citizen = :citizen", {"citizen": citizen}, index="by_citizen"))


def access_log(archive: AuditArchive, identifier: str, now: datetime) -> dict[str, Any]:
    """Return the body of ``/api/citoyen/acces``: the accesses to a citizen's data, latest first.

    Raise botocore's errors when the audit cannot be read.
    """
    since = now - RETENTION
    accesses = [record for record in archive.records(identifier, since, now) if record.get("kind") == DATASET]
    latest_first = accesses[::-1]
    return {
        "periode": {"debut": f"{day_of(since)}", "fin": f"{day_of(now)}"},
        "total": len(accesses),
        "acces": [_access(record) for record in latest_first[:_SHOWN]],
    }


def _access(record: Item) -> dict[str, Any]:
    return {
        "date": record["at"],
        "administration": record["organisation"],
        "siret": record["siret"],
        "finalite": record.get("purpose"),
        "accord": record.get("consent"),
        "jeuDeDonnees": record["dataset"],
        "champs": record["released"],
        "statut": record["status"],
    }
