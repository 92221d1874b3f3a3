"""``api-particulier stats``: show the statistics, and repair them."""

from typing import Any

import click
from click.core import ParameterSource

from ops.cli.options import print_json, with_deployment
from ops.deployment import Deployment
from ops.statistics import StatisticsAudit, StatisticsMove


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
    """Add up the counts of the seals of the last 30 days, and correct the counters that are wrong."""
    statistics = StatisticsAudit(deployment)
    try:
        recount = statistics.recount() if check else statistics.rebuild()
    except StatisticsMove:
        raise click.ClickException("seals were counted at the same time; nothing was changed: try again") from None
    _print(recount.described(), as_json=as_json)
    if check and (recount.differences or recount.findings or not recount.is_sound):
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
