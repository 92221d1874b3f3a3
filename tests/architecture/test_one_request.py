"""The newcomer's walk names functions that are where it puts them."""

import ast
import re
from itertools import pairwise

import pytest

from tests.support.template import ROOT

PAGE = (ROOT / "docs/one-request.md").read_text()
STEPS = re.findall(r"^\d\. `(\w+)` in \[`[^`]+`\]\(\.\./([^)]+)\)", PAGE, re.MULTILINE)


def functions_of(path: str) -> dict[str, str]:
    """Return the source of each function and method of a module, by name."""
    tree = ast.parse((ROOT / path).read_text())
    return {node.name: ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("function", "path"), STEPS)
def test_a_function_of_the_walk_is_where_the_page_puts_it(function: str, path: str) -> None:
    assert function in functions_of(path)


def test_the_walk_is_short() -> None:
    assert 0 < len(STEPS) <= 8
    assert len(PAGE.splitlines()) <= 50


def test_the_story_calls_the_steps_in_the_order_of_the_walk() -> None:
    story = functions_of("layers/common/api_particulier/api/handler.py")["handle"]
    calls = [story.index(call) for call in ("authenticate(", "authorize(", "guard(", ".fetch(", "_release(")]
    assert all(first < second for first, second in pairwise(calls))
