"""``api-particulier status``: how the providers are, and the maintenances that are announced."""

from datetime import datetime
from typing import Any

import click
from click.core import ParameterSource

from api_particulier.providers.health import Maintenance
from ops.cli.options import Moment, on_a_deployment, print_json
from ops.deployment import Deployment
from ops.maintenance import Board, NotAnnouncedError

_of_a_provider = click.option(
    "--provider", required=True, type=click.Choice(["dgfip", "caf", "ban"]), help="The provider that is in maintenance."
)


@click.group(invoke_without_command=True)
@on_a_deployment
def status(on: Deployment, *, as_json: bool) -> None:
    """Show whether each provider answers, now and over 30 days."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        found = Board(on).status()
        (print_json if as_json else _print)(found)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        # A verb would not see them, and work on another deployment than was said.
        raise click.UsageError("options go after the verb")


@status.command()
@_of_a_provider
@click.option("--from", "start", required=True, type=Moment(), help="When it begins.")
@click.option("--to", "end", required=True, type=Moment(), help="When it ends.")
@click.option("--message", default="", help="What callers are told of it, in French.")
@on_a_deployment
def announce(  # noqa: PLR0913 - one parameter an option
    on: Deployment, *, provider: str, start: datetime, end: datetime, message: str, as_json: bool
) -> None:
    """Announce a maintenance: meanwhile the provider is not asked, and callers are told until when."""
    if end <= start:
        raise click.UsageError("a maintenance ends after it begins")
    board = Board(on)
    board.announce(provider, Maintenance(start, end, message))
    _print_announced(board, as_json=as_json)


@status.command()
@_of_a_provider
@click.option("--from", "start", required=True, type=Moment(), help="When it was to begin.")
@on_a_deployment
def withdraw(on: Deployment, *, provider: str, start: datetime, as_json: bool) -> None:
    """Take an announced maintenance back, or end one that has begun."""
    board = Board(on)
    try:
        board.withdraw(provider, start)
    except NotAnnouncedError:
        raise click.ClickException(f"no maintenance of {provider} begins then") from None
    _print_announced(board, as_json=as_json)


def _print_announced(board: Board, *, as_json: bool) -> None:
    announced: list[dict[str, Any]] = board.status()["maintenances"]
    if as_json:
        print_json(announced)
    for one in [] if as_json else announced:
        click.echo("  ".join(str(value) for value in one.values()))


def _print(found: dict[str, Any]) -> None:
    for provider, one in found["fournisseurs"].items():
        over = "no probe yet" if one["disponibilite30j"] is None else f"{one['disponibilite30j']} % over 30 days"
        click.echo(f"{provider:8}{one['etat']:14}{over}, seen at {one['verifieA'] or '-'}")
    for incident in found["incidents"]:
        click.echo(f"incident      {incident['fournisseur']}  {incident['debut']}  {incident['fin'] or 'goes on'}")
    for one in found["maintenances"]:
        click.echo(f"maintenance   {one['fournisseur']}  {one['debut']}  {one['fin']}  {one['message']}")
