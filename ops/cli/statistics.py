"""``api-particulier stats``: the figures, and what keeps them exact."""

from typing import Any

import click
from click.core import ParameterSource

from ops.cli.options import on_a_deployment, print_json
from ops.deployment import Deployment
from ops.statistics import Books


@click.group(invoke_without_command=True)
@on_a_deployment
def stats(on: Deployment, *, as_json: bool) -> None:
    """Show how many answers the datasets gave in the last 30 days."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        _print(Books(on).figures().described(), as_json=as_json)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        # A verb would not see them, and work on another deployment than was said.
        raise click.UsageError("options go after the verb")


@stats.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when something differs.")
@on_a_deployment
def rebuild(on: Deployment, *, check: bool, as_json: bool) -> None:
    """Count the last 30 days of the audit again, and set right the counters that differ."""
    found = Books(on).recount() if check else Books(on).rebuild()
    _print(found.described(), as_json=as_json)
    if check and found.differences:
        raise click.exceptions.Exit(1)


@stats.command()
@click.option("--discard", is_flag=True, help="Drop the messages though something cannot be counted.")
@on_a_deployment
def replay(on: Deployment, *, discard: bool, as_json: bool) -> None:
    """Count what could not be counted at the time, and empty the queue that says so."""
    replayed = Books(on).replay(discard=discard)
    told = {"messages": replayed.messages, "counted": replayed.counted, "unreadable": list(replayed.unreadable)}
    _print(told | {"kept": replayed.kept}, as_json=as_json)
    if replayed.kept:
        click.echo("Something in the audit table is not an entry: look at it, then --discard.", err=True)
        raise click.exceptions.Exit(1)


def _print(value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(value)
        return
    for name, one in value.items():
        if isinstance(one, list):
            click.echo(f"{name}:")
            for row in one:
                click.echo("  " + ("  ".join(str(cell) for cell in row.values()) if isinstance(row, dict) else row))
        elif isinstance(one, dict):
            click.echo(f"{name + ':':18}" + ", ".join(f"{key} {cell}" for key, cell in one.items()))
        else:
            click.echo(f"{name + ':':18}{one}")
