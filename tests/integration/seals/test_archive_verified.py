"""A verification names every change of what is kept of the audit: records, archive, use, accesses, manifests."""

import gzip
import importlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import pytest
import time_machine

from api_particulier.audit import archive, verification
from api_particulier.audit.bucket import compress, lines_of
from tests.support.history import History, noon
from tests.support.sealing import Sealing

pytestmark = pytest.mark.slow

DAY = date(2026, 10, 30)
PREFIX = archive.prefix_of(f"jeton-1#{DAY}")
OBJECT = archive.day_key(DAY, f"{PREFIX}.json.gz")
ROWS = "access/2026-10/0.json.gz"
MONTH = "access/2026-10/manifest.json"


@pytest.fixture
def history(sealing: Sealing) -> History:
    """The last two days of October 2026, sealed and archived with their month."""
    history = History(sealing)
    for day in ("2026-10-30", "2026-10-31"):
        at = noon(day)
        records = [history.record(at + timedelta(minutes=number), f"dgfip:269000000000{number}") for number in range(3)]
        history.seal([*records, history.record(at, None, token="jeton-2")], at + timedelta(minutes=5))
    archive.run(history.bucket, datetime(2026, 11, 2, 0, 20, tzinfo=UTC))
    return history


def findings(history: History) -> list[str]:
    """Verify all that the bucket holds."""
    found: list[verification.Finding] = []
    month = verification.begin_month(history.bucket, "2026-10")
    seals = list(history.bucket.seals(1, datetime.now(UTC)))
    for seal in seals:
        found += verification.check_records(history.bucket, seal)
    for day, sealed in verification.by_day(seals):
        found += verification.check_day(history.bucket, day, sealed, month)
    if month is not None:
        found += verification.check_month(history.bucket, month)
    for prefix in ("records/", "archive/", "usage/", "access/"):
        found += verification.check_versions(history.bucket, prefix, timedelta(days=40))
    return [f"{finding.place}: {finding.what}" for finding in found]


def test_an_unchanged_archive_has_no_finding(history: History) -> None:
    assert findings(history) == []


def edited(key: str, change: Callable[[list[bytes]], list[bytes]]) -> Callable[[History], None]:
    """Return the change of the lines of an object."""
    return lambda history: history.replace(key, compress(change(lines_of(history.bucket.get(key)))))


def described(key: str, name: str, value: object) -> Callable[[History], None]:
    """Return the change of a part of a manifest."""
    return lambda history: history.replace(key, json.dumps(history.object(key) | {name: value}).encode())


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (edited(OBJECT, lambda lines: [lines[0].replace(b"EXEMPLE", b"EXEMPLF"), *lines[1:]]), "it was changed in the"),
        (edited(OBJECT, lambda lines: lines[1:]), "it is not in the archive, and seal 1 holds it"),
        (edited(OBJECT, lambda lines: [*lines, lines[0]]), "it is in the archive, and in no seal or twice"),
        (edited(OBJECT, lambda lines: [*lines, b"x"]), "it holds a line that is no record"),
        (edited(OBJECT, lambda lines: lines[::-1]), f"{OBJECT}: it is not what the manifest names"),
        (lambda history: history.replace(OBJECT, None), f"{OBJECT}: it is missing"),
        (lambda history: history.replace(OBJECT, b"x"), f"{OBJECT}: it was changed"),
        (
            lambda history: history.replace(OBJECT, gzip.compress(gzip.decompress(history.bucket.get(OBJECT)), 1)),
            f"{OBJECT}: it is not what the manifest names",
        ),
        (lambda history: history.replace(archive.usage_key(DAY), b"{}"), f"usage/{DAY}.json: it is not the use"),
        (described(archive.day_key(DAY), "records", 3), f"archive/{DAY}/manifest.json: it does not describe"),
        (described(archive.day_key(DAY), "format", "x"), f"archive/{DAY}/manifest.json: it is no manifest"),
        (lambda history: history.replace(archive.day_key(DAY), None), f"archive/{DAY}/manifest.json: it is missing"),
        (edited(ROWS, lambda rows: rows[1:]), f"{ROWS}: its rows are not those of the archived days"),
        (edited(ROWS, lambda rows: [*rows, rows[-1]]), f"{ROWS}: its rows are not those of the archived days"),
        (edited(ROWS, lambda rows: [rows[0][:-2] + b" }]"]), f"{ROWS}: its rows are not those of the archived days"),
        (edited(ROWS, lambda rows: rows[::-1]), f"{ROWS}: its rows are not those of the archived days"),
        (lambda history: history.replace(ROWS, None), f"{ROWS}: it is missing"),
        (described(MONTH, "rows", {"citizen": 5}), f"{MONTH}: it does not describe"),
        (described(MONTH, "months", {}), f"{MONTH}: it does not describe"),
        (described(MONTH, "previous", None), f"{MONTH}: it does not describe"),
        (
            lambda history: history.sealing.s3.put_object(Bucket=history.bucket.name, Key=OBJECT, Body=b"x"),
            f"{OBJECT}: it was written again (the version that is locked remains)",
        ),
        (
            lambda history: history.sealing.s3.delete_object(Bucket=history.bucket.name, Key=MONTH),
            f"{MONTH}: it was deleted (the version that is locked remains)",
        ),
    ],
)
def test_every_change_is_named(history: History, tamper: Callable[[History], object], named: str) -> None:
    tamper(history)
    found = findings(history)
    assert any(named in finding for finding in found), found


def test_a_changed_object_of_records_is_named(history: History) -> None:
    assert history.last
    key = f"records/{history.last.header['records']}.json.gz"
    history.replace(key, b"x")
    assert findings(history) == [f"{key}: it was changed"]


# ── Every night ──────────────────────────────────────────────────────────────────────────────────────────────────────


def run(now: str = "2026-11-01T03:00:00") -> None:
    with time_machine.travel(f"{now}+00:00", tick=False):
        importlib.import_module("functions.audit_verification.app").lambda_handler({}, None)


def test_a_night_verifies_the_day_before_and_counts_it(history: History, capsys: pytest.CaptureFixture[str]) -> None:
    assert history.last
    run()
    assert '"DaysVerified":[1.0]' in capsys.readouterr().out


def test_without_a_seal_a_night_has_nothing_to_verify(sealing: Sealing, capsys: pytest.CaptureFixture[str]) -> None:
    assert sealing.seals() == []
    run()
    assert '"DaysVerified":[1.0]' in capsys.readouterr().out


def signed_by_another(history: History) -> None:
    assert history.last
    key = f"seals/{history.last.number:012}.json"
    history.replace(key, json.dumps(history.object(key) | {"signature": "MAAAAAAA"}).encode())


@pytest.mark.parametrize(
    ("tamper", "place"),
    [
        (signed_by_another, "seal 2"),
        (lambda history: history.replace(OBJECT, None), OBJECT),
        (
            lambda history: history.sealing.s3.delete_object(Bucket=history.bucket.name, Key=archive.day_key(DAY)),
            "arch",
        ),
    ],
)
def test_a_day_that_is_not_as_it_was_sealed_fails_the_night_and_rings(
    history: History, tamper: Callable[[History], object], place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tamper(history)
    module = importlib.import_module("functions.audit_verification.app")
    with pytest.raises(module.NotVerified):
        run()
    logged = capsys.readouterr().out
    assert f'"place":"{place}' in logged
    assert '"AuditTampering":[1.0]' in logged
    assert "DaysVerified" not in logged
