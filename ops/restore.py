"""A table restored at an instant, beside the table in use, which is not changed.

The audit is made again from the bucket: the records of its seals, each proven as it is read. The other tables come from
a backup.

DynamoDB's point-in-time recovery restores items, indexes and encryption. The other settings of the template, and the
tags, are set again here
(https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/PointInTimeRecovery_Howitworks.html).
"""

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched, chain
from time import sleep
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.table import BatchWriter

from api_particulier.audit.bucket import AT_ONCE
from api_particulier.audit.record import KEPT_IN_TABLE
from api_particulier.audit.seals import MAX_SEAL_DELAY
from api_particulier.dynamodb import serialize
from ops import audit
from ops.deployment import Deployment, DeploymentError
from ops.template import resources

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

TABLES: Final = ("tokens", "audit", "stats", "habilitations")
_MADE_WITH: Final = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes", "BillingMode")
"""Settings of the audit table that it is made with; the others are set afterwards."""
_PAUSE: Final = 20
"""Seconds between two checks of a table that is being restored, which takes minutes or hours."""

type Report = Callable[[str], None]
"""Shows a line of progress to the operator."""


class RestoreError(DeploymentError):
    """The table cannot be restored as requested; nothing was created."""


@dataclass(frozen=True)
class Restored:
    """The new table, and the result of its checks."""

    source: str
    table: str
    at: datetime
    stream: str | None
    """The ARN of its stream, which begins empty."""
    items: int
    source_items: int
    """Number of items of the table in use, now."""
    verification: audit.Verification | None
    """Of the audit, from the first record that a table keeps to a minute before ``at``."""


def restore(deployment: Deployment, table: str, at: datetime | None, name: str | None, report: Report) -> Restored:
    """Restore a table under ``name``, complete its settings, and check it; by default at the latest instant.

    Raise ``RestoreError`` when the instant or the name is not possible. ``report`` receives lines of progress.
    """
    output = f"{table.capitalize()}Table"
    dynamodb, source = deployment.dynamodb, deployment.outputs[output]
    declared = resources("AWS::DynamoDB::Table")[output]
    from_seals = table == "audit"
    at = (_past(at) if from_seals else _within_window(dynamodb, source, at)).replace(microsecond=0)
    name = name or f"{source}-{at:%Y%m%dT%H%M%SZ}"
    try:
        if from_seals:
            made_with = {part: declared[part] for part in _MADE_WITH}
            encrypted = bool(declared["SSESpecification"]["SSEEnabled"])
            dynamodb.create_table(TableName=name, SSESpecification={"Enabled": encrypted}, **made_with)
        else:
            dynamodb.restore_table_to_point_in_time(SourceTableName=source, TargetTableName=name, RestoreDateTime=at)
    except (dynamodb.exceptions.TableAlreadyExistsException, dynamodb.exceptions.ResourceInUseException):
        msg = f"a table {name} exists already, and is left as it is: say another --name"
        raise RestoreError(msg) from None
    report(f"Restoring {source}, as it was at {at.isoformat()}, as {name}.")
    _wait(dynamodb, name, report)
    if from_seals:  # before the table has its stream, which begins empty
        _fill(deployment, name, at, report)
    _complete(dynamodb, source, name, declared, report)
    report("Counting and checking.")
    verification = None
    if table == "audit":
        verification = audit.verify(
            deployment.using(AuditTable=name), audit.Period(datetime.now(UTC) - KEPT_IN_TABLE, at - MAX_SEAL_DELAY)
        )
    stream = dynamodb.describe_table(TableName=name)["Table"].get("LatestStreamArn")
    return Restored(source, name, at, stream, _count(dynamodb, name), _count(dynamodb, source), verification)


def _past(at: datetime | None) -> datetime:
    now = datetime.now(UTC)
    if at is not None and at > now:
        msg = f"{at.isoformat()} has not come"
        raise RestoreError(msg)
    return at or now


def _fill(deployment: Deployment, name: str, at: datetime, report: Report) -> None:
    """Write the records up to an instant that the table would still keep, each proven by its seal as it is read.

    Raise ``NotProven`` at the first that is not what was sealed.
    """
    bucket, now = deployment.bucket, datetime.now(UTC)
    first = bucket.first_seal_since(now - KEPT_IN_TABLE - MAX_SEAL_DELAY)
    written = 0
    with BatchWriter(name, deployment.dynamodb) as batch, ThreadPoolExecutor(AT_ONCE) as pool:
        for seals in batched(bucket.seals(first, now), AT_ONCE, strict=False):
            for line in chain.from_iterable(pool.map(bucket.records_of, seals)):
                record = json.loads(line)
                if datetime.fromisoformat(record["at"]) <= at and record["expires_at"] > now.timestamp():
                    batch.put_item(serialize(record))
                    written += 1
            report(f"{name}: {written} records, up to seal {seals[-1].number}")


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


def _wait(dynamodb: "DynamoDBClient", name: str, report: Report) -> None:
    """Wait until a table is active; raise ``DeploymentError`` when it fails.

    botocore's waiter shows no progress, and goes on waiting for a table that has failed.
    """
    waited = 0
    while (status := dynamodb.describe_table(TableName=name)["Table"]["TableStatus"]) != "ACTIVE":
        if status not in {"CREATING", "UPDATING"}:
            msg = f"{name} became {status}: see the DynamoDB console for why"
            raise DeploymentError(msg)
        report(f"{name}: {status.lower()}, {waited // 60} min")
        sleep(_PAUSE)
        waited += _PAUSE


def _complete(dynamodb: "DynamoDBClient", source: str, name: str, declared: Mapping[str, Any], report: Report) -> None:
    """Set what a restore does not; first the protection against deletion."""
    dynamodb.update_table(TableName=name, DeletionProtectionEnabled=declared["DeletionProtectionEnabled"])
    _wait(dynamodb, name, report)
    if stream := declared.get("StreamSpecification"):
        dynamodb.update_table(TableName=name, StreamSpecification={"StreamEnabled": True} | stream)
        _wait(dynamodb, name, report)
    if time_to_live := declared.get("TimeToLiveSpecification"):
        dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=time_to_live)
    arns = [dynamodb.describe_table(TableName=table)["Table"]["TableArn"] for table in (source, name)]
    pages = dynamodb.get_paginator("list_tags_of_resource").paginate(ResourceArn=arns[0])
    # CloudFormation sets its own tags when the table is imported into the stack.
    if tags := [tag for page in pages for tag in page["Tags"] if not tag["Key"].startswith("aws:")]:
        dynamodb.tag_resource(ResourceArn=arns[1], Tags=tags)
    if declared["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"]:
        _back_up(dynamodb, name, declared["PointInTimeRecoverySpecification"], report)


def _back_up(dynamodb: "DynamoDBClient", name: str, specification: Any, report: Report) -> None:
    """Turn point-in-time recovery on, which is refused for some minutes after a table is created."""
    while True:
        try:
            dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=specification)
        except dynamodb.exceptions.ContinuousBackupsUnavailableException:
            report(f"{name}: backups are not possible yet")
            sleep(_PAUSE)
        else:
            return


def _count(dynamodb: "DynamoDBClient", name: str) -> int:
    pages = dynamodb.get_paginator("scan").paginate(TableName=name, Select="COUNT", ConsistentRead=True)
    return sum(page["Count"] for page in pages)
