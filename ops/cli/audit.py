"""``api-particulier audit``: the entries searched, verified against their seals, and exported with their proof."""

import json
import sys
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from pathlib import Path
from time import sleep
from typing import Any
from zoneinfo import ZoneInfo

import click

from ops import audit as audit_service
from ops import verify_file
from ops.cli.citizens import citizen_of, of_a_citizen
from ops.cli.options import on_a_deployment, print_json, print_text
from ops.deployment import Deployment
from ops.export import export as export_audit

_PARIS = ZoneInfo("Europe/Paris")


@click.group()
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
@click.option("--no-wait", is_flag=True, help="Count what is not sealed yet as pending, rather than wait for its seal.")
@on_a_deployment
def verify_audit(on: Deployment, *, since: date | None, until: date | None, no_wait: bool, as_json: bool) -> None:
    """Verify the entries against their seals; name the first that is not as it was sealed.

    Entries of the last minute may be in no seal yet: they are waited for, a minute at most.
    """
    period = _period(since, until)
    verified = audit_service.verify(on, period) if no_wait else audit_service.verify_settled(on, period, sleep)
    if as_json:
        print_json({"ok": not verified.findings} | asdict(verified))
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
@of_a_citizen
@_FROM
@_TO
@on_a_deployment
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
    about_citizen = bool(subject or numero_fiscal or numero_allocataire)
    if bool(token) is about_citizen:
        raise click.UsageError("say whose entries: --token, or --subject, or a citizen's numbers")
    today = datetime.now(_PARIS).date()
    until = until or today
    period = _period(since or until - timedelta(days=30), until)
    if token:
        found = audit_service.of_token(on, period, token)
    else:
        identifier = citizen_of(numero_fiscal, numero_allocataire, code_postal)
        found = on.archive.entries(identifier, *period.ends)
    if as_json:
        sys.stdout.write(json.dumps(found, ensure_ascii=False, indent=2, default=int) + "\n")
    for entry in [] if as_json else found:
        click.echo(f"{entry['at']}  {entry['status']}  {entry['dataset']:24}  {entry.get('organisation', '-')}")


@audit.command()
@click.option("--from", "since", type=_Day(), required=True, help="From this day on, as Paris counts days.")
@click.option("--to", "until", type=_Day(), required=True, help="Up to this day, which is included.")
@click.option("--token", help="Only what this token asked.")
@click.option("--habilitation", help="Only what was asked under this habilitation.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "csv"]),
    default="json",
    show_default=True,
    help="A sheet, or with all the proofs.",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The file to write.")
@on_a_deployment
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
    done = export_audit(on, _period(since, until), output, token=token, habilitation=habilitation, as_csv=kind == "csv")
    told = asdict(done) | {"file": str(done.file), "signature": str(done.signature)}
    (print_json if as_json else print_text)(told)


@audit.command(name="public-key")
@on_a_deployment
def public_key(on: Deployment, *, as_json: bool) -> None:
    """Print the public key that everything is verified with."""
    pem = audit_service.public_key(on)
    if as_json:
        print_json({"public_key": pem})
    else:
        click.echo(pem, nl=False)


@audit.command(name="verify-file")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--public-key",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="PEM",
    help="The key that an auditor was given apart; else that of the file, which proves less.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def verify_export(file: Path, *, public_key: Path | None, as_json: bool) -> None:
    """Verify an export, with the public key alone: no network."""
    try:
        report = verify_file.verify(file, public_key)
    except verify_file.NotProvenError as error:
        raise click.ClickException(f"not proven: {error}") from None
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(verify_file.describe(report))
