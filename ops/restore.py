"""A table as it was at an instant, made beside the one that is used: nothing is written over.

DynamoDB's point-in-time recovery brings items, indexes and encryption. What the template says besides, and the tags,
are set again here
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from api_particulier.audit.seals import MAX_SEAL_DELAY
from ops import audit
from ops.deployment import Deployment, DeploymentError
from ops.template import resources

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLES: Final = ("tokens", "audit", "stats", "habilitations")
_PAUSE: Final = 20
"""Seconds between two looks at a table that is being made: minutes of it, up to hours."""

type Tell = Callable[[str], None]


class RestoreError(DeploymentError):
    """The table cannot be restored as asked; nothing was made."""


@dataclass(frozen=True)
class Restored:
    """The table that was made, and what was found in it."""

    source: str
    table: str
    at: datetime
    stream: str | None
    """The ARN of its new stream, which begins empty."""
    items: int
    source_items: int
    """Of the table that is used, now."""
    verification: audit.Verification | None
    """Of an audit, up to a minute before ``at``: a call is dated from its beginning, and written at its end."""


def restore(on: Deployment, table: str, at: datetime | None, name: str | None, tell: Tell) -> Restored:
    """Make the table, wait for it, set what a restore leaves out, and check it; ``RestoreError`` refuses.

    Without ``at`` it is as late as can be. It takes as long as AWS takes. ``tell`` hears where it is.
    """
    output = f"{table.capitalize()}Table"
    dynamodb, source = on.dynamodb, on.outputs[output]
    at = _within_window(dynamodb, source, at).replace(microsecond=0)
    name = name or f"{source}-{at:%Y%m%dT%H%M%SZ}"
    try:
        dynamodb.restore_table_to_point_in_time(SourceTableName=source, TargetTableName=name, RestoreDateTime=at)
    except dynamodb.exceptions.TableAlreadyExistsException:
        msg = f"a table {name} exists already, and is left as it is: say another --name"
        raise RestoreError(msg) from None
    tell(f"Restoring {source}, as it was at {at.isoformat()}, as {name}.")
    _wait(dynamodb, name, tell)
    _complete(dynamodb, source, name, resources("AWS::DynamoDB::Table")[output], tell)
    tell("Counting and checking.")
    verification = None
    if table == "audit":
        verification = audit.verify(on.using(AuditTable=name), audit.Period(until=at - MAX_SEAL_DELAY))
    stream = dynamodb.describe_table(TableName=name)["Table"].get("LatestStreamArn")
    counted = _count(dynamodb, name), _count(dynamodb, source)
    return Restored(source, name, at, stream, *counted, verification)


def _within_window(dynamodb: "DynamoDBClient", source: str, at: datetime | None) -> datetime:
    backups = dynamodb.describe_continuous_backups(TableName=source)["ContinuousBackupsDescription"]
    window = backups.get("PointInTimeRecoveryDescription", {})
    if window.get("PointInTimeRecoveryStatus") != "ENABLED":
        msg = f"{source} has no point-in-time recovery: see its backups, `aws dynamodb list-backups`"
        raise RestoreError(msg)
    first, last = window["EarliestRestorableDateTime"], window["LatestRestorableDateTime"]
    at = at or last.astimezone(UTC)
    if not first <= at.replace(microsecond=0) <= last:
        msg = f"{source} can be restored from {first.isoformat()} to {last.isoformat()}, not to {at.isoformat()}"
        raise RestoreError(msg)
    return at


def _wait(dynamodb: "DynamoDBClient", name: str, tell: Tell) -> None:
    waited = 0
    while (status := dynamodb.describe_table(TableName=name)["Table"]["TableStatus"]) != "ACTIVE":
        if status not in {"CREATING", "UPDATING"}:
            msg = f"{name} became {status}: see the DynamoDB console for why"
            raise DeploymentError(msg)
        tell(f"{name}: {status.lower()}, {waited // 60} min")
        sleep(_PAUSE)
        waited += _PAUSE


def _complete(dynamodb: "DynamoDBClient", source: str, name: str, declared: Mapping[str, Any], tell: Tell) -> None:
    """Set what a restore does not carry: first that nobody deletes it."""
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=declared["DeletionProtectionEnabled"])
    _wait(dynamodb, name, tell)
    described = dynamodb.describe_table(TableName=name)["Table"]
    wanted = declared.get("TableClass")
    if wanted and described.get("TableClassSummary", {}).get("TableClass") != wanted:
        dynamodb.update_table(TableName=name, TableClass=wanted)
        _wait(dynamodb, name, tell)
    if stream := declared.get("StreamSpecification"):
        dynamodb.update_table(TableName=name, StreamSpecification={"StreamEnabled": True} | stream)
        _wait(dynamodb, name, tell)
    if time_to_live := declared.get("TimeToLiveSpecification"):
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=time_to_live)
    arns = [dynamodb.describe_table(TableName=one)["Table"]["TableArn"] for one in (source, name)]
    pages = dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=arns[0])
    # CloudFormation's own tags are its to give: it does when the table is imported.
    if tags := [tag for page in pages for tag in page["Tags"] if not tag["Key"].startswith("aws:")]:
        dynamodb.tag_resource(ResourceArn=arns[1], Tags=tags)
    _back_up(dynamodb, name, declared["PointInTimeRecoverySpecification"], tell)


def _back_up(dynamodb: "DynamoDBClient", name: str, specification: Any, tell: Tell) -> None:
    while True:
        try:
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)
        except dynamodb.exceptions.ContinuousBackupsUnavailableException:  # minutes after a table is made
            tell(f"{name}: backups are not possible yet")
            sleep(_PAUSE)
        else:
            return


def _count(dynamodb: "DynamoDBClient", name: str) -> int:
    pages = dynamodb.get_paginator("scan").paginate(TableName=name, Select="COUNT", ConsistentRead=True)
    return sum(page["Count"] for page in pages)
