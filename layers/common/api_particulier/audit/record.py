"""The trace of every call that reached a function: which token read which fields about which citizen, and when.

A record holds no identifier and no value of the response. The citizen is a pseudonym (``pseudonyms``), so that a copy
of the table leads back to no person, not even by trying every number. Without a record, no data is released: a handler
calls ``write`` first, and refuses when it raises ``AuditUnavailable``.

What is stored is described attribute by attribute in docs/dynamodb-items.md and docs/audit-format.md.
"""

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import time_ns
from typing import TYPE_CHECKING, Any

from uuid6 import UUID

from api_particulier.audit.mac import MAC, sign
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.errors import AuditUnavailable
from api_particulier.keys.token import Token
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

RETENTION = timedelta(days=36 * 30.4375)
"""36 months, the time during which an access can be contested."""
KEPT_IN_TABLE = timedelta(days=45)
"""How long the table keeps a record; the archive keeps it for the rest (docs/decisions/0039-archive.md)."""
DATASET = "dataset"
"""The type of a dataset's records, which the statistics count; records of the services around them have no type."""
HABILITATION = "habilitation"
"""The type and the dataset of the records of changes of habilitations; in the place of a token too."""
SUSPENSION = "suspension"
"""The type of the record of a token's suspension, which no call made."""
CITIZEN = "citizen"
"""The type of the records of citizens' requests for their own access log."""

HEARTBEAT = "heartbeat"
"""The type and the dataset of the record that a schedule writes each minute: its seal shows that sealing works."""

_STORED_NAMES = {"record_type": "kind", "warnings": "notes"}
"""Attributes stored under another name: the audit's format is older than the code's names."""


def new_id() -> str:
    """Return the id of a record made now: a UUIDv7 with 12 bits of the time within its millisecond (RFC 9562 §6.2).

    It keeps no state: an id of ``uuid6.uuid7`` is never before the last one, so after a clock that jumped ahead once,
    all ids of the environment stay ahead, and no record is sealed.
    """
    milliseconds, rest = divmod(time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    return str(UUID(int=milliseconds << 80 | fraction << 64 | secrets.randbits(62), version=7))


@dataclass
class AuditRecord:
    """The trace of one call, completed while the call is handled."""

    at: datetime
    request_id: str
    dataset: str
    route: str
    address: str
    """The caller's; in a citizen's own record a pseudonym, because it is a person's."""
    record_type: str | None = None
    user: str | None = None
    """The agent, as the caller names it in ``X-User``."""
    id: str = field(default_factory=new_id)
    """UUIDv7: records sort by time."""
    token: str | None = None
    organisation: str | None = None
    siret: str | None = None
    habilitation: str | None = None
    purpose: str | None = None
    """Of the habilitation."""
    consent: str | None = None
    """The caller's reference to the citizen's consent, from ``X-Consent``."""
    recipient: str | None = None
    """The SIRET of the body that receives the data, where the caller names it (v3)."""
    citizen: str | None = None
    """A pseudonym; the index ``by_citizen`` finds a citizen's records, in order."""
    provider: str | None = None
    provider_ms: int | None = None
    released: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Why a part of the response is missing, in words of the project."""
    suspicion: str | None = None
    """``slowed`` or ``suspended``, for a question refused because it looks like an enumeration; ``tampered``, for a
    token that is not as it was signed."""
    status: int = 500
    error: str | None = None
    target: str | None = None
    """The token, habilitation or file that an operator's command is about."""

    def identify(self, token: Token) -> None:
        """Name the token that makes the call, and its administration."""
        self.token, self.organisation, self.siret = token.id, token.organisation, token.siret
        self.habilitation, self.purpose = token.habilitation, token.purpose

    def to_item(self) -> dict[str, Any]:
        """Return the item of the audit table, with its mac; raise botocore's errors without KMS."""
        attributes = self.attributes()
        return attributes | {MAC: sign(attributes, self.at)}

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of its item, without the mac."""
        values = {_STORED_NAMES.get(name, name): value for name, value in vars(self).items() if value is not None}
        if not self.warnings:
            del values["notes"]
        return values | {
            "at": self.at.isoformat(timespec="milliseconds"),
            # A busy token makes 20 records a second, a fiftieth of what a partition takes; a day bounds its size.
            "token_day": f"{self.token or 'unknown'}#{self.at:%Y-%m-%d}",
            "expires_at": int((self.at + KEPT_IN_TABLE).timestamp()),
        }


def write(record: AuditRecord) -> None:
    """Write a record; raise ``AuditUnavailable`` when it may not have been written, for any reason."""
    try:
        _table().put(record.to_item())
    except Exception as error:  # noqa: BLE001 - a fault in this code must not release data without its trace either
        log(
            LogEvent.AUDIT_FAILED,
            dataset=record.dataset,
            exception=type(error).__name__,
            request_id=record.request_id,
        )
        raise AuditUnavailable from None


def write_heartbeat() -> None:
    """Write the record of a minute: no call, no token; raise botocore's errors when it may not be written."""
    now = datetime.now(UTC)
    item = {
        "token_day": f"{HEARTBEAT}#{now:%Y-%m-%d}",
        "id": new_id(),
        "at": now.isoformat(timespec="milliseconds"),
        "kind": HEARTBEAT,
        "dataset": HEARTBEAT,
        "expires_at": int((now + KEPT_IN_TABLE).timestamp()),
    }
    _table().put(item | {MAC: sign(item, now)})


def writing(record: AuditRecord) -> "TransactWriteItemTypeDef":
    """Return the write of a record as a member of a transaction."""
    return _table().putting(record.to_item())


def _table() -> Table:
    return Table(dynamodb(), settings().audit_table)
