"""The layer's modules know each other in one direction, and nothing but one of them speaks HTTP."""

import ast
from pathlib import Path

import pytest

from tests.support.template import ROOT

LAYER = ROOT / "layers" / "common"
PACKAGE = LAYER / "api_particulier"
MODULES = sorted(PACKAGE.rglob("*.py"))
BANNED = {"utils", "util", "helpers", "helper", "misc", "core", "common", "base", "shared", "tools", "lib"}


def imported(path: Path) -> set[str]:
    """Return every module, and every name of one, that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_the_layer_is_its_package_and_its_pins() -> None:
    assert {path.name for path in LAYER.iterdir()} - {"__pycache__"} == {"api_particulier", "requirements.txt"}


def test_pins_are_hashed_and_name_no_registry() -> None:
    for path in [LAYER / "requirements.txt", *(ROOT / "requirements").glob("*.txt")]:
        lines = [line for line in path.read_text().splitlines() if line and not line.lstrip().startswith("#")]
        pins = [line for line in lines if not line.startswith(" ")]
        assert pins, path
        assert all("==" in pin and pin.endswith("\\") for pin in pins), path
        assert all(line.strip().startswith("--hash=sha256:") for line in lines if line not in pins), path
        assert "://" not in "".join(lines), path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_speaks_http(path: Path) -> None:
    http = packages(path) & {"requests", "urllib3", "httpx", "httptools", "aiohttp", "socket"} | imported(path) & {
        *("http.client", "urllib.request"),
    }
    assert not http or name_of(path) == "connections.py"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_makes_aws_clients(path: Path) -> None:
    assert "boto3" not in imported(path) or name_of(path) == "aws.py"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_logs_measures_and_traces(path: Path) -> None:
    watching = packages(path) & {"logging", "aws_lambda_powertools", "aws_xray_sdk", "warnings"}
    assert not watching or name_of(path) == "observability.py"
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id in {"print", "breakpoint"}]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_reads_the_environment(path: Path) -> None:
    reads = {name for name in imported(path) if name in {"os", "os.environ", "os.getenv"}}
    assert not reads or name_of(path) in {"settings.py", "observability.py"}  # the latter, whether Lambda traces


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_provider_does_not_know_who_asks(path: Path) -> None:
    above = {"calls", "dataset", "tokens", "audit", "responses"}
    if "upstreams" in path.parts:
        assert not {name for name in imported(path) for one in above if name.startswith(f"api_particulier.{one}")}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_xml_is_parsed_and_built_by_its_library(path: Path) -> None:
    parsers = {name for name in imported(path) if name.startswith(("xml.etree", "xml.sax", "xml.dom.minidom.parse"))}
    assert not parsers
    pasted = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.JoinedStr)
        for part in node.values
        if isinstance(part, ast.Constant) and "</" in str(part.value)
    ]
    assert not pasted


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_an_error_of_a_library_does_not_hang_on_ours(path: Path) -> None:
    """``raise Ours from error`` keeps the library's exception, and a URL with it; ``from None`` drops it."""
    kept = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and node.cause is not None and not _is_none(node.cause)
    ]
    assert kept == []
    for handler in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)):
        caught = ast.unparse(handler.type) if handler.type else ""
        if any(ours in caught for ours in ("ApiError", "Provider", "NotLocated")):
            continue
        bare = [
            one.lineno
            for one in ast.walk(handler)
            if isinstance(one, ast.Raise) and one.exc is not None and one.cause is None
        ]
        assert bare == [], f"{name_of(path)}: say `from None`"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


@pytest.mark.parametrize("folder", ["layers", "functions", "sandbox", "ops", "release", "tests"])
def test_no_module_is_named_after_nothing(folder: str) -> None:
    names = {path.stem for path in (ROOT / folder).rglob("*.py")} | {
        path.name for path in (ROOT / folder).rglob("*") if path.is_dir() and path != LAYER
    }
    assert not names & BANNED


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    if path.name != "__init__.py" or path.read_text():
        assert ast.get_docstring(ast.parse(path.read_text()))
