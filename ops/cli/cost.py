"""``api-particulier cost``: what a month of calls costs on AWS; asks nobody."""

import click

from ops.cli.options import print_json
from ops.cost import PROVIDER_MS, Calls, bill, bill_of_2020, machines_of_2020, memory_of_datasets


@click.command()
@click.option("--calls", required=True, type=click.FloatRange(1), help="Of a month.")
@click.option(
    "--provider-ms", default=PROVIDER_MS, show_default=True, type=click.FloatRange(0), help="Its answer's wait."
)
@click.option(
    "--memory", type=click.IntRange(128, 10_240), help="MB of a dataset's function; the template's by default."
)
@click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
def cost(*, calls: float, provider_ms: float, memory: int | None, as_json: bool) -> None:
    """Say what a month of calls costs in Paris, in euros, by part, beside the server of 2020 on small machines."""
    month = Calls(calls, memory or memory_of_datasets(), provider_ms)
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
