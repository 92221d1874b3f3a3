"""The ``api-particulier`` command. Exit codes: 0 done, 1 it could not be done, 2 the command is not right."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from functools import wraps
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

import click
from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.tokens import Token
from ops import keys as key_service
from ops.deployment import Deployment, DeploymentError

_PARIS = ZoneInfo("Europe/Paris")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="api-particulier")
def main() -> None:
    """Run API Particulier: keys, on AWS or (with --local) on the local stack."""


@main.group()
def keys() -> None:
    """Issue, list, show and revoke the keys of administrations."""


def _on_a_deployment[**P](verb: Callable[P, None]) -> Callable[..., None]:
    """Give a verb the options that say which deployment it works on and how it answers."""

    @click.option("--local", is_flag=True, help="Work on the local stack (.local/stack.json).")
    @click.option("--stack-name", default="api-particulier", show_default=True, help="The CloudFormation stack.")
    @click.option("--region", help="The AWS region; the environment's by default.")
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @wraps(verb)
    def run(*args: Any, local: bool, stack_name: str, region: str | None, **options: Any) -> None:
        try:
            on = Deployment.on_local_stack(stack_name) if local else Deployment.on_aws(stack_name, region)
            verb(on, *args, **options)  # type: ignore[arg-type]  # click calls by name
        except (DeploymentError, BotoCoreError, ClientError) as error:
            raise click.ClickException(str(error)) from None
        except key_service.UnknownTokenError as error:
            raise click.ClickException(f"no token has the id {error}") from None

    return run


class _Scopes(click.ParamType[list[str]]):
    name = "a,b,c"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> list[str]:
        scopes = [scope.strip() for scope in str(value).split(",")]
        if not all(scopes):
            self.fail("a comma-separated list of scopes")
        return scopes


class _Expiry(click.ParamType[datetime]):
    name = "date"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> datetime:
        """A date means its first instant in Paris; a date and time without a zone is Paris's too."""
        try:
            read = datetime.fromisoformat(value) if "T" in value else date.fromisoformat(value)
        except ValueError:
            self.fail("a date such as 2028-05-31, or a date and time such as 2028-05-31T18:00+02:00")
        moment = read if isinstance(read, datetime) else datetime.combine(read, time())
        return (moment if moment.tzinfo else moment.replace(tzinfo=_PARIS)).astimezone(UTC)


class _Network(click.ParamType[str]):
    name = "cidr"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> str:
        try:
            return str(ip_network(value))
        except ValueError:
            self.fail("a range of addresses such as 192.0.2.0/24 or 2001:db8::/32")


class _Siret(click.ParamType[str]):
    name = "siret"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> str:
        siret = "".join(str(value).split())
        if len(siret) != 14 or not (siret.isascii() and siret.isdigit()):  # noqa: PLR2004 - what a SIRET is
            self.fail("14 digits")
        return siret


@keys.command()
@click.option("--organisation", required=True, help="The administration that the key is for.")
@click.option("--siret", required=True, type=_Siret(), help="Its SIRET, 14 digits.")
@click.option("--scopes", required=True, type=_Scopes(), help="What the key opens: contract §4.")
@click.option("--expires", type=_Expiry(), help="From when it no longer works. In 18 months by default.")
@click.option("--allow", "allowed", multiple=True, type=_Network(), help="Only from this range. Repeatable.")
@_on_a_deployment
def issue(  # noqa: PLR0913 - one parameter an option
    on: Deployment,
    *,
    organisation: str,
    siret: str,
    scopes: list[str],
    expires: datetime | None,
    allowed: tuple[str, ...],
    as_json: bool,
) -> None:
    """Issue a key and print it, once: nobody can read it again."""
    if expires is not None and expires <= datetime.now(UTC):
        click.echo("Warning: this key is issued already expired.", err=True)
    issued = key_service.issue(
        on, organisation=organisation, siret=siret, scopes=scopes, expires=expires, allowed=allowed
    )
    described = _describe(issued.token)
    if as_json:
        _print_json({"id": described["id"], "key": issued.key} | {k: described[k] for k in ("scopes", "expires")})
    else:
        _print_text({"key": issued.key} | described)
        click.echo("This key is shown once. Hand it over by a safe way.", err=True)


@keys.command(name="list")
@_on_a_deployment
def list_keys(on: Deployment, *, as_json: bool) -> None:
    """List every key, the latest first."""
    described = [_describe(token) for token in key_service.list_all(on)]
    if as_json:
        _print_json(described)
    for token in [] if as_json else described:
        click.echo(f"{token['id']}  {token['state']:8}  until {token['expires']}  {token['organisation']}")


@keys.command()
@click.argument("token_id", metavar="ID")
@_on_a_deployment
def show(on: Deployment, token_id: str, *, as_json: bool) -> None:
    """Show what a key is; never the key itself."""
    described = _describe(key_service.find(on, token_id))
    (_print_json if as_json else _print_text)(described)


@keys.command()
@click.argument("token_id", metavar="ID")
@_on_a_deployment
def revoke(on: Deployment, token_id: str, *, as_json: bool) -> None:
    """Take a key away, at once."""
    described = _describe(key_service.revoke(on, token_id))
    (_print_json if as_json else _print_text)(described)


def _describe(token: Token) -> dict[str, Any]:
    expired = token.state == "active" and not token.is_active(datetime.now(UTC))
    return {
        "id": token.id,
        "organisation": token.organisation,
        "siret": token.siret,
        "scopes": sorted(token.scopes),
        "state": "expired" if expired else token.state,
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "allowed": list(token.allowed),
    }


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def _print_text(values: dict[str, Any]) -> None:
    for name, value in values.items():
        click.echo(f"{name + ':':14}{', '.join(value) if isinstance(value, list) else value}")
