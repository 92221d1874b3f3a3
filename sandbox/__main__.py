"""``python -m sandbox``: run the local stack from the terminal.

The Makefile has targets for `run`, `up` and `down`.
"""

import json
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click
import requests

from ops.deployment import Deployment, DeploymentError
from release.build import ToolError
from sandbox import bridges, simulators
from sandbox.cloud import CREDENTIALS
from sandbox.container import image, invoke
from sandbox.container.image import EngineMissing
from sandbox.faults import CERTIFICATE, FAULTS
from sandbox.simulators import PEOPLE, SIMULATORS, svair
from sandbox.stack import STACK_NAME, LocalStack, StackAlreadyUpError, StackError, architecture
from sandbox.steps import step

_WATCHED_EVERY: Final = 1.0
"""Seconds between two readings of the files of people."""
_NO_ENGINE: Final = 3
"""The exit code where no container engine answers."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run API Particulier on this machine, with simulated providers."""


@main.command()
def up() -> None:
    """Bring the stack up in the background, or a running one up to date."""
    stack = LocalStack.here()
    description = _up(stack)
    click.echo(f"The stack answers at {description['api_url']}; the rest is in {stack.file}.\n{_pages(description)}")
    click.echo(bridges.summary())


@main.command()
def down() -> None:
    """Stop all that `up` started, and nothing else."""
    stack = LocalStack.here()
    if not stack.processes.names:
        click.echo("No stack of this checkout is up.")
        return
    with step("stopping the stack"):
        stack.down()


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


_function_argument = click.argument("function", metavar="FUNCTION", type=click.Choice(invoke.functions()))


@main.command(name="invoke", context_settings={"ignore_unknown_options": True})
@_function_argument
@click.option(
    "--event", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="By default, one of events/."
)
@click.option("--here", is_flag=True, help="In this Python, without a container: a breakpoint() stops it.")
@click.argument("arguments", nargs=-1)
def invoke_function(function: str, event: Path | None, *, here: bool, arguments: tuple[str, ...]) -> None:
    """Run a function on an event against the stack that is up, in Lambda's image; ARGUMENTS are `sam local invoke`'s.

    Exit with 3 where no container engine answers.
    """
    try:
        path = event or invoke.example_of(function)
    except FileNotFoundError as error:
        raise click.UsageError(str(error)) from None
    read = json.loads(path.read_text())
    if here:
        stack, deployment = _running()
        described = stack.description()
        added = {"AWS_ENDPOINT_URL": described["cloud_url"], "AWS_DEFAULT_REGION": described["region"], **CREDENTIALS}
        environment = invoke.variables(deployment, added)[function]
        answer = invoke.in_this_python(function, invoke.with_key(read, described["api_key"]), environment)
        click.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        sys.exit(_container().invoke(function, read, arguments))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1)
def start_api(arguments: tuple[str, ...]) -> None:
    """Serve every route in containers of Lambda's image, until Ctrl-C; ARGUMENTS are `sam local start-api`'s."""
    sys.exit(_container().start_api(arguments))


@main.command(name="image")
def build_image() -> None:
    """Build Lambda's image: from its registry or, where none answers, from Debian's packages."""
    try:
        origin = image.build(LocalStack.here().folder, architecture())
    except EngineMissing as error:
        _refuse_without_engine(error)
    except ToolError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{image.name_of(architecture())} is built, from {'its registry' if origin == 'lambda' else 'Debian'}.")


def _container() -> invoke.Container:
    """Return what runs containers against the stack; exit with 3 where no container engine answers."""
    try:
        image.check_engine()
        running = _running()
        invoke.ensure_image(running[0], architecture())
    except EngineMissing as error:
        _refuse_without_engine(error)
    except ToolError as error:
        raise click.ClickException(str(error)) from None
    return invoke.Container(*running)


def _running() -> tuple[LocalStack, Deployment]:
    """Return the stack that is up; exit with 1 when there is none."""
    stack = LocalStack.here()
    try:
        return stack, Deployment.on_local_stack(STACK_NAME, stack.file)
    except DeploymentError as error:
        raise click.ClickException(str(error)) from None


def _refuse_without_engine(error: EngineMissing) -> NoReturn:
    click.echo(str(error), err=True)
    sys.exit(_NO_ENGINE)


@main.command()
def run() -> None:
    """Bring the stack up, play a citizen's journey, and serve until Ctrl-C."""
    stack = LocalStack.here()
    # SIGINT too: a process that a shell starts in the background ignores it from birth.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        description = stack.up(new=True)
        _play_journey(description)
        click.echo(f"\nServing at {description['api_url']} with the key {description['api_key']}")
        click.echo(_pages(description))
        click.echo(f"The fictional people, which you may edit: {PEOPLE / 'avis.toml'}\nCtrl-C stops everything.")
        _watch_people()
    except StackAlreadyUpError as error:
        raise click.ClickException(str(error)) from None
    except (StackError, ToolError) as error:
        stack.down()
        raise click.ClickException(str(error)) from None
    except KeyboardInterrupt:
        click.echo("\nStopping …", err=True)
        _stop(stack)
    except BaseException:
        _stop(stack)
        raise


def _stop(stack: LocalStack) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes behind
    stack.down()


def _watch_people() -> NoReturn:
    """Say when a file of people cannot be read any more, and when it can again."""
    known: list[str] = []
    while True:
        time.sleep(_WATCHED_EVERY)
        if (found := simulators.unreadable()) != known:
            known = found
            click.echo("\n".join(found) or "The files of people can be read again.", err=True)


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
