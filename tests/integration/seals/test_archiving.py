"""The archive holds each sealed record of a day whole, and each month's accesses by pseudonym; else it refuses."""

import gzip
import importlib
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import time_machine
from click.testing import CliRunner, Result

from api_particulier.audit import archive
from api_particulier.audit.bucket import NotProven, lines_of
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support.history import History, noon
from tests.support.sealing import Sealing

pytestmark = pytest.mark.slow

DAY = date(2026, 10, 14)


@pytest.fixture
def history(sealing: Sealing) -> History:
    return History(sealing)


def lines(history: History, key: str) -> list[bytes]:
    return lines_of(history.bucket.get(key))


def archived(history: History, day: date = DAY) -> list[bytes]:
    manifest = archive.find_day(history.bucket, day)
    assert manifest
    return list(archive.day_lines(history.bucket, day, manifest, manifest["objects"]))


def three_days(history: History) -> list[dict[str, Any]]:
    """Seal five records of two tokens around a day, of which the last was sealed the day after."""
    moments = ("2026-10-13T23:59:50", "2026-10-14T00:00:01", "2026-10-14T12:00", "2026-10-14T23:59:58")
    before, first, second, third = (
        history.record(datetime.fromisoformat(f"{moment}+00:00"), token=f"jeton-{number % 2}")
        for number, moment in enumerate(moments)
    )
    after = history.record(noon("2026-10-15"))
    history.seal([before, first], datetime(2026, 10, 14, 0, 0, 10, tzinfo=UTC))
    history.seal([second], noon("2026-10-14"))
    history.seal([third], datetime(2026, 10, 15, 20, tzinfo=UTC))  # the sealing function was down
    history.seal([after], noon("2026-10-17"))
    return [before, first, second, third, after]


def test_a_day_holds_its_sealed_records_byte_for_byte_whenever_they_were_sealed(history: History) -> None:
    three_days(history)
    assert archive.archive_day(history.bucket, DAY)
    assert sorted(archived(history)) == sorted(history.lines[1:4])
    manifest = history.object(archive.day_key(DAY))
    assert (manifest["seals"], manifest["records"], manifest["rows"]) == ([1, 3], 3, {"citizen": 3})
    assert manifest["counts"] == {"2026-10-14#avis_imposition#200": 2, "2026-10-15#avis_imposition#200": 1}


def test_a_token_is_under_one_prefix(history: History) -> None:
    records = three_days(history)
    archive.archive_day(history.bucket, DAY)
    for number in (0, 1):
        token_day = f"jeton-{number}#{DAY}"
        found = lines(history, archive.day_key(DAY, f"{archive.prefix_of(token_day)}.json.gz"))
        ids = {json.loads(line)["id"] for line in found if json.loads(line)["token_day"] == token_day}
        assert ids == {record["id"] for record in records if record["token_day"] == token_day}


def test_the_use_of_each_token_is_written(history: History) -> None:
    at = noon("2026-10-14")
    refused = history.record(at + timedelta(seconds=1), None, status=403, released=[])
    released = history.record(at, released=["nombreParts", "anneeImpots"])
    history.seal([released, refused], at + timedelta(seconds=20))
    archive.archive_day(history.bucket, DAY)
    assert history.object("usage/2026-10-14.json") == {
        "jeton-1": {
            "calls": 2,
            "last": refused["at"],
            "releasing": 1,
            "released": {"/api/v2/avis-imposition": ["anneeImpots", "nombreParts"]},
        }
    }


def test_every_object_is_locked_for_36_months_after_its_day(history: History) -> None:
    three_days(history)
    archive.archive_day(history.bucket, DAY)
    for key in history.sealing.s3.list_objects_v2(Bucket=history.bucket.name, Prefix="archive/")["Contents"]:
        written = history.sealing.s3.head_object(Bucket=history.bucket.name, Key=key["Key"])
        assert written["ObjectLockRetainUntilDate"] == datetime(2029, 10, 14, 18, tzinfo=UTC)


