"""Prose names its subjects, as ``docs/style.md`` asks: few words that stand for them, and no variable named so."""

import ast
import io
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

from tests.architecture.test_repository import files
from tests.support.template import ROOT

VAGUE = re.compile(
    r"\b(who|whom|whose|whoever|whatever|nobody|somebody|anybody|everybody|told|tells?|said|says?|ours|meanwhile|hence"
    r"|thus)\b",
    re.IGNORECASE,
)
LIMIT = 3
"""Vague words for every 1,000 words of comments, docstrings and pages."""
VAGUE_NAMES = {"one", "told", "said"}
GENERATED = re.compile(r"openapi|/guides/|^(website|events|requirements)/")
NOT_PROSE = re.compile(r"```.*?```|`[^`\n]*`|<[^>]*>|\]\([^)]*\)", re.DOTALL)


def prose_of(name: str) -> str:
    """Return the comments and docstrings of a Python file, the comments of another, or the text of a page."""
    text = (ROOT / name).read_text()
    if name.endswith(".md"):
        return NOT_PROSE.sub(" ", text)
    if not name.endswith(".py"):
        return " ".join(line.partition("#")[2] for line in text.splitlines())
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT and "noqa" not in token.string]
    strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    docstrings = [str(node.value) for node in strings if isinstance(node, ast.Constant)]
    return NOT_PROSE.sub(" ", " ".join(comments + docstrings))


def folders() -> dict[str, list[str]]:
    """Return the files that have prose, by top-level folder; ``.`` for those of the root."""
    found = defaultdict(list)
    for name in files():
        if name.endswith((".py", ".md", ".yaml", ".yml", "Makefile")) and not GENERATED.search(name):
            found[name.split("/")[0] if "/" in name else "."].append(name)
    return found


@pytest.mark.parametrize("folder", folders())
def test_the_prose_of_a_folder_names_its_subjects(folder: str) -> None:
    prose = {name: prose_of(name) for name in folders()[folder] if name != f"tests/architecture/{Path(__file__).name}"}
    vague = {name: len(VAGUE.findall(text)) for name, text in prose.items()}
    words = sum(len(re.findall(r"[A-Za-zÀ-ÿ']+", text)) for text in prose.values())
    worst = sorted(vague, key=lambda name: -vague[name])[:5]
    assert 1000 * sum(vague.values()) <= LIMIT * words, {name: vague[name] for name in worst}


def test_no_variable_has_a_vague_name() -> None:
    found = [
        f"{name}:{node.lineno}: {identifier}"
        for name in files()
        if name.endswith(".py")
        for node in ast.walk(ast.parse((ROOT / name).read_text()))
        if isinstance(node, ast.Name | ast.arg)
        if (identifier := node.arg if isinstance(node, ast.arg) else node.id) in VAGUE_NAMES
    ]
    assert found == []
