"""Command lines that are wrong are refused before anything else: exit code 2, and no deployment is read."""

import json
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from ops.cli.main import main
from ops.cli.options import Moment, print_table, print_text, shown
from ops.deployment import Deployment

TOWN = ("keys", "issue", "--organisation", "VILLE EXEMPLE", "--siret", "21000015400018")
PERIOD = ("--from", "2026-11-01", "--to", "2026-11-02")


@pytest.fixture(autouse=True)
def _no_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test whose command line reaches a deployment."""

    def reach(*_: object) -> Deployment:
        raise AssertionError

    monkeypatch.setattr(Deployment, "on_aws", reach)
    monkeypatch.setattr(Deployment, "on_local_stack", reach)


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.mark.parametrize(
    ("scope", "nearest"),
    [
        ("dgfip_nombre_part", "dgfip_nombre_parts"),
        ("cnaf_quotient_famillial", "cnaf_quotient_familial"),
        ("dgfip_avis_impot", "dgfip_avis_imposition"),
    ],
)
def test_a_misspelt_scope_is_refused_with_the_nearest_name(scope: str, nearest: str) -> None:
    done = command(*TOWN, "--scopes", f"dgfip_annee_impot,{scope}")
    assert done.exit_code == 2
    assert f"no field has the scope {scope}; did you mean {nearest}?" in done.stderr


def test_a_scope_like_no_other_is_refused_without_a_name() -> None:
    done = command(*TOWN, "--scopes", "zzz")
    assert (done.exit_code, "did you mean" in done.stderr) == (2, False)


@pytest.mark.parametrize("end", ["2020-01-01", "2026-01-01T00:00Z"])
def test_a_key_is_not_issued_already_expired(end: str) -> None:
    done = command(*TOWN, "--scopes", "dgfip_nombre_parts", "--expires", end)
    assert done.exit_code == 2
    assert "is in the past" in done.stderr


def test_an_export_to_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    done = command("audit", "export", *PERIOD, "--output", str(tmp_path / "nowhere/audit.json"))
    assert (done.exit_code, "is no folder" in done.stderr) == (2, True)


@pytest.mark.parametrize("existing", ["audit.json", "audit.json.sig", "audit.json.json"])
def test_an_export_does_not_overwrite_a_file(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("kept")
    done = command("audit", "export", *PERIOD, "--output", str(tmp_path / "audit.json"))
    assert (done.exit_code, "exists already" in done.stderr) == (2, True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("verb", [("export", "--output", "audit.json"), ("search", "--token", "t"), ("verify",)])
def test_a_period_that_ends_before_it_begins_is_refused(verb: tuple[str, ...]) -> None:
    for period in (("--from", "2026-11-02", "--to", "2026-11-01"), ("--to", "2026-11-01", "--from", "2026-11-02")):
        done = command("audit", *verb, *period)
        assert (done.exit_code, "before it begins" in done.stderr) == (2, True)


def test_an_error_is_json_where_json_is_asked_for() -> None:
    done = command(*TOWN, "--scopes", "dgfip_nombre_part", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "did you mean dgfip_nombre_parts?" in json.loads(done.stderr)["error"]
    assert command("cost", "--calls", "1000", "--json").exit_code == 0


def test_an_instant_is_shown_in_paris_and_taken_back() -> None:
    instant = datetime(2026, 7, 1, 10, tzinfo=UTC)
    assert shown(instant) == shown(instant.isoformat()) == "2026-07-01T12:00:00+02:00"
    assert Moment().convert(shown(instant), None, None) == instant


def test_nothing_is_shown_as_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    print_text({"purpose": None, "allowed": [], "siret": "", "active": False, "a_long_name_of_a_field": "x"})
    printed = capsys.readouterr().out
    assert "None" not in printed
    assert [line.split(":")[1].strip() for line in printed.splitlines()] == ["-", "-", "-", "no", "x"]


def test_a_table_names_its_columns_and_an_empty_one_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"id": "1", "scopes": ["a", "b"]}, {"id": "22", "scopes": []}], ("id", "scopes"), "None.")
    assert capsys.readouterr().out == "ID  SCOPES\n1   a, b\n22  -\n"
    print_table([], ("id",), "There is no such key.")
    assert capsys.readouterr().out == "There is no such key.\n"


def test_the_region_is_the_one_that_the_tools_of_aws_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.delenv("AWS_DEFAULT_REGION", raising=False)
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert Deployment.on_aws("api-particulier", None).session.region_name == "eu-west-3"
    assert Deployment.on_aws("api-particulier", "eu-west-1").session.region_name == "eu-west-1"


def test_help_says_nothing_of_the_contract() -> None:
    assert isinstance(main, click.Group)
    assert all("§" not in command(name, "--help").output for name in main.commands)
