"""Changes of the public contract that would break callers of the last release.

``python -m release.openapi.compatibility`` compares ``docs/openapi.yaml`` with the contract of the last git tag.
``jsoncompat`` compares two JSON schemas; this module finds the schemas in the document, and knows which side reads
each. A change that is not proven compatible is a break (docs/decisions/0023-breaking-changes.md).
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import jsoncompat
import yaml
from jsoncompat import RoleLiteral

from ops.template import ROOT

CONTRACT: Final = "docs/openapi.yaml"
_REQUEST: Final = "deserializer"
"""The new API must accept the requests that callers send today."""
_RESPONSE: Final = "serializer"
"""Callers of today must be able to read the new responses."""

_SCHEMAS: Final = "#/components/schemas/"

type Document = Mapping[str, Any]


def last_release() -> str | None:
    """Return the last git tag before this commit, the version of a release; None before the first release."""
    return _git("describe", "--tags", "--abbrev=0")


def contract_of(release: str) -> Document:
    """Return the contract at a tag; without paths when the tag has no contract."""
    return read(_git("show", f"{release}:{CONTRACT}") or "paths: {}")


def read(text: str) -> Document:
    """Read a contract from its YAML."""
    loaded: Document = yaml.load(text, yaml.CSafeLoader)
    return loaded


def _git(*arguments: str) -> str | None:
    """Return the output of git; None when it fails or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607 - fixed arguments, git of the PATH
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()


def breaks(old: Document, new: Document) -> list[str]:
    """Return a sentence for each change from ``old`` to ``new`` that would break a caller."""
    return list(_breaks(old, new))


def _breaks(old: Document, new: Document) -> Iterator[str]:
    for path, item in old["paths"].items():
        for method, was in item.items():
            now = new["paths"].get(path, {}).get(method)
            where = f"{method.upper()} {path}"
            if now is None:
                yield f"{where} is gone"
                continue
            for why in _in_operation(was, now, old, new):
                yield f"{where}: {why}"


def _in_operation(was: Document, now: Document, old: Document, new: Document) -> Iterator[str]:
    if now.get("security", []) != was.get("security", []):
        yield "what it takes to be let in has changed"
    yield from _in_parameters(was, now, old, new)
    yield from _in_body(was, now, old, new)
    for status, response in was["responses"].items():
        response_now = now["responses"].get(status)
        if response_now is None:
            if status.startswith("2"):
                yield f"{status} is no longer answered"
            continue
        yield from (
            f"{status}: {why}" for why in _in_response(_resolved(response, old), _resolved(response_now, new), old, new)
        )
    for status in now["responses"].keys() - was["responses"].keys():
        if status.startswith("2"):
            yield f"{status} is new: callers do not expect it"


def _in_parameters(was: Document, now: Document, old: Document, new: Document) -> Iterator[str]:
    before, after = _parameters(was), _parameters(now)
    for key, parameter in before.items():
        name = parameter["name"]
        if key not in after:
            yield f"parameter {name} is gone"
        elif after[key]["required"] and not parameter["required"]:
            yield f"parameter {name} can no longer be left out"
        else:
            reasons = _incompatible(parameter["schema"], after[key]["schema"], old, new, _REQUEST)
            yield from (f"parameter {name}: {reason}" for reason in reasons)
    for key in after.keys() - before:
        if after[key]["required"]:
            yield f"parameter {after[key]['name']} is new, and required"


def _parameters(operation: Document) -> dict[tuple[str, str], Document]:
    return {(parameter["in"], parameter["name"]): parameter for parameter in operation.get("parameters", ())}


def _in_body(was: Document, now: Document, old: Document, new: Document) -> Iterator[str]:
    before, after = was.get("requestBody"), now.get("requestBody")
    if after is None:
        return
    if before is None:
        yield "it now takes a body"
        return
    yield from (f"body: {why}" for why in _in_content(before, after, old, new, _REQUEST))


def _in_response(was: Document, now: Document, old: Document, new: Document) -> Iterator[str]:
    yield from _in_content(was, now, old, new, _RESPONSE)
    for name in was.get("headers", {}).keys() - now.get("headers", {}).keys():
        yield f"header {name} is gone"


def _in_content(was: Document, now: Document, old: Document, new: Document, role: RoleLiteral) -> Iterator[str]:
    for media_type, before in was["content"].items():
        after = now["content"].get(media_type)
        if after is None:
            yield f"{media_type} is gone"
        else:
            reasons = _incompatible(before["schema"], after["schema"], old, new, role)
            yield from (f"{media_type}: {reason}" for reason in reasons)


def _incompatible(was: Document, now: Document, old: Document, new: Document, role: RoleLiteral) -> Iterator[str]:
    before, after = json.dumps(_whole(was, old)), json.dumps(_whole(now, new))
    if before == after:
        return
    verdict = jsoncompat.analyze_compat(before, after, role)
    if verdict["status"] == "incompatible":
        yield f"for example {verdict['counterexample_json']}"
    elif verdict["status"] == "unknown":
        yield verdict["reason"]


def _resolved(node: Document, document: Document) -> Document:
    reference = node.get("$ref")
    if reference is None:
        return node
    found: Any = document
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found  # type: ignore[no-any-return]  # a reference leads to an object


def _whole(schema: Document, document: Document) -> Document:
    """Return a schema that contains the definitions it refers to."""
    definitions: dict[str, Any] = {}
    waiting = _references(schema)
    while waiting:
        name = waiting.pop()
        definitions[name] = document["components"]["schemas"][name]
        waiting |= _references(definitions[name]) - definitions.keys()
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": definitions}
    moved: Document = json.loads(json.dumps(whole, sort_keys=True).replace(_SCHEMAS, "#/$defs/"))
    return moved


def _references(schema: Document) -> set[str]:
    return set(re.findall(rf'"{_SCHEMAS}([^"]+)"', json.dumps(schema)))


def main() -> None:
    release = last_release()
    if release is None:
        return
    found = breaks(contract_of(release), read((ROOT / CONTRACT).read_text()))
    if found:
        sys.exit(f"callers of {release} would break:\n" + "\n".join(f"- {reason}" for reason in found))


if __name__ == "__main__":
    main()
