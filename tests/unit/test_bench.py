"""What the bench reads of the emulator's log, and what it shows."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import page
from bench.__main__ import main, table
from bench.runtime import told
from release.build import ROOT, ToolError

LOG = """25 Nov 2026 17:45:05,277 [INFO] (rapid) INIT REPORT(durationMs: 131.287000)
{"event":"answered"}
25 Nov 2026 17:45:05,278 [INFO] (rapid) INVOKE RTDONE(status: success, produced bytes: 0, duration: 1.241000ms)
25 Nov 2026 17:45:05,280 [INFO] (rapid) INVOKE RTDONE(status: success, produced bytes: 0, duration: 0.538000ms)
"""


def test_the_emulator_tells_how_long_the_start_and_each_call_took() -> None:
    assert told(LOG) == (131.287, [1.241, 0.538])


def test_a_function_that_did_not_start_is_no_measure() -> None:
    with pytest.raises(ToolError, match="did not start"):
        told("ModuleNotFoundError: No module named 'app'")


def test_a_table_has_a_line_a_handler_and_the_figures_of_its_mode() -> None:
    rows = {"floor": {"cpu_ms": 0.2, "p50_ms": 0.4}, "avis_imposition": {"cpu_ms": 1.75, "p50_ms": 2.25}}
    assert [line.split() for line in table(rows).splitlines()] == [
        ["CPU", "ms", "p50", "ms"],
        ["floor", "0.20", "0.40"],
        ["avis_imposition", "1.75", "2.25"],
    ]


def test_only_a_whole_run_in_lambdas_runtime_is_kept() -> None:
    for asked in (["--only", "declarants"], ["--mode", "process"]):
        refused = CliRunner().invoke(main, ["--save", *asked])
        assert (refused.exit_code, "--save keeps a whole run" in refused.output) == (2, True)


def test_the_page_says_what_is_beyond_the_bare_handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    saved = json.loads((ROOT / "bench/measured.json").read_text())
    saved["floor"]["cpu_ms"], saved["datasets"]["avis_imposition"]["cpu_ms"] = 0.25, 1.75
    (tmp_path / "bench/measured.json").write_text(json.dumps(saved))
    monkeypatch.setattr(page, "ROOT", tmp_path)
    (row,) = (line for line in page.table().splitlines() if line.startswith("| `avis_imposition` |"))
    assert row.split(" | ")[1:3] == ["1.75", "1.50"]
