"""``api-particulier audit``: search, verify and export the audit records."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import wraps
from pathlib import Path
from time import sleep
from typing import Any
from zoneinfo import ZoneInfo

import click

from api_particulier.audit import archive
from ops import audit as audit_service
from ops import verify_file
from ops.cli.citizens import citizen_of, with_citizen
from ops.cli.options import print_json, print_table, print_text, verb_path, with_deployment, with_reason
from ops.deployment import Deployment
from ops.export import export as export_audit
from ops.operators import record_act
from ops.statistics import StatisticsAudit, StatisticsMove

_PARIS = ZoneInfo("Europe/Paris")


@click.group()
def audit() -> None:
    """Verify, search and export the audit."""


class _Day(click.ParamType[date]):
    """A day in Paris."""

    name = "date"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> date:
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail("a date such as 2026-11-23")


class _UtcDay(_Day):
    """A day of the archive, in UTC."""


_FROM = click.option("--from", "since", type=_Day(), help="The first day, in Paris time.")
_TO = click.option("--to", "until", type=_Day(), help="The last day, included.")


def _in_order[**P](verb: Callable[P, None]) -> Callable[P, None]:
    """Refuse a period that ends before it begins, before anything else is done."""

    @wraps(verb)
    def run(*args: P.args, **options: P.kwargs) -> None:
        since, until = options["since"], options["until"]
        if isinstance(since, date) and isinstance(until, date) and until < since:
            raise click.UsageError(f"the period ends, {until}, before it begins, {since}")
        verb(*args, **options)

    return run


_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


class _NewFile(click.Path):
    """A file to write, in a folder that exists; neither it, its proof nor a signature may be there already."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> Any:
        file = Path(str(super().convert(value, param, context)))
        if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
            self.fail(f"{file.parent} is no folder that can be written in")
        proof = verify_file.proof_of(file)
        for written in (file, verify_file.signature_of(file), proof, verify_file.signature_of(proof)):
            if written.exists():
                self.fail(f"{written} exists already; it is not overwritten")
        return file


def _period(since: date | None, until: date | None) -> audit_service.Period:
    return audit_service.Period(
        datetime.combine(since, time(), _PARIS) if since else None,
        datetime.combine(until + timedelta(days=1), time(), _PARIS) if until else None,
    )


@audit.command(name="verify")
@_FROM
@_TO
@click.option("--since", "note", type=_FILE, help="Go on from this published checkpoint, which must still hold.")
@click.option("--no-wait", is_flag=True, help="Count records without a seal yet as pending; do not wait for it.")
@_in_order
@with_deployment
def verify_audit(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment, *, since: date | None, until: date | None, note: Path | None, no_wait: bool, as_json: bool
) -> None:
    """Verify the records against their seals, and name the first one that differs.

    A period is verified in whole days (UTC); on a terminal, each day is named once it is compared. Interrupted, the
    command goes on from a checkpoint of the last day that it named (--since), which fixes the seals before.
    Records of the last minute may have no seal yet: the command waits for it, a minute at most.
    """
    if note and since:
        raise click.UsageError("either --from or --since")
    try:
        period = audit_service.go_on_from(deployment, note.read_text()) if note else _period(since, until).in_whole_days
    except verify_file.NotProvenError as error:
        raise click.ClickException(f"{error}: nothing was verified") from None
    if note:
        period = replace(period, until=_period(None, until).in_whole_days.until)
    on_day = _show_day if sys.stderr.isatty() else None
    if no_wait:
        verified = audit_service.verify(deployment, period, on_day)
    else:
        verified = audit_service.verify_settled(deployment, period, sleep, on_day)
    if as_json:
        print_json({"ok": not verified.findings} | asdict(verified))
    else:
        click.echo(f"{verified.entries} entries, {verified.seals} seals; {verified.pending} entries not sealed yet.")
        for finding in verified.findings:
            click.echo(f"{finding.place}: {finding.what}")
    if verified.findings:
        first = verified.findings[0]
        raise click.ClickException(f"the audit is not as it was sealed, first {first.place}: {first.what}")


def _show_day(day: date) -> None:
    click.echo(f"{day} is compared", err=True)


@audit.command()
@click.option("--token", help="The records of this token.")
@click.option("--subject", is_flag=True, help="The records about a citizen, identified at a prompt.")
@with_citizen
@_FROM
@_TO
@with_reason
@_in_order
@with_deployment
def search(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment,
    *,
    reason: str,
    token: str | None,
    subject: bool,
    numero_fiscal: str | None,
    numero_allocataire: str | None,
    code_postal: str | None,
    since: date | None,
    until: date | None,
    as_json: bool,
) -> None:
    """Search the records of a token or about a citizen; over the last 30 days by default."""
    about_citizen = bool(subject or numero_fiscal or numero_allocataire)
    if bool(token) is about_citizen:
        raise click.UsageError("say whose entries: --token, or --subject, or a citizen's numbers")
    today = datetime.now(_PARIS).date()
    until = until or today
    period = _period(since or until - timedelta(days=30), until)
    if token:
        record_act(deployment, verb_path(), reason=reason, target=token, details=_dates(since, until))
        records = audit_service.of_token(deployment, period, token)
    else:
        identifier = citizen_of(numero_fiscal, numero_allocataire, code_postal)
        record_act(deployment, verb_path(), reason=reason, citizen_id=identifier, details=_dates(since, until))
        records = audit_service.of_citizen(deployment, period, identifier)
    if as_json:
        sys.stdout.write(json.dumps(records, ensure_ascii=False, indent=2, default=int) + "\n")
    else:
        rows = [{"organisation": None, **record} for record in records]
        print_table(rows, ("at", "status", "dataset", "organisation"), "No record in this period.")


