"""Calls made are sealed within a minute, and whatever is then done to the audit is named, on the running stack."""

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
from tests.support.stack import Stack
from tests.support.template import ROOT

PURPOSE = "Tarification de la restauration scolaire"


def verified(stack: Stack) -> dict[str, Any]:
    """Verify until no entry waits for its seal: that lasts a minute at most."""
    until = time.monotonic() + 90
    while time.monotonic() < until:
        found: dict[str, Any] = stack.operate("audit", "verify")
        if found["pending"] == 0:
            return found
    pytest.fail("entries wait for their seal")


@pytest.fixture
def entries(stack: Stack) -> list[dict[str, Any]]:
    """Entries of calls made now, in two seals or more."""
    issued = stack.issue("dgfip_avis_imposition", options=("--purpose", PURPOSE))
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
    bodies = [on.s3.get_object(Bucket=on.outputs["SealsBucket"], Key=one["Key"])["Body"].read() for one in listed]
    return {seal.number: seal for seal in map(Seal.read, bodies)}


def named(entry: dict[str, Any]) -> str:
    return f"entry {entry['token_day']}/{entry['id']}"


def key(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: entry[name] for name in ("token_day", "id")}


def first(stack: Stack) -> str:
    """Return the first thing that a verification names."""
    said = str(stack.operate("audit", "verify", expect=1))
    return said.split("not as it was sealed, first ")[1].strip()


def test_calls_are_sealed_within_a_minute_each_once(stack: Stack, entries: list[dict[str, Any]]) -> None:
    assert [entry["purpose"] for entry in entries] == [PURPOSE] * 6
    sealed = {entry: seal for seal in seals(stack).values() for _, entry, _ in seal.entries}
    assert sum(len(seal.entries) for seal in seals(stack).values()) == len(sealed)
    for entry in entries:
        assert sealed[entry["id"]].at - time_of(entry["id"]) <= MAX_SEAL_DELAY


@contextmanager
def tampered(stack: Stack, entries: list[dict[str, Any]], how: str) -> Iterator[str]:
    """Within, the table is not as it was; yield what a verification must say first."""
    table, one, two = stack.deployment.audit, entries[1], entries[4]
    added = one | {"id": str(UUID(int=UUID(one["id"]).int - (90_000 << 80)))}  # 90 s before
    match how:
        case "flip a byte":
            table.put_item(Item=one | {"organisation": one["organisation"][:-1] + "F"})
            said = f"{named(one)}: it was changed since seal "
        case "delete":
            table.delete_item(Key=key(one))
            said = f"{named(one)}: it was deleted since seal "
        case "swap":
            table.put_item(Item=two | key(one))
            table.put_item(Item=one | key(two))
            said = f"{named(one)}: it was changed since seal "
        case _:
            table.put_item(Item=added)
            said = f"{named(added)}: it is in no seal: it was added afterwards"
    try:
        yield said
    finally:
        table.put_item(Item=one)
        table.put_item(Item=two)
        table.delete_item(Key=key(added))


@pytest.mark.parametrize("how", ["flip a byte", "delete", "insert", "swap"])
def test_what_is_done_to_an_entry_is_named(stack: Stack, entries: list[dict[str, Any]], how: str) -> None:
    with tampered(stack, entries, how) as said:
        assert first(stack).startswith(said)
    assert verified(stack)["ok"]


def test_a_seal_cannot_be_removed_and_who_undoes_the_lock_is_seen(stack: Stack, entries: list[dict[str, Any]]) -> None:
    assert entries
    on = stack.deployment
    number = max(seals(stack)) - 1
    place = {"Bucket": on.outputs["SealsBucket"], "Key": key_of(number)}
    (version,) = on.s3.list_object_versions(Bucket=place["Bucket"], Prefix=place["Key"])["Versions"]
    with pytest.raises(on.s3.exceptions.ClientError, match="AccessDenied"):
        on.s3.delete_object(**place, VersionId=version["VersionId"])
    hidden = on.s3.delete_object(**place)
    assert first(stack).startswith(f"seal {number}: it was deleted")
    on.s3.delete_object(**place, VersionId=hidden["VersionId"])
    written = on.s3.get_object(**place)["Body"].read()
    on.s3.delete_object(**place, VersionId=version["VersionId"], BypassGovernanceRetention=True)
    try:
        assert first(stack) == f"seal {number}: it is missing"
        on.s3.put_object(**place, Body=written.replace(b'"number":', b'"number":1', 1))
        assert first(stack) == f"seal {number}: another seal is in its place"
    finally:
        for one in on.s3.list_object_versions(Bucket=place["Bucket"], Prefix=place["Key"]).get("Versions", []):
            on.s3.delete_object(**place, VersionId=one["VersionId"], BypassGovernanceRetention=True)
        on.s3.put_object(**place, Body=written)
    assert verified(stack)["ok"]


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_an_export_is_proven_with_the_network_off(
    stack: Stack, entries: list[dict[str, Any]], tmp_path: Path, kind: str
) -> None:
    file, pem = tmp_path / f"audit.{kind}", tmp_path / "key.pem"
    pem.write_text(stack.operate("audit", "public-key")["public_key"])
    days = [f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (-1, 1)]
    chosen = ("--from", days[0], "--to", days[1], "--token", entries[0]["token"], "--format", kind)
    assert stack.operate("audit", "export", *chosen, "--output", str(file))["entries"] == 6

    def proven() -> subprocess.CompletedProcess[str]:
        arguments = [str(ROOT / "ops/verify_file.py"), str(file), "--public-key", str(pem), "--json"]
        command = [sys.executable, "-I", "-c", OFFLINE, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    report = json.loads(proven().stdout)
    assert (report["entries"], report["signed"], report["given_key"]) == (6, True, True)
    file.write_bytes(file.read_bytes().replace(PURPOSE.encode(), PURPOSE.upper().encode(), 1))
    assert proven().returncode == 1


# Not FindSeals: without it S3 says 403 of an object that is not there, MiniStack 404.
@pytest.mark.parametrize("sid", ["SignSeals", "WriteSeals", "MoveHead"])
def test_without_a_statement_nothing_is_sealed_and_nothing_lost(stack: Stack, sid: str) -> None:
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
