"""The layer's rooms depend on each other in one order, and each library is used in one place."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.template import ROOT

LAYER = ROOT / "layers" / "common"
PACKAGE = LAYER / "api_particulier"
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = [{""}, {"keys"}, {"audit"}, {"api"}, {"providers"}, {"habilitations", "public"}]
"""Folders of the package, the lowest first; the modules directly in the package are the ground."""
ABOVE = {
    "layers": {"functions", "ops", "release", "bench", "sandbox", "tests"},
    "functions": {"ops", "release", "bench", "sandbox", "tests"},
    "ops": {"release", "bench", "sandbox", "tests"},
    "sandbox": {"bench", "tests"},
    "release": {"tests"},
    "bench": {"tests"},
}
"""For each top-level folder, those that it must work without."""
BANNED = {"utils", "util", "helpers", "helper", "misc", "core", "common", "base", "shared", "tools", "lib"}
HTTP_LIBRARIES = {"requests", "urllib3", "httpx", "httptools", "aiohttp", "socket", "http.client", "urllib.request"}


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@cache
def imports(path: Path) -> frozenset[str]:
    """Return every module that a file imports, and every name that it imports from one."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(names)


def uses(path: Path, libraries: set[str]) -> set[str]:
    """Return the imports of a file that are of one of these libraries, or of a name in one."""
    return {name for name in imports(path) for library in libraries if f"{name}.".startswith(f"{library}.")}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(LAYER).with_suffix("").parts)


def room_of(module: str) -> str:
    _, *room, _ = module.split(".")
    return ".".join(room)


IMPORTABLE = [path for path in MODULES if path.name != "__init__.py"]
GRAPH = {
    module_of(path): {module_of(other) for other in IMPORTABLE if other != path and uses(path, {module_of(other)})}
    for path in IMPORTABLE
}
"""The modules of the layer that each imports."""


def floor_of(module: str) -> int:
    (floor,) = (number for number, rooms in enumerate(FLOORS) if room_of(module) in rooms)
    return floor


# ── The order of modules ──────────────────────────────────────────────────────────────────────────────────────────────


def test_every_room_has_its_floor() -> None:
    assert {room_of(module) for module in GRAPH} == set().union(*FLOORS)


@pytest.mark.parametrize("module", sorted(GRAPH))
def test_a_module_imports_only_from_its_room_and_lower_floors(module: str) -> None:
    others = {other for other in GRAPH[module] if room_of(other) != room_of(module)}
    assert {other for other in others if floor_of(other) >= floor_of(module)} == set()


def test_no_modules_import_each_other_in_a_cycle() -> None:
    TopologicalSorter(GRAPH).prepare()  # raises CycleError


def test_the_package_has_at_most_nine_modules_outside_its_rooms() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 9


@pytest.mark.parametrize("module", [module for module in sorted(GRAPH) if room_of(module) == "providers"])
def test_a_provider_knows_the_parameters_and_the_deadline_of_a_request_and_not_its_caller(module: str) -> None:
    caller = {"keys", "audit", "api", "habilitations", "public"}
    allowed = {f"api_particulier.api.{name}" for name in ("asker", "parameters", "identity", "deadline")}
    assert {other for other in GRAPH[module] if room_of(other) in caller} <= allowed


