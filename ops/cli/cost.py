"""``api-particulier cost``: the cost on AWS of a month of calls, computed offline."""

import click

from ops.cli.options import print_json
from ops.cost import PROVIDER_MS, Calls, bill, bill_of_2020, machines_of_2020, memory_of_datasets
from ops.template import template


@click.command()
@click.option("--calls", required=True, type=click.FloatRange(1), help="The number of calls in a month.")
@click.option(
    "--provider-ms",
    default=PROVIDER_MS,
    show_default=True,
    type=click.FloatRange(0),
    help="The mean response time of the providers.",
)
@click.option(
    "--memory",
    type=click.IntRange(128, 10_240),
    help="The memory of a dataset's function, in MB; by default that of the template.",
)
@click.option(
    "--snapshots",
    type=click.Choice(template()["Parameters"]["Snapshots"]["AllowedValues"]),
    help="Which functions start from a snapshot; by default those of the template.",
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def cost(*, calls: float, provider_ms: float, memory: int | None, snapshots: str | None, as_json: bool) -> None:
    """Show the cost of a month of calls in Paris, in euros, by part, beside that of the server of 2020."""
    month = Calls(calls, memory or memory_of_datasets(), provider_ms, snapshots or "")
    parts = {name: round(euros, 2) for name, euros in bill(month).items()}
    total, before = round(sum(parts.values()), 2), round(bill_of_2020(calls), 2)
    machines = machines_of_2020(calls)
    if as_json:
        print_json({"parts": parts, "total": total, "server_of_2020": {"machines": machines, "total": before}})
        return
    for name, euros in [
        *parts.items(),
        ("all", total),
        (f"the server of 2020, {machines} machines", before),
    ]:
        click.echo(f"{euros:12,.2f} €  {name}")
