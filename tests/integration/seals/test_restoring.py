"""A table restored by the command. moto, like MiniStack, restores the present table at any instant."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from click.testing import CliRunner, Result
from moto.core.exceptions import JsonRESTError
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import RestoredPITTable

from api_particulier.audit.canonical_json import canonical_json
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support.history import History
from tests.support.sealing import Sealing
from tests.support.template import resources

pytestmark = pytest.mark.slow

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def backend() -> DynamoDBBackend:
    found: DynamoDBBackend = dynamodb_backends[DEFAULT_ACCOUNT_ID]["eu-west-3"]
    return found


@pytest.fixture
def restore(sealing: Sealing, backend: DynamoDBBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command, with tables that can be restored from yesterday to in two minutes; it does not wait."""
    dynamodb = boto3.client("dynamodb")
    vars(sealing.deployment)["outputs"]["HabilitationsTable"] = "habilitations"
    for name in ("tokens", "audit", "stats", "habilitations"):
        dynamodb.update_continuous_backups(
            TableName=name, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )
        window = backend.tables[name].continuous_backups["PointInTimeRecoveryDescription"]
        window["EarliestRestorableDateTime"] = (NOW - timedelta(days=1)).timestamp()
        window["LatestRestorableDateTime"] = (NOW + timedelta(minutes=2)).timestamp()
    monkeypatch.setattr(Deployment, "on_aws", lambda *_: sealing.deployment)
    monkeypatch.setattr("ops.restore.sleep", lambda _: None)

    def invoke(table: str, *options: str, to: datetime | None = NOW) -> Result:
        instant = ["--to", to.isoformat()] if to else []
        return CliRunner().invoke(main, ["restore", table, *instant, *options])

    return invoke


@pytest.mark.parametrize("table", ["tokens", "audit", "stats", "habilitations"])
def test_a_restored_table_is_as_the_template_says(table: str, restore: Callable[..., Result]) -> None:
    dynamodb = boto3.client("dynamodb")
    arn = dynamodb.describe_table(TableName=table)["Table"]["TableArn"]
    dynamodb.tag_resource(ResourceArn=arn, Tags=[{"Key": "service", "Value": "aides"}, {"Key": "aws:x", "Value": "y"}])
    done = restore(table, "--latest", "--name", "restored", to=None)
    assert done.exit_code == 0, done.output
    declared = resources("AWS::DynamoDB::Table")[f"{table.capitalize()}Table"]
    made = dynamodb.describe_table(TableName="restored")["Table"]
    assert made["DeletionProtectionEnabled"]
    assert {index["IndexName"] for index in made.get("GlobalSecondaryIndexes", [])} == {
        index["IndexName"] for index in declared.get("GlobalSecondaryIndexes", [])
    }
    assert made.get("StreamSpecification", {}).get("StreamViewType") == declared.get("StreamSpecification", {}).get(
        "StreamViewType"
    )
    backups = dynamodb.describe_continuous_backups(TableName="restored")["ContinuousBackupsDescription"]
    expected = "DISABLED" if table == "audit" else "ENABLED"  # the audit is made again from its bucket
    assert backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == expected
    living = dynamodb.describe_time_to_live(TableName="restored")["TimeToLiveDescription"]
    assert living.get("AttributeName") == declared.get("TimeToLiveSpecification", {}).get("AttributeName")
    tags = dynamodb.list_tags_of_resource(ResourceArn=made["TableArn"])["Tags"]
    assert tags == [{"Key": "service", "Value": "aides"}]


def test_the_command_describes_the_new_table_which_nothing_uses(
    sealing: Sealing, restore: Callable[..., Result]
) -> None:
    for _ in range(3):
        sealing.cloud.issue_key("dgfip_avis_imposition")
    done = restore("tokens", "--json")
    name = f"tokens-{NOW:%Y%m%dT%H%M%SZ}"
    assert json.loads(done.stdout) == {
        "source": "tokens",
        "table": name,
        "at": NOW.isoformat(),
        "stream": None,
        "items": 3,
        "source_items": 3,
        "verification": None,
    }
    assert f"Nothing uses {name} yet. docs/operations/recovery.md#after-a-restore" in done.stderr
    assert "table:        another\n" in restore("tokens", "--name", "another").stdout


def test_the_latest_instant_is_the_latest_that_dynamodb_has(restore: Callable[..., Result]) -> None:
    done = restore("stats", "--latest", "--json", to=None)
    latest = NOW + timedelta(minutes=2)
    assert json.loads(done.stdout)["at"] == latest.isoformat()
    assert json.loads(done.stdout)["table"] == f"stats-{latest:%Y%m%dT%H%M%SZ}"


@pytest.mark.parametrize(("options", "to"), [((), None), (("--latest",), NOW)])
def test_exactly_one_instant_is_required(
    options: tuple[str, ...], to: datetime | None, restore: Callable[..., Result]
) -> None:
    refused = restore("stats", *options, to=to)
    assert (refused.exit_code, "say --to an instant, or --latest" in refused.stderr) == (2, True)


