"""What would break who calls today: the public contract, against that of the last release.

``python -m release.openapi.compatibility`` compares ``docs/openapi.yaml`` with that of the last git tag, if there is one.
``jsoncompat`` tells whether one schema accepts all that another does; where schemas are, and which way each is read, is
OpenAPI's and told here. What is not proven compatible is refused (docs/decisions/0023-breaking-changes.md).
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

from ops.functions import ROOT

CONTRACT: Final = "docs/openapi.yaml"
_SENT: Final = "deserializer"
"""What callers send today must still be read."""
_ANSWERED: Final = "serializer"
"""What is answered from now on must be what callers read today."""

_SCHEMAS: Final = "#/components/schemas/"

type Document = Mapping[str, Any]


def last_release() -> str | None:
    """Return the last git tag before this commit, a release's version; none before the first release."""
    return _git("describe", "--tags", "--abbrev=0")


def contract_of(release: str) -> Document:
    """Return the contract as it was at a tag; without a path where there was none."""
    return read(_git("show", f"{release}:{CONTRACT}") or "paths: {}")


def read(text: str) -> Document:
    loaded: Document = yaml.load(text, yaml.CSafeLoader)
    return loaded


def _git(*arguments: str) -> str | None:
    """Return what git prints; none where it fails, or is not installed."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603, S607 - arguments of ours, to the git of the PATH
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()


def breaks(old: Document, new: Document) -> list[str]:
    """Return what of ``new`` would break a caller that ``old`` was promised to, in words."""
    return list(_breaks(old, new))


def _breaks(old: Document, new: Document) -> Iterator[str]:
    for path, item in old["paths"].items():
        for method, was in item.items():
            is_now = new["paths"].get(path, {}).get(method)
            where = f"{method.upper()} {path}"
            if is_now is None:
                yield f"{where} is gone"
                continue
            for why in _of_operation(was, is_now, old, new):
                yield f"{where}: {why}"


def _of_operation(was: Document, is_now: Document, old: Document, new: Document) -> Iterator[str]:
    if is_now.get("security", []) != was.get("security", []):
        yield "what it takes to be let in has changed"
    yield from _of_parameters(was, is_now, old, new)
    yield from _of_body(was, is_now, old, new)
    for status, response in was["responses"].items():
        answers = is_now["responses"].get(status)
        if answers is None:
            if status.startswith("2"):
                yield f"{status} is no longer answered"
            continue
        yield from (
            f"{status}: {why}" for why in _of_answer(_resolved(response, old), _resolved(answers, new), old, new)
        )
    for status in is_now["responses"].keys() - was["responses"].keys():
        if status.startswith("2"):
            yield f"{status} is new: callers do not expect it"


def _of_parameters(was: Document, is_now: Document, old: Document, new: Document) -> Iterator[str]:
    before, now = (
        {(one["in"], one["name"]): one for one in operation.get("parameters", ())} for operation in (was, is_now)
    )
    for key, parameter in before.items():
        if key not in now:
            yield f"parameter {parameter['name']} is gone"
        elif now[key]["required"] and not parameter["required"]:
            yield f"parameter {parameter['name']} can no longer be left out"
        else:
            why = _incompatible(parameter["schema"], now[key]["schema"], old, new, _SENT)
            yield from (f"parameter {parameter['name']}: {one}" for one in why)
    yield from (
        f"parameter {now[key]['name']} is new, and required" for key in now.keys() - before if now[key]["required"]
    )


def _of_body(was: Document, is_now: Document, old: Document, new: Document) -> Iterator[str]:
    before, now = was.get("requestBody"), is_now.get("requestBody")
    if now is None:
        return
    if before is None:
        yield "it now takes a body"
        return
    yield from (f"body: {why}" for why in _of_content(before, now, old, new, _SENT))


def _of_answer(was: Document, is_now: Document, old: Document, new: Document) -> Iterator[str]:
    yield from _of_content(was, is_now, old, new, _ANSWERED)
    for name in was.get("headers", {}).keys() - is_now.get("headers", {}).keys():
        yield f"header {name} is gone"


def _of_content(was: Document, is_now: Document, old: Document, new: Document, role: RoleLiteral) -> Iterator[str]:
    for media_type, before in was["content"].items():
        now = is_now["content"].get(media_type)
        if now is None:
            yield f"{media_type} is gone"
        else:
            why = _incompatible(before["schema"], now["schema"], old, new, role)
            yield from (f"{media_type}: {one}" for one in why)


def _incompatible(was: Document, is_now: Document, old: Document, new: Document, role: RoleLiteral) -> Iterator[str]:
    before, now = (json.dumps(_whole(schema, document)) for schema, document in ((was, old), (is_now, new)))
    if before == now:
        return
    verdict = jsoncompat.analyze_compat(before, now, role)
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
    return found  # type: ignore[no-any-return]  # what a document refers to is an object


def _whole(schema: Document, document: Document) -> Document:
    """Return a schema with all that it refers to, in itself."""
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
