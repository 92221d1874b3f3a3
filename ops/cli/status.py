"""``api-particulier status``: the state of the providers, and their announced maintenances."""

from datetime import datetime
from typing import Any

import click
from click.core import ParameterSource

from api_particulier.providers.health import Maintenance
from ops.cli.options import Moment, print_json, shown, with_deployment
from ops.deployment import Deployment
from ops.maintenance import ConcurrentChangeError, MaintenanceSchedule, NotAnnouncedError

_of_a_provider = click.option(
    "--provider", required=True, type=click.Choice(["dgfip", "caf", "dss", "ban"]), help="The provider in maintenance."
)

_TRY_AGAIN = "another command changed the maintenances at the same time; try again"


@click.group(invoke_without_command=True)
@with_deployment
def status(deployment: Deployment, *, as_json: bool) -> None:
    """Show the state of each provider, now and over 30 days."""
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        providers = MaintenanceSchedule(deployment).status()
        (print_json if as_json else _print)(providers)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in context.params):
        # A verb does not see the options of its group: it would work on another deployment.
        raise click.UsageError("options go after the verb")


@status.command()
@_of_a_provider
@click.option("--from", "start", required=True, type=Moment(), help="When it begins.")
@click.option("--to", "end", required=True, type=Moment(), help="When it ends.")
@click.option("--message", default="", help="The message for callers, in French.")
@with_deployment
def announce(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment, *, provider: str, start: datetime, end: datetime, message: str, as_json: bool
) -> None:
    """Announce a maintenance: during it the provider is not called, and responses give its end."""
    if end <= start:
        raise click.UsageError("a maintenance ends after it begins")
    schedule = MaintenanceSchedule(deployment)
    try:
        schedule.announce(provider, Maintenance(start, end, message))
    except ConcurrentChangeError:
        raise click.ClickException(_TRY_AGAIN) from None
    _print_announced(schedule, as_json=as_json)


@status.command()
@_of_a_provider
@click.option("--from", "start", required=True, type=Moment(), help="The announced beginning.")
@with_deployment
def withdraw(deployment: Deployment, *, provider: str, start: datetime, as_json: bool) -> None:
    """Cancel an announced maintenance, or end it early."""
    schedule = MaintenanceSchedule(deployment)
    try:
        schedule.withdraw(provider, start)
    except NotAnnouncedError:
        raise click.ClickException(f"no maintenance of {provider} begins then") from None
    except ConcurrentChangeError:
        raise click.ClickException(_TRY_AGAIN) from None
    _print_announced(schedule, as_json=as_json)


def _print_announced(schedule: MaintenanceSchedule, *, as_json: bool) -> None:
    announced: list[dict[str, Any]] = schedule.status()["maintenances"]
    if as_json:
        print_json(announced)
    for maintenance in [] if as_json else announced:
        click.echo("  ".join(shown(value) for value in maintenance.values()))


def _print(described: dict[str, Any]) -> None:
    for name, provider in described["fournisseurs"].items():
        uptime = provider["disponibilite30j"]
        over = "no probe yet" if uptime is None else f"{uptime} % over 30 days"
        click.echo(f"{name:8}{provider['etat']:14}{over}, seen at {shown(provider['verifieA'])}")
    for incident in described["incidents"]:
        end = shown(incident["fin"]) if incident["fin"] else "goes on"
        click.echo(f"incident      {incident['fournisseur']}  {shown(incident['debut'])}  {end}")
    for maintenance in described["maintenances"]:
        columns = (shown(maintenance[name]) for name in ("fournisseur", "debut", "fin", "message"))
        click.echo("  ".join(("maintenance ", *columns)))