def test_an_existing_table_is_left_as_it_is(sealing: Sealing, restore: Callable[..., Result]) -> None:
    sealing.cloud.issue_key("dgfip_avis_imposition")
    refused = restore("habilitations", "--name", "tokens")
    assert refused.exit_code == 1
    assert "a table tokens exists already" in refused.stderr
    assert len(sealing.cloud.tokens.scan()["Items"]) == 1
    assert not boto3.client("dynamodb").describe_table(TableName="tokens")["Table"]["DeletionProtectionEnabled"]


@pytest.mark.parametrize("to", [NOW - timedelta(days=2), NOW + timedelta(hours=1)])
def test_an_instant_that_no_backup_has_is_refused(to: datetime, restore: Callable[..., Result]) -> None:
    refused = restore("stats", "--name", "restored", to=to)
    assert refused.exit_code == 1
    assert "stats can be restored from" in refused.stderr
    assert "restored" not in boto3.client("dynamodb").list_tables()["TableNames"]


def test_a_table_without_recovery_is_refused(restore: Callable[..., Result]) -> None:
    boto3.client("dynamodb").update_continuous_backups(
        TableName="stats", PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": False}
    )
    refused = restore("stats")
    assert (refused.exit_code, "no point-in-time recovery" in refused.stderr) == (1, True)


def _take_long(monkeypatch: pytest.MonkeyPatch, *statuses: str) -> None:
    """Give a restored table these statuses, one for each description, before it is active."""
    left, describe = list(statuses), RestoredPITTable.describe

    def described(self: RestoredPITTable, base_key: str = "TableDescription") -> dict[str, Any]:
        output: dict[str, Any] = describe(self, base_key)
        if base_key == "Table" and left:
            output[base_key]["TableStatus"] = left.pop(0)
        return output

    monkeypatch.setattr(RestoredPITTable, "describe", described)


def test_the_command_shows_how_long_it_waits(restore: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    _take_long(monkeypatch, *["CREATING"] * 5)
    done = restore("stats", "--name", "restored")
    assert done.exit_code == 0
    assert done.stderr.count("restored: creating, 0 min") == 3
    assert done.stderr.count("restored: creating, 1 min") == 2


def test_a_failed_restore_is_an_error(restore: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    _take_long(monkeypatch, "CREATING", "INACCESSIBLE_ENCRYPTION_CREDENTIALS")
    failed = restore("stats", "--name", "restored")
    assert failed.exit_code == 1
    assert "restored became INACCESSIBLE_ENCRYPTION_CREDENTIALS" in failed.stderr


def test_backups_that_are_not_possible_yet_are_waited_for(
    restore: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, update = ["ContinuousBackupsUnavailableException"] * 2, DynamoDBBackend.update_continuous_backups

    def unavailable(self: DynamoDBBackend, *args: Any, **named: Any) -> dict[str, Any]:
        if left:
            raise JsonRESTError(left.pop(), "Backups are being enabled for the table")
        done: dict[str, Any] = update(self, *args, **named)
        return done

    monkeypatch.setattr(DynamoDBBackend, "update_continuous_backups", unavailable)
    done = restore("stats", "--name", "restored")
    assert (done.exit_code, done.stderr.count("backups are not possible yet")) == (0, 2)


# ── The audit, from its seals ────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def history(sealing: Sealing) -> History:
    """Records of the last hours in two seals, and one that the table no longer keeps; the table is empty."""
    history = History(sealing)
    now = datetime.now(UTC)
    for hours in (24 * 46, 3, 2):
        at = now - timedelta(hours=hours)
        history.seal([history.record(at, token=f"jeton-{number}") for number in range(3)], at + timedelta(seconds=20))
    return history


def restored_lines() -> list[bytes]:
    items = boto3.resource("dynamodb").Table("restored").scan()["Items"]
    return sorted(canonical_json(item) for item in items)


def test_the_emptied_audit_is_restored_byte_for_byte(history: History, restore: Callable[..., Result]) -> None:
    assert history.sealing.cloud.audit_records() == []
    done = restore("audit", "--latest", "--name", "restored", "--json", to=None)
    assert done.exit_code == 0, done.stderr
    assert restored_lines() == sorted(history.lines[3:])
    output = json.loads(done.stdout)
    assert (output["items"], output["source_items"], output["verification"]["findings"]) == (6, 0, [])
    assert output["stream"].split("/")[1] == "restored"


def test_the_audit_is_restored_at_an_instant(history: History, restore: Callable[..., Result]) -> None:
    done = restore("audit", "--name", "restored", to=datetime.now(UTC) - timedelta(hours=2, minutes=30))
    assert done.exit_code == 0, done.stderr
    assert restored_lines() == sorted(history.lines[3:6])
    assert restore("audit", "--name", "other", to=datetime.now(UTC) + timedelta(hours=1)).exit_code == 1


@pytest.mark.parametrize(("content", "what"), [(b"x", "it was changed"), (None, "it is missing")])
def test_a_record_that_is_not_proven_is_not_restored(
    history: History, restore: Callable[..., Result], content: bytes | None, what: str
) -> None:
    assert history.last
    key = f"records/{history.last.header['records']}.json.gz"
    history.replace(key, content)
    done = restore("audit", "--latest", "--name", "restored", to=None)
    assert (done.exit_code, f"{key}: {what}" in done.stderr) == (1, True)
