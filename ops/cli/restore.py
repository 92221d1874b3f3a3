"""``api-particulier restore``: a table as it was, beside the one that is used."""

from dataclasses import asdict
from datetime import datetime

import click

from ops.cli.options import Moment, on_a_deployment, print_json, print_text
from ops.deployment import Deployment
from ops.restore import TABLES, Restored
from ops.restore import restore as restore_table


@click.command()
@click.argument("table", type=click.Choice(TABLES), metavar="TABLE")
@click.option("--to", "at", type=Moment(), help="As it was then: within 35 days, and 5 minutes ago.")
@click.option("--latest", is_flag=True, help="As late as can be: to rehearse, or of a table that is lost.")
@click.option("--name", help="What the new table is called; by default as the one that is used, and the instant.")
@on_a_deployment
def restore(  # noqa: PLR0913 - one parameter an option
    on: Deployment, table: str, *, at: datetime | None, latest: bool, name: str | None, as_json: bool
) -> None:
    """Restore a table (tokens, audit, stats, habilitations) as it was at an instant, into a new one, and check it."""
    if latest is (at is not None):
        raise click.UsageError("say --to an instant, or --latest")
    restored = restore_table(on, table, at, name, lambda line: click.echo(line, err=True))
    described = asdict(restored) | {"at": restored.at.isoformat()}
    if as_json:
        print_json(described)
    else:
        verified = _verified(restored)
        print_text({one: value for one, value in described.items() if one != "verification"} | verified)
    click.echo(
        f"Nothing uses {restored.table} yet. docs/operations/recovery.md#after-a-restore: how to put a few items back, "
        "or to switch over to it.",
        err=True,
    )
    if restored.verification and restored.verification.findings:
        first = restored.verification.findings[0]
        raise click.ClickException(f"what was restored is not as it was sealed, first {first.place}: {first.what}")


def _verified(restored: Restored) -> dict[str, str]:
    if (found := restored.verification) is None:
        return {}
    told = [f"{found.entries} entries, {found.seals} seals", *(f"{one.place}: {one.what}" for one in found.findings)]
    return {"verified": "; ".join(told)}
