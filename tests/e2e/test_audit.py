"""Audit records are sealed within a minute, and verification names any change made later, on the deployed stack."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from uuid6 import UUID

from api_particulier.audit.seals import MAX_SEAL_DELAY, Seal, key_of, time_of
from ops import audit
from tests.integration.seals.test_exporting import OFFLINE
from tests.support.disarmed.countermeasures import attempt, disarmed
from tests.support.stack import Stack
from tests.support.template import ROOT
from tests.support.timestamping import TimestampAuthority, authority_on_the_wire

pytestmark = pytest.mark.order(-1)  # reads the whole audit, which the other tests fill
PURPOSE = "Tarification de la restauration scolaire"


def verified(stack: Stack) -> dict[str, Any]:
    """Verify the audit until every record is sealed, for 90 s at most, and return the report."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        found: dict[str, Any] = stack.run_cli("audit", "verify")
        if found["pending"] == 0:
            return found
    pytest.fail("some records are still not sealed")


@pytest.fixture
def records(stack: Stack) -> list[dict[str, Any]]:
    """Call the API six times, and return the audit records, which are in two seals or more."""
    issued = stack.issue_key("dgfip_avis_imposition", options=("--purpose", PURPOSE))
    for _ in range(2):
        for _ in range(3):
            assert stack.get("/introspect", key=issued["key"]).status_code == 200
        verified(stack)
    now = datetime.now(UTC)
    period = audit.Period(now - timedelta(hours=1), now + timedelta(hours=1))
    return audit.of_token(stack.deployment, period, issued["id"])


def seals(stack: Stack) -> dict[int, Seal]:
    on = stack.deployment
    listed = on.s3.list_objects_v2(Bucket=on.outputs["SealsBucket"], Prefix="seals/")["Contents"]
    bodies = [on.s3.get_object(Bucket=on.outputs["SealsBucket"], Key=item["Key"])["Body"].read() for item in listed]
    return {seal.number: seal for seal in map(Seal.from_bytes, bodies)}


def named(record: dict[str, Any]) -> str:
    return f"entry {record['token_day']}/{record['id']}"


def key(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("token_day", "id")}


def first(stack: Stack, *options: str) -> str:
    """Return the first finding of a failed verification."""
    error = str(json.loads(stack.run_cli("audit", "verify", *options, expect=1).splitlines()[-1])["error"])
    return error.split("not as it was sealed, first ")[1].strip()


def test_every_call_is_in_one_seal_within_a_minute(stack: Stack, records: list[dict[str, Any]]) -> None:
    assert [record["purpose"] for record in records] == [PURPOSE] * 6
    sealed = {record: seal for seal in seals(stack).values() for _, record, _ in seal.entries}
    assert sum(len(seal.entries) for seal in seals(stack).values()) == len(sealed)
    for record in records:
        assert sealed[record["id"]].at - time_of(record["id"]) <= MAX_SEAL_DELAY


@contextmanager
def tampered(stack: Stack, records: list[dict[str, Any]], how: str) -> Iterator[str]:
    """Tamper with the audit table within a ``with`` block, and yield the expected first finding."""
    table, changed, other = stack.deployment.audit, records[1], records[4]
    added = changed | {"id": str(UUID(int=UUID(changed["id"]).int - (90_000 << 80)))}  # dated 90 s earlier
    match how:
        case "flip a byte":
            table.put(changed | {"organisation": changed["organisation"][:-1] + "F"})
            finding = f"{named(changed)}: it was changed since seal "
        case "delete":
            table.delete(key(changed))
            finding = f"{named(changed)}: it was deleted since seal "
        case "swap":
            table.put(other | key(changed))
            table.put(changed | key(other))
            finding = f"{named(changed)}: it was changed since seal "
        case _:
            table.put(added)
            finding = f"{named(added)}: it is forged: it is in no seal, and does not bear our MAC"
    try:
        yield finding
    finally:
        table.put(changed)
        table.put(other)
        table.delete(key(added))


@pytest.mark.attack
@pytest.mark.parametrize("how", ["flip a byte", "delete", "insert", "swap"])
def test_verification_names_a_tampered_record(stack: Stack, records: list[dict[str, Any]], how: str) -> None:
    with tampered(stack, records, how) as finding:
        named_first = first(stack)
    attempt(f"in the audit table, at a record: {how}", named_first)
    assert named_first.startswith(finding)
    assert verified(stack)["ok"]


