"""The ``api-particulier`` command. Exit codes: 0 done, 1 it could not be done, 2 the command is not right."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from functools import wraps
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.errors import BadRequest
from api_particulier.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.tokens import Token
from ops import audit as audit_service
from ops import keys as key_service
from ops import statistics_verbs, verify_file
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
        except (DeploymentError, audit_service.ExportError, BotoCoreError, ClientError) as error:
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
@click.option("--purpose", help="What the habilitation was given for; every entry of the audit says it.")
@_on_a_deployment
def issue(  # noqa: PLR0913 - one parameter an option
    on: Deployment,
    *,
    organisation: str,
    siret: str,
    scopes: list[str],
    expires: datetime | None,
    allowed: tuple[str, ...],
    purpose: str | None,
    as_json: bool,
) -> None:
    """Issue a key and print it, once: nobody can read it again."""
    if expires is not None and expires <= datetime.now(UTC):
        click.echo("Warning: this key is issued already expired.", err=True)
    issued = key_service.issue(
        on, organisation=organisation, siret=siret, scopes=scopes, expires=expires, allowed=allowed, purpose=purpose
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


@main.group()
def audit() -> None:
    """Verify, search and export the audit."""


class _Day(click.ParamType[date]):
    name = "date"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> date:
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail("a date such as 2026-11-23")


_FROM = click.option("--from", "since", type=_Day(), help="From this day on, as Paris counts days.")
_TO = click.option("--to", "until", type=_Day(), help="Up to this day, which is included.")


def _period(since: date | None, until: date | None) -> audit_service.Period:
    return audit_service.Period(
        datetime.combine(since, time(), _PARIS) if since else None,
        datetime.combine(until + timedelta(days=1), time(), _PARIS) if until else None,
    )


@audit.command(name="verify")
@_FROM
@_TO
@_on_a_deployment
def verify_audit(on: Deployment, *, since: date | None, until: date | None, as_json: bool) -> None:
    """Verify the entries against their seals; name the first that is not as it was sealed."""
    verified = audit_service.verify(on, _period(since, until))
    if as_json:
        _print_json({"ok": not verified.findings} | asdict(verified))
    else:
        click.echo(f"{verified.entries} entries, {verified.seals} seals; {verified.pending} entries not sealed yet.")
        for finding in verified.findings:
            click.echo(f"{finding.place}: {finding.what}")
    if verified.findings:
        first = verified.findings[0]
        raise click.ClickException(f"the audit is not as it was sealed, first {first.place}: {first.what}")


@audit.command()
@click.option("--token", help="What this token asked.")
@click.option("--subject", is_flag=True, help="What was asked about a citizen, whose numbers are typed at a prompt.")
@click.option("--numero-fiscal", help="The citizen's tax number. A prompt leaves no trace in a shell's history.")
@click.option("--numero-allocataire", help="The citizen's number at the CAF; with --code-postal.")
@click.option("--code-postal", help="The postcode that goes with it.")
@_FROM
@_TO
@_on_a_deployment
def search(  # noqa: PLR0913 - one parameter an option
    on: Deployment,
    *,
    token: str | None,
    subject: bool,
    numero_fiscal: str | None,
    numero_allocataire: str | None,
    code_postal: str | None,
    since: date | None,
    until: date | None,
    as_json: bool,
) -> None:
    """Search the entries of a token or about a citizen; the last 30 days unless said otherwise."""
    if subject and not (numero_fiscal or numero_allocataire):
        numero_fiscal = click.prompt("numeroFiscal (blank for a CAF file)", default="", hide_input=True, err=True)
        if not numero_fiscal:
            numero_allocataire = click.prompt("numeroAllocataire", hide_input=True, err=True)
            code_postal = click.prompt("codePostal", hide_input=True, err=True)
    asked = [one for one in (token, numero_fiscal, numero_allocataire) if one]
    if len(asked) != 1:
        raise click.UsageError("say whose entries: --token, or --subject, or a citizen's numbers")
    today = datetime.now(_PARIS).date()
    until = until or today
    period = _period(since or until - timedelta(days=30), until)
    if token:
        found = audit_service.search(on, period, token=token)
    else:
        try:
            numbers = (
                AvisNumbers.read({"numeroFiscal": [numero_fiscal], "referenceAvis": ["0" * 13]})
                if numero_fiscal
                else AllocataireNumbers.read(
                    {"numeroAllocataire": [str(numero_allocataire)], "codePostal": [code_postal or ""]}
                )
            )
        except BadRequest as error:
            raise click.UsageError(error.message) from None
        found = audit_service.search(on, period, citizen=audit_service.pseudonym(on, numbers.citizen))
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2, default=int) + "\n")
    for entry in [] if as_json else found:
        click.echo(f"{entry['at']}  {entry['status']}  {entry['dataset']:24}  {entry.get('organisation', '-')}")


@audit.command()
@click.option("--from", "since", type=_Day(), required=True, help="From this day on, as Paris counts days.")
@click.option("--to", "until", type=_Day(), required=True, help="Up to this day, which is included.")
@click.option("--token", help="Only what this token asked.")
@click.option("--habilitation", help="Only what was asked under this habilitation.")
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@_on_a_deployment
def export(  # noqa: PLR0913 - one parameter an option
    on: Deployment,
    *,
    since: date,
    until: date,
    token: str | None,
    habilitation: str | None,
    kind: str,
    output: Path,
    as_json: bool,
) -> None:
    """Write the entries of a period with what proves them, and the file's signature beside it."""
    if token and habilitation:
        raise click.UsageError("either --token or --habilitation")
    done = audit_service.export(
        on, _period(since, until), output, token=token, habilitation=habilitation, as_csv=kind == "csv"
    )
    told = asdict(done) | {"file": str(done.file), "signature": str(done.signature)}
    (_print_json if as_json else _print_text)(told)


@audit.command(name="public-key")
@_on_a_deployment
def public_key(on: Deployment, *, as_json: bool) -> None:
    """Print the public key that everything is verified with."""
    pem = audit_service.public_key(on)
    if as_json:
        _print_json({"public_key": pem})
    else:
        click.echo(pem, nl=False)


@audit.command(name="verify-file")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--public-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="PEM")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def verify_export(file: Path, *, public_key: Path | None, as_json: bool) -> None:
    """Verify an export, with the public key alone: no network."""
    try:
        report = verify_file.verify(file, public_key)
    except verify_file.NotProvenError as error:
        raise click.ClickException(f"not proven: {error}") from None
    if as_json:
        _print_json(asdict(report))
    else:
        click.echo(verify_file.describe(report))


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
        "purpose": token.purpose,
    }


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def _print_text(values: dict[str, Any]) -> None:
    for name, value in values.items():
        click.echo(f"{name + ':':14}{', '.join(value) if isinstance(value, list) else value}")


main.add_command(statistics_verbs.group(_on_a_deployment))
