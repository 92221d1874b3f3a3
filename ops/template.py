"""``template.yaml``, for the code that needs what it declares."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent


class _Loader(yaml.CSafeLoader):
    """Read CloudFormation's short tags as their long form: ``!Ref X`` is ``{"Ref": "X"}``."""


def _tag(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    name = suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}"
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        return {name: value.split(".", 1) if suffix == "GetAtt" else value}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)  # noqa: S101 - YAML has no other kind of node
    return {name: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _tag)


@lru_cache(maxsize=1)
def template() -> dict[str, Any]:
    """Return the whole template."""
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)  # noqa: S506 - a safe loader
    return loaded


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Return the properties of each resource of a type such as ``AWS::KMS::Key``, by logical name."""
    declared = template()["Resources"].items()
    return {name: resource.get("Properties", {}) for name, resource in declared if resource["Type"] == kind}


def described_routes(function: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the routes of a function's properties as callers know them: ``any`` is GET, and HEAD is GET's."""
    events = [event["Properties"] for event in function.get("Events", {}).values() if event["Type"] == "Api"]
    routes = [event | {"Method": "get" if event["Method"] == "any" else event["Method"]} for event in events]
    return [route for route in routes if route["Method"] != "head"]
