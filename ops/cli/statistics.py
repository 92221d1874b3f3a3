"""``api-particulier stats``: show the statistics, and repair them."""

from typing import Any

import click
from click.core import ParameterSource

from ops.cli.options import print_json, with_deployment
from ops.deployment import Deployment
from ops.statistics import StatisticsAudit


@click.group(invoke_without_command=True)
@with_deployment
def stats(deployment: Deployment, *, as_json: bool) -> None:
    """Show the number of successful calls of each dataset over the last 30 days."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        _print(StatisticsAudit(deployment).figures().to_dict(), as_json=as_json)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        # A verb does not see the options of its group: it would work on another deployment.
        raise click.UsageError("options go after the verb")


@stats.command()
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when a counter is wrong.")
@with_deployment
def rebuild(deployment: Deployment, *, check: bool, as_json: bool) -> None:
    """Count the last 30 days of the audit again, and correct the counters that are wrong."""
    statistics = StatisticsAudit(deployment)
    recount = statistics.recount() if check else statistics.rebuild()
    _print(recount.described(), as_json=as_json)
    if check and recount.differences:
        raise click.exceptions.Exit(1)


@stats.command()
@click.option("--discard", is_flag=True, help="Delete the messages even if an item cannot be counted.")
@with_deployment
def replay(deployment: Deployment, *, discard: bool, as_json: bool) -> None:
    """Count the calls of the batches that failed, and empty the dead-letter queue."""
    replayed = StatisticsAudit(deployment).replay(discard=discard)
    described = {
        "messages": replayed.messages,
        "counted": replayed.counted,
        "unreadable": list(replayed.unreadable),
        "kept": replayed.kept,
    }
    _print(described, as_json=as_json)
    if replayed.kept:
        click.echo("Something in the audit table is not an entry: look at it, then --discard.", err=True)
        raise click.exceptions.Exit(1)


def _print(value: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(value)
        return
    for name, content in value.items():
        if isinstance(content, list):
            click.echo(f"{name}:")
            for row in content:
                click.echo("  " + ("  ".join(str(cell) for cell in row.values()) if isinstance(row, dict) else row))
        elif isinstance(content, dict):
            click.echo(f"{name + ':':18}" + ", ".join(f"{key} {cell}" for key, cell in content.items()))
        else:
            click.echo(f"{name + ':':18}{content}")
