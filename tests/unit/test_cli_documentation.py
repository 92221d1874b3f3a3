"""The pages for operators name commands and options that exist; ``--help`` describes each of them."""

import re

import click
import pytest
from click.testing import CliRunner

from ops.cli.main import main
from release.commands import verbs
from tests.support.template import ROOT

REFERENCE = ROOT / "docs/operations/commands.md"
PAGES = {path.name: path.read_text() for path in [*(ROOT / "docs/operations").glob("*.md"), ROOT / "docs/runbooks.md"]}
EVERYWHERE = {"--local", "--stack-name", "--region", "--json"}
"""Options of every command."""
OFFLINE = {"--json"}
"""Options of every command that needs no deployment."""
COMMANDS = {" ".join(names): command for names, command in verbs(main)}


def options(command: click.Command) -> set[str]:
    return {option for parameter in command.params if isinstance(parameter, click.Option) for option in parameter.opts}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_commands_and_options_that_exist(page: str) -> None:
    groups = "|".join(name for name, command in main.commands.items() if isinstance(command, click.Group))
    for written in re.findall(rf"`(?:api-particulier )?((?:{groups}) [a-z][^`\n]*)`", PAGES[page]):
        name = " ".join(written.split()[:2])
        assert name in COMMANDS, written
        assert set(re.findall(r"--[a-z][a-z-]*", written)) <= options(COMMANDS[name]), written


@pytest.mark.parametrize("words", COMMANDS)
def test_the_reference_has_a_command_with_each_of_its_options(words: str) -> None:
    reference = REFERENCE.read_text()
    section = reference[reference.index(f"Usage: api-particulier {words} ") :].split("```", 1)[0]
    for option in options(COMMANDS[words]):
        assert option in section


@pytest.mark.parametrize("words", COMMANDS)
def test_help_describes_a_command_and_each_of_its_options(words: str) -> None:
    command = COMMANDS[words]
    shown = CliRunner().invoke(main, [*words.split(), "--help"])
    assert shown.exit_code == 0
    assert command.help
    assert options(command) >= (OFFLINE if words in {"audit verify-file", "cost"} else EVERYWHERE)
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{words} {option.opts[0]}"
            assert option.opts[0] in shown.output
