"""``docs/operations/commands.md``: the options of every command, from the ``--help`` of the command."""

from collections.abc import Iterator
from typing import Final

import click
from click.testing import CliRunner

from ops.cli.main import main

_INTRODUCTION: Final = """# The commands

The `--help` of every command of `.venv/bin/api-particulier`. Written by `make docs` from the code; a test compares.
Exit codes: 0 done, 1 could not be done (the reason is on standard error), 2 the command line is wrong.
"""
_WIDTH: Final = 110
"""Columns of a help text."""


def page() -> str:
    """Return the page in Markdown."""
    return _INTRODUCTION + "".join(_sections())


def verbs(group: click.Group, *names: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that does something, with the words that call it; a group may be one."""
    if group.invoke_without_command:
        yield names, group
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from verbs(command, *names, name)
        else:
            yield (*names, name), command


def _sections() -> Iterator[str]:
    subject = ""
    for names, _ in verbs(main):
        if names[0] != subject:
            subject = names[0]
            yield f"\n## {subject}\n"
        if len(names) > 1:
            yield f"\n### {' '.join(names)}\n"
        yield f"\n```\n{_help(names)}\n```\n"


def _help(names: tuple[str, ...]) -> str:
    shown = CliRunner().invoke(main, [*names, "--help"], prog_name="api-particulier", terminal_width=_WIDTH)
    return shown.output.strip()
