"""The bench: what it reads of the emulator's log, what it compares and shows, and the upstreams that it serves."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from botocore.config import Config
from click.testing import CliRunner

from bench import page, upstreams
from bench.__main__ import compare, main, table
from bench.runtime import cpu_clock, read_log
from release.build import ROOT, ToolError

LOG = """25 Nov 2026 17:45:05,277 [INFO] (rapid) INIT REPORT(durationMs: 131.287000)
{"event":"answered"}
25 Nov 2026 17:45:05,278 [INFO] (rapid) INVOKE RTDONE(status: success, produced bytes: 0, duration: 1.241000ms)
25 Nov 2026 17:45:05,280 [INFO] (rapid) INVOKE RTDONE(status: success, produced bytes: 0, duration: 0.538000ms)
"""


def test_the_emulators_log_gives_the_duration_of_the_start_and_of_each_call() -> None:
    assert read_log(LOG) == (131.287, [1.241, 0.538])


def test_the_clock_of_a_process_counts_its_threads_and_not_its_sleep() -> None:
    work = "import sys, threading\nt = threading.Thread(target=lambda: sum(range(3_000_000))); t.start(); t.join()\n"
    command = [sys.executable, "-c", f"{work}print(flush=True)\nsys.stdin.readline()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        clock = cpu_clock(process.pid)
        used = time.clock_gettime(clock)
        assert used > 0.01
        assert time.clock_gettime(clock) - used < 0.01
        process.communicate(b"\n")


def test_a_process_that_ended_has_no_clock() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        with pytest.raises(OSError, match=r"\[Errno"):
            cpu_clock(process.pid)


def test_a_function_that_did_not_start_is_an_error() -> None:
    with pytest.raises(ToolError, match="did not start"):
        read_log("ModuleNotFoundError: No module named 'app'")


def test_a_dataset_is_compared_with_the_libraries_and_every_start_with_the_bare_handler() -> None:
    rows = {
        "floor": {"cpu_ms": 0.25, "start_ms": 100.0},
        "passthrough": {"cpu_ms": 0.75, "start_ms": 150.0},
        "libraries": {"cpu_ms": 1.5, "start_ms": 300.0},
        "avis_imposition": {"cpu_ms": 2.25, "start_ms": 400.0},
    }
    compare(rows)
    assert {name: row.get("beyond_libraries_ms") for name, row in rows.items()} == {
        "floor": None,
        "passthrough": None,
        "libraries": None,
        "avis_imposition": 0.75,
    }
    assert [row["imports_ms"] for row in rows.values()] == [0, 50, 200, 300]


def test_instructions_are_compared_with_nothing() -> None:
    rows = {name: {"instructions_m": 3.0} for name in ("floor", "passthrough", "libraries", "avis_imposition")}
    compare(rows)
    assert all(row == {"instructions_m": 3.0} for row in rows.values())


def test_the_table_has_a_line_for_each_handler_and_the_columns_of_the_mode() -> None:
    rows = {
        "floor": {"cpu_ms": 0.2, "p50_ms": 0.4},
        "libraries": {"cpu_ms": 1.25, "p50_ms": 1.5},
        "avis_imposition": {"cpu_ms": 1.75, "beyond_libraries_ms": 0.5, "p50_ms": 2.25},
    }
    assert [line.split() for line in table(rows).splitlines()] == [
        ["CPU", "ms", "over", "libs", "p50", "ms"],
        ["floor", "0.20", "0.40"],
        ["libraries", "1.25", "1.50"],
        ["avis_imposition", "1.75", "0.50", "2.25"],
    ]


def test_only_a_whole_run_in_lambdas_runtime_can_be_saved() -> None:
    for options in (["--only", "declarants"], ["--mode", "process"]):
        refused = CliRunner().invoke(main, ["--save", *options])
        assert (refused.exit_code, "--save keeps a whole run" in refused.output) == (2, True)


def test_the_page_shows_the_cpu_beyond_the_bare_handlers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "bench").mkdir()
    saved = json.loads((ROOT / "bench/measured.json").read_text())
    saved["floor"]["cpu_ms"], saved["datasets"]["avis_imposition"]["cpu_ms"] = 0.25, 1.75
    saved["libraries"] = saved["passthrough"] | {"cpu_ms": 1.25}
    (tmp_path / "bench/measured.json").write_text(json.dumps(saved))
    monkeypatch.setattr(page, "ROOT", tmp_path)
    rows = [line.split(" | ") for line in page.table().splitlines()]
    (dataset,) = (row for row in rows if row[0] == "| `avis_imposition`")
    assert dataset[1:3] == ["1.75", "1.50"]
    (libraries,) = (row for row in rows if row[0].startswith("| `requests` and `boto3` alone"))
    assert libraries[1:3] == ["1.25", "1.00"]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with upstreams.serve(tmp_path_factory.mktemp("bench"), seed=1) as (plain, _):
        yield f"http://127.0.0.1:{plain}"


def aws(service: Any, address: str) -> Any:
    config = Config(parameter_validation=False, retries={"mode": "standard", "total_max_attempts": 1})
    return boto3.Session("bench", "bench", region_name="eu-west-3").client(service, endpoint_url=address, config=config)


def test_boto3_finds_the_token_and_no_other_item_upstream(address: str) -> None:
    dynamodb = aws("dynamodb", address)
    assert dynamodb.get_item(TableName="tokens", Key={"key_hash": {"S": "a"}})["Item"]["id"] == {"S": "bench"}
    assert "Item" not in dynamodb.get_item(TableName="stats", Key={"pk": {"S": "a"}, "sk": {"S": "b"}})


def test_boto3_writes_items_upstream(address: str) -> None:
    dynamodb = aws("dynamodb", address)
    for response in (
        dynamodb.put_item(TableName="audit", Item={"id": {"S": "a"}}),
        dynamodb.update_item(TableName="stats", Key={"pk": {"S": "a"}}, UpdateExpression="ADD calls :n"),
    ):
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_boto3_has_macs_and_secrets_of_upstreams(address: str) -> None:
    mac = aws("kms", address).generate_mac(KeyId="bench", MacAlgorithm="HMAC_SHA_256", Message=b"a")["Mac"]
    assert len(mac) == 32
    secret = aws("secretsmanager", address).get_secret_value(SecretId="bench")["SecretString"]
    assert json.loads(secret).keys() == {
        *("certificate", "key", "authority"),  # of the CAF
        *("client_id", "client_secret", "scope"),  # of API-SECU
    }


def test_an_operation_that_no_dataset_needs_is_refused(address: str) -> None:
    dynamodb = aws("dynamodb", address)
    with pytest.raises(dynamodb.exceptions.ClientError, match="UnknownOperationException"):
        dynamodb.delete_item(TableName="tokens", Key={"key_hash": {"S": "a"}})


def test_providers_respond_with_a_notice_and_a_place(address: str) -> None:
    with requests.Session() as session:
        notice = session.post(f"{address}/secavis/faces/commun/index.jsf", data={"spi": "1"}, timeout=5)
        assert "Revenu fiscal de référence" in notice.text
        assert session.get(f"{address}/search/?q=a", timeout=5).json()["type"] == "FeatureCollection"
