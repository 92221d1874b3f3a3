"""``python -m sandbox``: run the local stack from the terminal.

The Makefile has targets for `run`, `up` and `down`.
"""

import json
import signal
import sys
from types import FrameType

import click
import requests

from release.build import ToolError
from sandbox.faults import CERTIFICATE, FAULTS
from sandbox.simulators import PEOPLE, SIMULATORS, svair
from sandbox.stack import LocalStack, StackError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run API Particulier on this machine, with simulated providers."""


@main.command()
def up() -> None:
    """Bring the stack up in the background, or a running one up to date."""
    stack = LocalStack.here()
    description = _up(stack)
    click.echo(f"The stack answers at {description['api_url']}; the rest is in {stack.file}.\n{_pages(description)}")


@main.command()
def down() -> None:
    """Stop all that `up` started, and nothing else."""
    LocalStack.here().down()


_simulator_argument = click.argument("name", type=click.Choice(list(SIMULATORS)))


@main.command()
@_simulator_argument
def stop(name: str) -> None:
    """Stop a simulated provider, as in an outage; the rest of the stack runs on."""
    LocalStack.here().stop_simulator(name)


@main.command()
@_simulator_argument
@click.option("--fault", type=click.Choice(FAULTS), help="It listens, but misbehaves in this way.")
def start(name: str, fault: str | None) -> None:
    """Start a simulated provider again, healthy or with a fault.

    Faults: a byte a second (slow), half a response (half), another authority's certificate (certificate).
    """
    if fault == CERTIFICATE and not SIMULATORS[name].mutual_tls:
        raise click.UsageError(f"the simulated {name} shows no certificate")
    LocalStack.here().start_simulator(name, fault)


@main.command()
def run() -> None:
    """Bring the stack up, play a citizen's journey, and serve until Ctrl-C."""
    stack = LocalStack.here()
    # SIGINT too: a process that a shell starts in the background ignores it from birth.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        description = _up(stack)
        _play_journey(description)
        click.echo(f"\nServing at {description['api_url']} with the key {description['api_key']}")
        click.echo(_pages(description))
        click.echo(f"The fictional people, which you may edit: {PEOPLE / 'avis.toml'}\nCtrl-C stops everything.")
        signal.pause()
    except KeyboardInterrupt:
        click.echo("\nStopping …", err=True)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
        stack.down()


def _up(stack: LocalStack) -> dict[str, str]:
    try:
        return stack.up()
    except (StackError, ToolError) as error:
        raise click.ClickException(str(error)) from None


def _play_journey(description: dict[str, str]) -> None:
    """Request the first fictional citizen's data, and print requests and responses."""
    citizen = svair.people(PEOPLE / "avis.toml")[0]
    query = {"numeroFiscal": citizen.numero_fiscal, "referenceAvis": citizen.reference_avis}
    click.echo("\nA citizen typed a tax number and a notice reference; their town calls the API:")
    for route in ("/v2/avis-imposition", "/v2/revenu-fiscal-reference"):
        url = f"{description['api_url']}{route}"
        response = requests.get(url, query, headers={"X-API-Key": description["api_key"]}, timeout=30)
        parameters = "&".join(f"{name}={value}" for name, value in query.items())
        curl = f"curl -H 'X-API-Key: {description['api_key']}' '{url}?{parameters}'"
        click.echo(f"\n  {curl}\n  → {response.status_code}")
        click.echo(json.dumps(response.json(), ensure_ascii=False, indent=2))
        if response.status_code != requests.codes.ok:
            raise click.ClickException("the journey failed")


def _pages(description: dict[str, str]) -> str:
    """Return the addresses to open in a browser: the site, and the town's portal."""
    return f"The site: {description['site_url']}\nA town's portal: {description['portal_url']}"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