def test_a_second_run_changes_nothing_and_an_interrupted_one_goes_on(history: History) -> None:
    three_days(history)
    archive.archive_day(history.bucket, DAY)
    keys = [archive.day_key(DAY), archive.usage_key(DAY)]
    before = [history.bucket.get(key) for key in keys]
    assert not archive.archive_day(history.bucket, DAY)
    history.replace(archive.day_key(DAY), None)  # as if the run had stopped before its last object
    assert archive.archive_day(history.bucket, DAY)
    assert [history.bucket.get(key) for key in keys] == before


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (lambda history, seal: history.replace(f"records/{seal.header['records']}.json.gz", b"x"), "it was changed"),
        (lambda history, seal: history.replace(f"records/{seal.header['records']}.json.gz", None), "it is missing"),
        (lambda history, seal: history.replace(f"seals/{seal.number:012}.json", None), "seal 2: it is missing"),
    ],
)
def test_a_day_whose_records_are_not_those_of_its_seals_is_refused(
    history: History, spoil: Callable[[History, Any], None], what: str
) -> None:
    three_days(history)
    seal = history.bucket.first_seal(2)
    spoil(history, seal)
    with pytest.raises(NotProven, match=what):
        archive.archive_day(history.bucket, DAY)
    assert archive.find_day(history.bucket, DAY) is None


def test_records_that_are_not_those_of_the_leaves_are_refused(history: History) -> None:
    other = history.record(noon("2026-10-14"))
    digest = history.seal([other], noon("2026-10-14")).header["records"]
    history.seal([history.record(noon("2026-10-14"))], noon("2026-10-14"), header={"records": digest})
    with pytest.raises(NotProven, match="its records are not those of seal 2"):
        archive.archive_day(history.bucket, DAY)


def test_a_seal_whose_counts_are_not_those_of_its_records_is_refused(history: History) -> None:
    history.seal([history.record(noon("2026-10-14"))], noon("2026-10-14"), header={"counts": {}})
    with pytest.raises(NotProven, match="seal 1: its counts are not those of its records"):
        archive.archive_day(history.bucket, DAY)


def test_an_object_that_the_next_seal_names_is_stepped_over(history: History) -> None:
    first = history.seal([history.record(noon("2026-10-14"))], noon("2026-10-14"))
    history.sealing.s3.put_object(Bucket=history.bucket.name, Key="seals/000000000002.json", Body=b"x")
    header = {"number": 3, "previous": first.hash, "skipped": [{"number": 2, "sha256": "00" * 32}]}
    history.seal([history.record(noon("2026-10-14"))], noon("2026-10-14"), header=header)
    archive.archive_day(history.bucket, DAY)
    assert len(archived(history)) == 2


# ── A month ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def october(history: History, monkeypatch: pytest.MonkeyPatch) -> History:
    """October 2026, with the accesses to 40 citizens, and calls that name none; its last days have no record."""
    monkeypatch.setattr(archive, "_ROWS_OF_AN_OBJECT", 8)
    for day in range(10, 14):
        at = noon(f"2026-10-{day}")
        records = [history.record(at, f"dgfip:26900000{number:05}") for number in range(day, day + 10)]
        records += [history.record(at, None, status=400), history.record(at, record_type="citizen", token=None)]
        history.seal(records, at)
    history.seal([history.record(noon("2026-11-03"))], noon("2026-11-03"))
    return history


def archive_all(history: History, now: str) -> list[date]:
    return archive.run(history.bucket, datetime.fromisoformat(f"{now}+00:00"))


def test_a_month_has_a_row_for_each_pseudonym_in_order_and_evenly_spread(october: History) -> None:
    days = archive_all(october, "2026-11-02T00:20")
    assert (days[0], days[-1], len(days)) == (date(2026, 10, 10), date(2026, 10, 31), 22)
    manifest = october.object("access/2026-10/manifest.json")
    assert (manifest["bits"], manifest["rows"]) == (3, {"citizen": 44})
    assert len(manifest["objects"]) == 8
    for name, described in manifest["objects"].items():
        rows = [json.loads(row) for row in lines(october, f"access/2026-10/{name}.json.gz")]
        assert len(rows) == described["rows"]
        assert [row[0] for row in rows] == sorted(row[0] for row in rows)
        assert {archive.part_of(row[0], 3) for row in rows} <= {name}
        assert all(row[1].keys() <= set(archive.SHOWN) for row in rows)