@audit.command()
@click.option("--from", "since", type=_Day(), required=True, help="The first day, in Paris time.")
@click.option("--to", "until", type=_Day(), required=True, help="The last day, included.")
@click.option("--token", help="Only the records of this token.")
@click.option("--habilitation", help="Only the records of this habilitation.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json", "csv"]),
    default="json",
    show_default=True,
    help="JSON with every proof, or a CSV table beside this JSON.",
)
@click.option("--output", type=_NewFile(), required=True, help="The file to write.")
@click.option("--head", type=_FILE, help="A published checkpoint: the seals go on up to its own, for `verify-file`.")
@with_reason
@_in_order
@with_deployment
def export(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment,
    *,
    reason: str,
    since: date,
    until: date,
    token: str | None,
    habilitation: str | None,
    kind: str,
    output: Path,
    head: Path | None,
    as_json: bool,
) -> None:
    """Write the records of a period with their proofs, and the signature of the file beside it."""
    if token and habilitation:
        raise click.UsageError("either --token or --habilitation")
    record_act(deployment, verb_path(), reason=reason, target=token or habilitation, details=_dates(since, until))
    period, as_csv = _period(since, until), kind == "csv"
    try:
        number = verify_file.read_head(head.read_text()).number if head else 0
    except verify_file.NotProvenError as error:
        raise click.UsageError(str(error)) from None
    exported = export_audit(
        deployment, period, output, token=token, habilitation=habilitation, as_csv=as_csv, head=number
    )
    files = {name: str(getattr(exported, name)) for name in ("file", "proof", "signature")}
    described = asdict(exported) | files
    (print_json if as_json else print_text)(described)


def _dates(since: date | None, until: date | None) -> list[str]:
    return [f"{name}={day}" for name, day in (("since", since), ("until", until)) if day]


@audit.command(name="archive")
@click.option("--day", type=_UtcDay(), help="Only this day (UTC), which must have ended; by default all that is due.")
@with_deployment
def archive_days(deployment: Deployment, *, day: date | None, as_json: bool) -> None:
    """Archive the days and months that are due, as the scheduled function does.

    The stream may bring a record of a day until a day after its end: archive it earlier only when nothing waits.
    """
    now = datetime.now(UTC)
    if day is not None and day >= now.date():
        raise click.UsageError(f"{day} has not ended")
    lock = deployment.s3.get_object_lock_configuration(Bucket=deployment.bucket.name)["ObjectLockConfiguration"]
    bucket = replace(deployment.bucket, lock_mode=lock["Rule"]["DefaultRetention"]["Mode"])
    days = archive.run(bucket, now) if day is None else [day] * archive.archive_day(bucket, day)
    described = {"archived": [f"{done}" for done in days]}
    (print_json if as_json else print_text)(described)


@audit.command(name="verify-figures")
@with_deployment
def verify_figures(deployment: Deployment, *, as_json: bool) -> None:
    """Prove the public figures of the last 30 days by the seals alone, and name the first one that differs."""
    try:
        recount = StatisticsAudit(deployment).recount()
    except StatisticsMove:
        raise click.ClickException("seals were counted during the verification: try again") from None
    proven = not recount.differences and not recount.findings and recount.is_sound
    if as_json:
        print_json({"ok": proven} | recount.described() | {"figures": recount.figures.to_dict()})
    else:
        click.echo(f"{recount.figures.total} answers, {recount.seals} seals, {recount.uncounted} calls not counted.")
        for finding in recount.findings:
            click.echo(finding)
    for difference in recount.differences:
        raise click.ClickException(
            f"{difference.counter} is {difference.counted} in the statistics, {difference.audited} in the seals"
        )
    if not proven:
        raise click.ClickException("the seals are not as they were signed, or the last one counted is none of them")


@audit.command(name="public-key")
@click.option("--exports", is_flag=True, help="The key that signs exports, instead of the one that signs seals.")
@with_deployment
def public_key(deployment: Deployment, *, exports: bool, as_json: bool) -> None:
    """Print the public key that verifies seals, or exports."""
    pem = audit_service.public_key(deployment, "ExportKeyId" if exports else "SealKeyId")
    if as_json:
        print_json({"public_key": pem})
    else:
        click.echo(pem, nl=False)


@audit.command(name="verify-file")
@click.argument("file", type=_FILE)
@click.option(
    "--public-key",
    type=_FILE,
    metavar="PEM",
    help="The published key of the seals, received separately; without it, the key in the file, which proves less.",
)
@click.option("--export-key", type=_FILE, metavar="PEM", help="The published key of the exports, likewise.")
@click.option("--head", type=_FILE, help="A checkpoint published or mailed since: the seals are those that it fixes.")
@click.option("--stamp", type=_FILE, help="The stamp of this checkpoint: it existed at the time that is printed.")
@click.option("--authority", type=_FILE, metavar="PEM", help="The certificate of the timestamp authority.")
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def verify_export(  # noqa: PLR0913 - one parameter an option
    file: Path,
    *,
    public_key: Path | None,
    export_key: Path | None,
    head: Path | None,
    stamp: Path | None,
    authority: Path | None,
    as_json: bool,
) -> None:
    """Verify an export with the public keys alone, offline."""
    if bool(stamp) is not bool(authority) or (stamp and not head):
        raise click.UsageError("--stamp and --authority go together, and with --head")
    given = verify_file.Stamp(stamp, authority) if stamp and authority else None
    try:
        report = verify_file.verify(file, public_key, export_key, head, given)
    except verify_file.NotProvenError as error:
        raise click.ClickException(f"not proven: {error}") from None
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(verify_file.describe(report))