@pytest.mark.attack
def test_a_seal_cannot_be_deleted_and_verification_names_a_seal_removed_past_the_lock(
    stack: Stack, records: list[dict[str, Any]]
) -> None:
    assert records
    on = stack.deployment
    number = max(seals(stack)) - 1
    bucket = on.outputs["SealsBucket"]
    policy = on.s3.get_bucket_policy(Bucket=bucket)["Policy"]
    on.s3.delete_bucket_policy(Bucket=bucket)  # it refuses every deletion; the lock is behind it
    place = {"Bucket": bucket, "Key": key_of(number)}
    (version,) = on.s3.list_object_versions(Bucket=bucket, Prefix=place["Key"])["Versions"]
    written = on.s3.get_object(**place)["Body"].read()
    try:
        with disarmed(unlocked(on.s3, place)), pytest.raises(on.s3.exceptions.ClientError, match="AccessDenied"):
            on.s3.delete_object(**place, VersionId=version["VersionId"])
        hidden = on.s3.delete_object(**place)
        assert first(stack, "--no-wait").startswith(f"seal {number}: it was deleted")
        on.s3.delete_object(**place, VersionId=hidden["VersionId"])
        on.s3.delete_object(**place, VersionId=version["VersionId"], BypassGovernanceRetention=True)
        assert first(stack, "--no-wait") == f"seal {number}: it is missing"
        on.s3.put_object(**place, Body=written.replace(b'"number":', b'"number":1', 1))
        assert first(stack, "--no-wait") == f"seal {number}: another seal is in its place"
        attempt("a seal deleted, hidden, removed past its lock, and replaced", "refused, then named each time")
    finally:
        for version in on.s3.list_object_versions(Bucket=place["Bucket"], Prefix=place["Key"]).get("Versions", []):
            on.s3.delete_object(**place, VersionId=version["VersionId"], BypassGovernanceRetention=True)
        on.s3.put_object(**place, Body=written)
        on.s3.put_bucket_policy(Bucket=bucket, Policy=policy)
    assert verified(stack)["ok"]


@contextmanager
def unlocked(s3: Any, place: dict[str, str]) -> Iterator[None]:
    """End the lock of an object, as its mode of the local stack allows."""
    end = datetime.now(UTC) + timedelta(seconds=1)
    lock = {"Mode": "GOVERNANCE", "RetainUntilDate": end}
    s3.put_object_retention(**place, Retention=lock, BypassGovernanceRetention=True)
    time.sleep(1.5)
    yield


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_is_verified_without_a_network(
    stack: Stack, records: list[dict[str, Any]], tmp_path: Path, kind: str
) -> None:
    file, pem = tmp_path / f"audit.{kind}", tmp_path / "key.pem"
    pem.write_text(stack.run_cli("audit", "public-key")["public_key"])
    (of_exports := tmp_path / "exports.pem").write_text(stack.run_cli("audit", "public-key", "--exports")["public_key"])
    days = [f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1)]
    chosen = ("--from", days[0], "--to", days[1], "--token", records[0]["token"], "--format", kind)
    assert stack.run_cli("audit", "export", *chosen, "--output", str(file))["entries"] == 6

    def proven() -> subprocess.CompletedProcess[str]:
        arguments = [
            str(ROOT / "ops/verify_file.py"),
            str(file),
            "--public-key",
            str(pem),
            "--export-key",
            str(of_exports),
            "--json",
        ]
        command = [sys.executable, "-I", "-c", OFFLINE, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    report = json.loads(proven().stdout)
    assert (report["entries"], report["signed"], report["given_key"]) == (6, True, True)
    file.write_bytes(file.read_bytes().replace(PURPOSE.encode(), PURPOSE.upper().encode(), 1))
    assert proven().returncode == 1


def test_the_head_is_stamped_by_an_authority_with_the_rights_of_the_function(stack: Stack, tmp_path: Path) -> None:
    authority = TimestampAuthority(tmp_path / "authority")

    def invoke(function: str) -> None:
        name = stack.function(function)["FunctionName"]
        stack.client("lambda").invoke(FunctionName=name, Payload=b'{"source": "aws.events"}')

    def written() -> dict[str, bytes]:
        s3, place = stack.deployment.s3, {"Bucket": stack.deployment.outputs["SealsBucket"]}
        listed = s3.list_objects_v2(**place, Prefix="checkpoints/")["Contents"]
        return {found["Key"]: s3.get_object(**place, Key=found["Key"])["Body"].read() for found in listed}

    invoke("AuditSeals")
    with (
        authority_on_the_wire(authority.answer) as url,
        stack.with_variables("AuditVerification", TIMESTAMP_URL=url),
    ):
        with stack.without_statement("AuditVerification", "KeepStamps"):
            invoke("AuditVerification")
        assert not [name for name in written() if name.endswith(".tsr")]
        invoke("AuditVerification")
    notes = written()
    ((name, stamp),) = [(name, stamp) for name, stamp in notes.items() if name.endswith(".tsr")]
    assert authority.verifies(notes[f"{name.removesuffix('.tsr')}.txt"], stamp)


# FindSeals is left out: without it S3 responds 403 for a missing object, MiniStack 404.
@pytest.mark.parametrize("sid", ["WriteSeals", "WriteRecords"])
def test_without_a_statement_sealing_fails_and_later_catches_up(stack: Stack, sid: str) -> None:
    verified(stack)
    function = stack.function("AuditSeals")["FunctionName"]
    client = stack.client("lambda")
    until = time.monotonic() + 60
    with stack.without_statement("AuditSeals", sid):
        assert stack.get("/introspect").status_code == 200
        failed = False
        while not failed and time.monotonic() < until:
            (mapping,) = client.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
            failed = mapping["LastProcessingResult"] == "FAILED"
    assert failed
    assert verified(stack)["ok"]
