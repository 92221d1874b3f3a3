"""The settings that a function's code reads: what its handler leads to, definition by definition.

A definition is a function, a class or a variable at the top of a module. It leads to the definitions that it names, of
its own module and of those that it imports, and to the other statements of these.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from api_particulier.settings import Settings
from tests.support.template import ROOT

LAYER: Final = ROOT / "layers/common"
type Definition = tuple[Path, str]


def settings_read_by(path: Path) -> set[str]:
    """Return the names of the settings that the code which starts with a module reads."""
    seen: set[Definition] = set()
    waiting: list[Definition] = [(path, name) for name in _definitions(path)]
    while waiting:
        definition = waiting.pop()
        if definition not in seen:
            seen.add(definition)
            waiting += _leads_to(*definition)
    return {name for definition in seen for name in _settings_in(*definition)}


@lru_cache
def _definitions(path: Path) -> dict[str, list[ast.stmt]]:
    """Return the definitions of a module, by name; what is no definition is under an empty name."""
    found: dict[str, list[ast.stmt]] = {}
    for statement in ast.parse(path.read_text()).body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names = [statement.name]
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)]
        else:
            names = [""]
        for name in names:
            found.setdefault(name, []).append(statement)
    return found


@lru_cache
def _imports(path: Path) -> dict[str, Definition]:
    """Return what the names that a module imports from the layer stand for; a module is under an empty name."""
    found: dict[str, Definition] = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if module := _file(f"{node.module}.{alias.name}"):
                    found[alias.asname or alias.name] = (module, "")
                elif module := _file(node.module):
                    found[alias.asname or alias.name] = (module, alias.name)
    return found


def _file(module: str) -> Path | None:
    file = LAYER.joinpath(*module.split(".")).with_suffix(".py")
    return file if file.exists() else None


def _leads_to(path: Path, name: str) -> Iterator[Definition]:
    imports = _imports(path)
    nodes = [node for statement in _definitions(path).get(name, []) for node in ast.walk(statement)]
    attributes = {id(node.value): node.attr for node in nodes if isinstance(node, ast.Attribute)}
    for node in (node for node in nodes if isinstance(node, ast.Name)):
        if node.id in imports:
            module, inner = imports[node.id]
            yield module, ""
            if inner or id(node) in attributes:
                yield module, inner or attributes[id(node)]
            else:  # a module that is a value: anything of it may be read
                yield from ((module, each) for each in _definitions(module))
        elif node.id in _definitions(path):
            yield path, node.id


def _settings_in(path: Path, name: str) -> set[str]:
    """Return the attributes that a definition reads and that are settings, where its module imports ``settings``."""
    if not any(module.name == "settings.py" for module, _ in _imports(path).values()):
        return set()
    nodes = (node for statement in _definitions(path).get(name, []) for node in ast.walk(statement))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} & Settings.model_fields.keys()
