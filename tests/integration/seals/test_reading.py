"""The table and the archive are read alike: the same answers once a month is archived and the table has let it go."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from os import environ
from pathlib import Path

import boto3
import pytest
import time_machine
from click.testing import CliRunner, Result

from api_particulier.audit import access_log, archive
from api_particulier.audit.access_log import Accesses
from api_particulier.audit.bucket import Bucket, NotProven, compress, lines_of
from api_particulier.audit.canonical_json import canonical_json
from api_particulier.audit.mac import Marks
from api_particulier.dynamodb import Table
from ops import verify_file
from ops.cli.main import main
from ops.deployment import Deployment
from tests.support.history import History, noon
from tests.support.sealing import Sealing

pytestmark = pytest.mark.slow

CITIZEN = "dgfip:2690000000011"
NOW = "2026-11-14T09:00:00"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.fixture
def history(sealing: Sealing) -> History:
    """September to November 2026, in the table and sealed: two tokens, two citizens, a citizen's own request."""
    history = History(sealing)
    for day in ("2026-09-28", "2026-10-10", "2026-10-11", "2026-10-31", "2026-11-01", "2026-11-13"):
        at = noon(day)
        records = [
            history.record(at, CITIZEN),
            history.record(at + timedelta(minutes=1), CITIZEN),
            history.record(at, CITIZEN, token="jeton-2", organisation="AUTRE VILLE", habilitation="habilitation-2"),
            history.record(at, "dgfip:2690000000012", released=["anneeImpots"]),
            history.record(at, None, status=400, released=[]),
            history.record(at, CITIZEN, record_type="citizen", token=None, organisation=None, siret=None, released=[]),
        ]
        history.seal(records, at + timedelta(seconds=20))
        history.keep(records)
    return history


@pytest.fixture
def run(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    monkeypatch.setattr(Deployment, "on_aws", lambda *_: sealing.deployment)
    monkeypatch.setattr("ops.cli.options.record_act", lambda *_, **__: None)
    for module in ("audit", "citizens"):  # an act would be in the next answer
        monkeypatch.setattr(f"ops.cli.{module}.record_act", lambda *_, **__: None)
    with time_machine.travel(moment(NOW), tick=True):
        yield lambda *command: CliRunner().invoke(main, list(command))


def archive_all(history: History) -> None:
    archive.run(history.bucket, moment(NOW))


def empty_table(history: History) -> None:
    """Remove the items of the archived months; the table keeps those of the present month."""
    for item in history.sealing.cloud.audit_records():
        if item["token_day"][-10:] <= "2026-10-31":
            history.sealing.cloud.audit.delete_item(Key={name: item[name] for name in ("token_day", "id")})


ANSWERS = [
    ("citizen", "access", "--numero-fiscal", "2690000000011", "--json"),
    ("audit", "search", "--token", "jeton-1", "--from", "2026-10-05", "--json"),
    ("audit", "search", "--token", "jeton-2", "--from", "2026-10-05", "--to", "2026-11-14", "--json"),
    ("audit", "search", "--numero-fiscal", "2690000000011", "--from", "2026-10-01", "--json"),
]


def test_answers_are_the_same_once_archived_and_gone_from_the_table(
    history: History, run: Callable[..., Result]
) -> None:
    first_day = date(2026, 9, 28)
    for day in (first_day + timedelta(days=number) for number in range(3)):
        archive.archive_day(history.bucket, day)
    archive.begin(history.bucket, first_day)  # September is older than what the table keeps
    archive.archive_month(history.bucket, "2026-09", first_day)
    before = [run(*command) for command in ANSWERS]
    assert json.loads(before[0].stdout)["total"] == 18
    archive_all(history)
    assert json.loads(run(*ANSWERS[0]).stdout)["total"] == 18
    assert [run(*command).stdout for command in ANSWERS] == [result.stdout for result in before]
    empty_table(history)
    assert [run(*command).stdout for command in ANSWERS] == [result.stdout for result in before]
    log, of_token, _, of_citizen = (json.loads(result.stdout) for result in before)
    assert (log["total"], [access["nombre"] for access in log["acces"]]) == (18, [2, 1] * 6)
    assert (len(of_token), len(of_citizen)) == (20, 20)
    assert {record["kind"] for record in of_citizen} == {"dataset", "citizen"}
    assert all("mac" in record for record in of_citizen)


EXPORTS: list[tuple[tuple[str, ...], int]] = [
    (("--habilitation", "habilitation-2"), 5),
    (("--token", "jeton-1"), 20),
    ((), 30),
]


def test_an_export_is_the_same_once_archived_and_gone_from_the_table(
    history: History, run: Callable[..., Result], tmp_path: Path
) -> None:
    def export(folder: str, kind: str, chosen: tuple[str, ...], entries: int) -> bytes:
        output = tmp_path / folder / f"{''.join(chosen)}.{kind}"
        output.parent.mkdir(exist_ok=True)
        period = ("--from", "2026-10-10", "--to", "2026-11-13", "--format", kind)
        done = run("audit", "export", *period, *chosen, "--output", str(output))
        assert done.exit_code == 0, done.output
        assert verify_file.verify(output).entries == entries
        return b"".join(line for line in output.read_bytes().splitlines() if b"made_at" not in line)

    def exports(folder: str) -> list[bytes]:
        return [export(folder, kind, *chosen) for kind in ("json", "csv") for chosen in EXPORTS]

    before = exports("before")
    archive_all(history)
    assert exports("archived") == before
    empty_table(history)
    assert exports("gone") == before


def test_a_verification_gives_the_same_once_archived_and_gone_from_the_table(
    history: History, run: Callable[..., Result]
) -> None:
    for item in history.sealing.cloud.audit_records():  # what the table let go before it was archived is a finding
        if item["token_day"][-10:] < "2026-10-01":
            history.sealing.cloud.audit.delete_item(Key={name: item[name] for name in ("token_day", "id")})
    october = ("audit", "verify", "--from", "2026-10-01", "--no-wait", "--json")
    before = run(*october)
    assert (before.exit_code, json.loads(before.stdout)["entries"]) == (0, 30)
    archive_all(history)
    assert run(*october).stdout == before.stdout
    empty_table(history)
    assert run(*october).stdout == before.stdout
    whole = run("audit", "verify", "--no-wait", "--json")
    assert (whole.exit_code, json.loads(whole.stdout)["entries"]) == (0, 36)
    key = "access/2026-10/0.json.gz"
    history.replace(key, compress(lines_of(history.bucket.get(key))[1:]))
    failed = run("audit", "verify", "--no-wait", "--json")
    assert failed.exit_code == 1
    found = json.loads(failed.stdout)["findings"]
    assert {"place": key, "what": "its rows are not those of the archived days"} in found


def accesses(history: History) -> Accesses:
    table = Table(boto3.client("dynamodb"), "audit")
    kms = boto3.client("kms")
    marks = Marks(kms, environ["ENTRY_KEY_ID"], environ["OPERATOR_KEY_ID"])
    return Accesses(table, history.bucket, kms, [environ["PSEUDONYM_KEY_ID"]], marks)


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        (["access/2026-10/manifest.json"], "the table no longer has this month whole"),
        (["access/2026-10/manifest.json", "access/2026-09/manifest.json"], "it is missing, as the one before it"),
        (["access/2026-10/0.json.gz"], "it is missing"),
        (["access/2026-09/0.json.gz"], "it is missing"),
    ],
)
def test_a_month_that_neither_holds_is_an_error(history: History, lost: list[str], what: str) -> None:
    archive_all(history)
    for key in lost:
        history.replace(key, None)
    with pytest.raises(NotProven, match=what):
        access_log.access_log(accesses(history), CITIZEN, moment("2026-11-20T09:00:00"))


