"""The trace of every call that reached a function: who read which fields about whom, when, and what was refused.

An entry holds no identifier and no value of the answer. The citizen is a pseudonym (``pseudonyms``), so that nobody
can go back from a dump of the table to a person, not even by trying every number.

No entry, no data: whoever answers calls ``write`` first, and answers ``AuditUnavailable`` when it raises.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from uuid6 import uuid7

from api_particulier.audit.mac import MAC, sign
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import serialize
from api_particulier.errors import AuditUnavailable
from api_particulier.keys.token import Token
from api_particulier.observability import LogEvent, log
from api_particulier.settings import settings

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, TransactWriteItemTypeDef

RETENTION = timedelta(days=36 * 30.4375)
"""36 months, the time during which an access can be contested."""
DATASET = "dataset"
"""The kind of a dataset's entries, which the statistics count; those of the services around them have none."""
SUSPENSION = "suspension"
"""The kind of the entry that says that a token was suspended, which no call made."""
CITIZEN = "citizen"
"""The kind of the entries that a citizen makes, who asked what others had asked about them."""


@dataclass
class AuditRecord:
    """What the audit keeps of one call; filled in as the call goes on."""

    at: datetime
    request_id: str
    dataset: str
    route: str
    address: str
    """The caller's; of an entry of kind ``citizen`` a pseudonym, because it is a person's."""
    kind: str | None = None
    user: str | None = None
    """The agent, as the caller names it in ``X-User``."""
    id: str = field(default_factory=lambda: str(uuid7()))
    """UUIDv7: entries sort by time."""
    token: str | None = None
    organisation: str | None = None
    siret: str | None = None
    habilitation: str | None = None
    purpose: str | None = None
    """Of the habilitation."""
    citizen: str | None = None
    """A pseudonym; the index ``by_citizen`` finds the entries of one, in order."""
    provider: str | None = None
    provider_ms: int | None = None
    released: list[str] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """Why a part of the answer is missing, in words of ours."""
    suspicion: str | None = None
    """``slowed`` or ``suspended``, of a question that was refused because it looks like an enumeration."""
    status: int = 500
    error: str | None = None

    def identify(self, token: Token) -> None:
        """Say whose call it is."""
        self.token, self.organisation, self.siret = token.id, token.organisation, token.siret
        self.habilitation, self.purpose = token.habilitation, token.purpose


def write(entry: AuditRecord) -> None:
    """Write the entry; ``AuditUnavailable`` when it may not have been written, whatever the cause."""
    try:
        dynamodb().put_item(TableName=settings().audit_table, Item=_item(entry))
    except Exception as error:  # noqa: BLE001 - a fault of ours is no reason either to let data leave without its trace
        log(LogEvent.AUDIT_FAILED, dataset=entry.dataset, exception=type(error).__name__, request_id=entry.request_id)
        raise AuditUnavailable from None


def put_request(entry: AuditRecord) -> "TransactWriteItemTypeDef":
    """Return the write of an entry, for who writes it together with something else, or not at all."""
    return {"Put": {"TableName": settings().audit_table, "Item": _item(entry)}}


def _item(entry: AuditRecord) -> dict[str, "AttributeValueTypeDef"]:
    values = vars(entry) | {
        "at": entry.at.isoformat(timespec="milliseconds"),
        # One busy token is 20 entries a second, a fiftieth of what a partition takes; a day bounds its size.
        "token_day": f"{entry.token or 'unknown'}#{entry.at:%Y-%m-%d}",
        "expires_at": int((entry.at + RETENTION).timestamp()),
    }
    told = {name: value for name, value in values.items() if value is not None}
    return serialize(told | {MAC: sign(told, entry.at)})
