"""``docs/operations.md`` and ``--help`` say the same: every verb, every option, and no other."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ops.cli.main import main
from tests.support.template import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
EVERYWHERE = {"--local", "--stack-name", "--region", "--json"}
"""Options of every verb, documented once."""

OFFLINE = {"--json"}
"""What remains of them for a verb that asks nobody."""


def verbs(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Yield each command of the tree that does something, with its words."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, *path, name)
        else:
            yield " ".join((*path, name)), command


VERBS = dict(verbs(main))


def options(command: click.Command) -> set[str]:
    return {option for one in command.params if isinstance(one, click.Option) for option in one.opts}


def section(words: str) -> str:
    """Return what the page says of a verb: from the line that begins with it to the next verb's, or title."""
    found = re.search(rf"^- `{words}[ `].*?(?=^- `|^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/operations.md has no line that begins with: - `{words} …`"
    return found[0]


@pytest.mark.parametrize("words", VERBS)
def test_a_verb_is_documented_with_each_of_its_options_and_arguments(words: str) -> None:
    command = VERBS[words]
    written = set(re.findall(r"--[a-z][a-z-]*", section(words)))
    assert written - EVERYWHERE == options(command) - EVERYWHERE
    for argument in (one for one in command.params if isinstance(one, click.Argument)):
        assert str(argument.metavar or argument.name).strip("[].").upper() in section(words)


def test_every_documented_verb_exists() -> None:
    groups, alone = (
        "|".join(name for name, one in main.commands.items() if isinstance(one, click.Group) is is_group)
        for is_group in (True, False)
    )
    written = re.findall(rf"^- `((?:{groups}) [a-z-]+|(?:{alone})(?= ))", PAGE, re.MULTILINE)
    assert sorted(written) == sorted(VERBS)


def test_options_of_every_verb_are_documented_once() -> None:
    assert set(re.findall(r"^\| `(--[a-z-]+)", PAGE, re.MULTILINE)) == EVERYWHERE


@pytest.mark.parametrize("words", VERBS)
def test_help_says_what_a_verb_does_and_what_each_option_is_for(words: str) -> None:
    told = CliRunner().invoke(main, [*words.split(), "--help"])
    assert told.exit_code == 0
    assert VERBS[words].help
    assert options(VERBS[words]) >= (OFFLINE if words in {"audit verify-file", "cost"} else EVERYWHERE)
    for option in VERBS[words].params:
        if isinstance(option, click.Option):
            assert option.help, f"{words} {option.opts[0]}"
            assert option.opts[0] in told.output