def test_a_month_is_not_archived_before_its_last_day_can_be(october: History) -> None:
    archive_all(october, "2026-11-01T23:59")
    assert archive.find_month(october.bucket, "2026-10") is None
    assert archive.find_day(october.bucket, date(2026, 10, 30))


def test_a_month_whose_rows_are_not_the_sum_of_its_seals_counts_is_refused(october: History) -> None:
    archive_all(october, "2026-11-01T23:59")
    key = archive.day_key(date(2026, 10, 11))
    manifest = october.object(key)
    manifest["counts"]["2026-10-11#avis_imposition#200"] += 1
    october.replace(key, json.dumps(manifest).encode())
    with pytest.raises(NotProven, match=r"access/2026-10/manifest\.json: 44 rows, and the seals count 45"):
        archive_all(october, "2026-11-02T00:20")
    assert archive.find_month(october.bucket, "2026-10") is None


def test_a_month_is_not_made_of_a_changed_day(october: History) -> None:
    archive_all(october, "2026-11-01T23:59")
    day = date(2026, 10, 11)
    key = archive.day_key(day, f"{next(iter(october.object(archive.day_key(day))['objects']))}.json.gz")
    october.replace(key, gzip.compress(b""))
    with pytest.raises(NotProven, match=rf"{key}: it is not what the manifest names"):
        archive_all(october, "2026-11-02T00:20")


def test_each_month_names_those_before_it_back_to_the_beginning(october: History) -> None:
    archive_all(october, "2026-11-02T00:20")
    assert october.object("access/2026-09/manifest.json")["months"] == {}
    archive_all(october, "2026-12-02T00:20")
    assert october.object("access/2026-11/manifest.json")["months"] == {"2026-10": 3, "2026-11": 0}


# ── The function ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run(now: str) -> Any:
    with time_machine.travel(f"{now}+00:00", tick=False):
        return importlib.import_module("functions.audit_archive.app").lambda_handler({}, None)


def test_the_function_archives_the_days_that_are_due_and_counts_its_run(
    october: History, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEAL_LOCK_MODE", "GOVERNANCE")
    assert october.last
    assert run("2026-10-12T00:20:00") == ["2026-10-10"]
    assert run("2026-10-14T00:20:00") == ["2026-10-11", "2026-10-12"]
    assert run("2026-10-14T06:20:00") == []
    assert capsys.readouterr().out.count('"ArchiveRuns":[1.0]') == 3


def test_without_a_seal_there_is_nothing_to_archive(history: History) -> None:
    assert history.last is None
    assert run("2026-10-12T00:20:00") == []


def test_a_day_that_is_not_whole_fails_the_function_and_is_named(
    october: History, capsys: pytest.CaptureFixture[str]
) -> None:
    october.replace(f"seals/{2:012}.json", None)
    module = importlib.import_module("functions.audit_archive.app")
    with pytest.raises(module.NotArchived):
        run("2026-10-14T00:20:00")
    logged = capsys.readouterr().out
    assert '"place":"seal 2: it is missing"' in logged
    assert "ArchiveRuns" not in logged


# ── The command ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def command(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(Deployment, "on_aws", lambda *_: sealing.deployment)

    def invoke(now: str, *options: str) -> Result:
        with time_machine.travel(f"{now}+00:00", tick=False):
            return CliRunner().invoke(main, ["audit", "archive", *options])

    return invoke


def test_the_command_archives_what_is_due_or_a_day(october: History, command: Callable[..., Result]) -> None:
    assert json.loads(command("2026-10-14T09:00", "--json").stdout) == {
        "archived": ["2026-10-10", "2026-10-11", "2026-10-12"]
    }
    assert json.loads(command("2026-10-14T09:00", "--day", "2026-10-13", "--json").stdout) == {
        "archived": ["2026-10-13"]
    }
    assert json.loads(command("2026-10-14T09:00", "--day", "2026-10-13", "--json").stdout) == {"archived": []}
    assert command("2026-10-14T09:00", "--day", "2026-10-14").exit_code == 2
    october.replace(f"seals/{4:012}.json", None)
    failed = command("2026-11-04T09:00")
    assert (failed.exit_code, "seal 4: it is missing" in failed.stderr) == (1, True)