@pytest.mark.parametrize("folder", ABOVE)
def test_a_folder_works_without_those_above_it(folder: str) -> None:
    found = {str(path.relative_to(ROOT)): uses(path, ABOVE[folder]) for path in (ROOT / folder).rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


# ── One place for each library ────────────────────────────────────────────────────────────────────────────────────────


def test_the_layer_holds_its_package_and_its_pinned_requirements() -> None:
    assert {path.name for path in LAYER.iterdir()} - {"__pycache__"} == {"api_particulier", "requirements.txt"}


def test_requirements_are_pinned_by_hash_and_name_no_registry() -> None:
    for path in [LAYER / "requirements.txt", *(ROOT / "requirements").glob("*.txt")]:
        lines = [line for line in path.read_text().splitlines() if line and not line.lstrip().startswith("#")]
        pins = [line for line in lines if not line.startswith(" ")]
        assert pins, path
        assert all("==" in pin and pin.endswith("\\") for pin in pins), path
        assert all(line.strip().startswith("--hash=sha256:") for line in lines if line not in pins), path
        assert "://" not in "".join(lines), path


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_http_module_of_the_providers_opens_connections(path: Path) -> None:
    assert not uses(path, HTTP_LIBRARIES) or name_of(path) == "providers/http.py"


def test_the_providers_are_called_with_requests_alone() -> None:
    path = PACKAGE / "providers/http.py"
    assert uses(path, {"requests"})
    clients = {"httpx", "httptools", "aiohttp", "urllib.request"}
    assert not uses(path, {*clients, "http.client.HTTPConnection", "http.client.HTTPSConnection"})


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_makes_aws_clients(path: Path) -> None:
    clients = {name for name in uses(path, {"boto3"}) if not name.startswith("boto3.dynamodb.types")}
    assert not clients or name_of(path) == "aws.py"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_one_module_logs_measures_and_traces(path: Path) -> None:
    used = uses(path, {"logging", "aws_lambda_powertools", "aws_xray_sdk", "warnings"})
    used -= uses(path, {"aws_lambda_powertools.utilities"})  # parameters, batches of events
    assert not used or name_of(path) == "observability.py"
    calls = [node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    assert not [call for call in calls if isinstance(call, ast.Name) and call.id in {"print", "breakpoint"}]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_only_the_settings_read_the_variables_of_the_template(path: Path) -> None:
    reads = imports(path) & {"os", "os.environ", "os.getenv"}
    platform = {"observability.py", "aws.py"}  # is this Lambda, and does it trace this call?
    assert not reads or name_of(path) in {"settings.py", *platform}


@pytest.mark.parametrize("path", [*MODULES, *(ROOT / "functions").rglob("*.py")], ids=lambda path: path.parent.name)
def test_a_cache_is_a_module_s_own_attribute(path: Path) -> None:
    """The tests start each time from empty caches, which they find among the attributes of modules."""
    tree = tree_of(path)
    values: list[ast.expr] = [node.value for node in tree.body if isinstance(node, ast.Assign)]
    for node in tree.body:
        values += node.decorator_list if isinstance(node, ast.FunctionDef) else []
    names = {"lru_cache", "cache"} & {name.rpartition(".")[2] for name in imports(path)}
    made = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in names]
    found = [node for value in values for node in ast.walk(value) if isinstance(node, ast.Name) and node.id in names]
    assert len(made) == len(found)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Global)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_xml_is_parsed_and_written_by_a_library(path: Path) -> None:
    assert not uses(path, {"xml.etree", "xml.sax", "xml.dom.minidom.parse", "xml.dom.minidom.parseString"})
    texts = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.JoinedStr)]
    parts = [part for text in texts for part in text.values if isinstance(part, ast.Constant)]
    assert not [part.lineno for part in parts if "</" in str(part.value)]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_an_error_raised_for_a_library_s_error_drops_its_cause(path: Path) -> None:
    """``raise … from error`` keeps the library's exception, which may hold a URL; ``from None`` drops it."""
    nodes = [*ast.walk(tree_of(path))]
    raises = [node for node in nodes if isinstance(node, ast.Raise)]
    assert [node.lineno for node in raises if node.cause is not None and not _is_none(node.cause)] == []
    for handler in (node for node in nodes if isinstance(node, ast.ExceptHandler)):
        caught = ast.unparse(handler.type) if handler.type else ""
        if any(name in caught for name in ("ApiError", "Provider", "NotLocated")):
            continue
        raised = [node for node in ast.walk(handler) if isinstance(node, ast.Raise) and node.exc is not None]
        assert [node.lineno for node in raised if node.cause is None] == [], "write `from None`"


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# ── Names and docstrings ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("folder", ["layers", "functions", "sandbox", "ops", "release", "bench", "tests"])
def test_a_module_s_name_is_its_subject(folder: str) -> None:
    names = {path.stem for path in (ROOT / folder).rglob("*.py")} | {
        path.name for path in (ROOT / folder).rglob("*") if path.is_dir() and path != LAYER
    }
    assert not names & BANNED


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_every_module_has_a_docstring(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)) or not path.read_text()