def test_a_day_that_neither_holds_is_an_error(history: History, run: Callable[..., Result]) -> None:
    archive_all(history)
    history.replace(archive.day_key(date(2026, 9, 29)), None)
    failed = run("audit", "search", "--token", "jeton-1", "--from", "2026-09-28")
    assert failed.exit_code == 1
    assert "archive/2026-09-29/manifest.json: it is missing" in failed.stderr
    assert run("audit", "search", "--token", "jeton-1", "--from", "2026-08-01", "--to", "2026-08-31").exit_code == 0


def test_the_first_page_of_36_months_reads_37_objects(sealing: Sealing, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(sealing)
    for number in range(36):
        month = f"{2023 + (10 + number) // 12}-{(10 + number) % 12 + 1:02}"
        record = history.record(noon(f"{month}-28"), CITIZEN)
        rows = [row for _, row in archive.rows_of(canonical_json(record))]
        until = datetime.now(UTC)
        archive.write_lines(history.bucket, archive.month_key(month, "0.json.gz"), rows, until)
        archive.write_month(history.bucket, month, 0, {"citizen": 1}, {"0": {}}, until)
    assert len(history.object("access/2026-10/manifest.json")["months"]) == 36
    read: list[str] = []
    find = Bucket.find

    def counted(self: Bucket, key: str) -> bytes | None:
        read.append(key)
        return find(self, key)

    monkeypatch.setattr(Bucket, "find", counted)
    found = access_log.access_log(accesses(history), CITIZEN, moment("2026-11-27T09:00:00"))
    assert (found["total"], len(read)) == (36, 37)


def test_the_use_of_keys_is_read_in_the_archive(history: History, run: Callable[..., Result]) -> None:
    for name in ("jeton-1", "jeton-3"):
        created = moment("2026-01-01T00:00:00").isoformat()
        expires = moment("2027-01-01T00:00:00").isoformat()
        history.sealing.cloud.issue_key("dgfip_nombre_parts", id=name, created=created, expires=expires)
    vars(history.sealing.deployment)["outputs"] |= {
        "UsagePlanId": "plan",
        "TokenKeyId": environ["TOKEN_KEY_ID"],
        "Environment": "test",
    }
    archive_all(history)
    answers = [
        ("keys", "unused-scopes", "jeton-1", "--days", "40", "--json"),
        ("keys", "list", "--unused-since", "30", "--json"),
        ("keys", "list", "--unused-since", "1", "--json"),
    ]
    results = [run(*command) for command in answers]
    assert [result.exit_code for result in results] == [0, 0, 0], results[0].output
    before = [result.stdout for result in results]
    empty_table(history)
    assert [run(*command).stdout for command in answers] == before
    scopes, idle, today = map(json.loads, before)
    assert (scopes["calls"], scopes["used"]) == (15, ["dgfip_nombre_parts"])
    assert [token["id"] for token in idle] == ["jeton-3"]
    assert {token["id"] for token in today} == {"jeton-3"}
