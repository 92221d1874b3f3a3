"""``api-particulier restore``: a past state of a table, in a new table."""

from dataclasses import asdict
from datetime import datetime

import click

from ops.cli.options import Moment, print_json, print_text, with_deployment
from ops.deployment import Deployment
from ops.restore import TABLES, Restored
from ops.restore import restore as restore_table


@click.command()
@click.argument("table", type=click.Choice(TABLES), metavar="TABLE")
@click.option(
    "--to", "at", type=Moment(), help="The instant to restore: up to 35 days ago (audit: 45), at least 5 minutes ago."
)
@click.option("--latest", is_flag=True, help="The latest possible instant: for a rehearsal, or when the table is lost.")
@click.option("--name", help="The name of the new table; by default the name of the source and the instant.")
@with_deployment
def restore(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment, table: str, *, at: datetime | None, latest: bool, name: str | None, as_json: bool
) -> None:
    """Restore a table (tokens, audit, stats, habilitations) at an instant into a new table, and check it."""
    if latest is (at is not None):
        raise click.UsageError("say --to an instant, or --latest")
    restored = restore_table(deployment, table, at, name, lambda line: click.echo(line, err=True))
    described = asdict(restored) | {"at": restored.at.isoformat()}
    if as_json:
        print_json(described)
    else:
        verified = _verified(restored)
        print_text({field: value for field, value in described.items() if field != "verification"} | verified)
    click.echo(
        f"Nothing uses {restored.table} yet. docs/operations/recovery.md#after-a-restore: how to put a few items back, "
        "or to switch over to it.",
        err=True,
    )
    if restored.verification and restored.verification.findings:
        first = restored.verification.findings[0]
        raise click.ClickException(f"what was restored is not as it was sealed, first {first.place}: {first.what}")


def _verified(restored: Restored) -> dict[str, str]:
    if (verification := restored.verification) is None:
        return {}
    lines = [f"{verification.entries} entries, {verification.seals} seals"]
    lines += [f"{finding.place}: {finding.what}" for finding in verification.findings]
    return {"verified": "; ".join(lines)}
