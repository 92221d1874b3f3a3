"""``api-particulier citizen``: what the audit knows of a citizen, for an operator who answers a request of theirs."""

from collections.abc import Callable
from datetime import UTC, datetime

import click

from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.audit import access_log
from api_particulier.errors import BadRequest
from ops.cli.options import on_a_deployment, print_json
from ops.deployment import Deployment


def of_a_citizen[**P](verb: Callable[P, None]) -> Callable[P, None]:
    """Give a verb the options that say which citizen it is about; ``citizen_of`` reads them."""
    for option in (
        click.option("--code-postal", help="The postcode that goes with it."),
        click.option("--numero-allocataire", help="The citizen's number at the CAF; with --code-postal."),
        click.option(
            "--numero-fiscal", help="The citizen's tax number. A prompt leaves no trace in a shell's history."
        ),
    ):
        verb = option(verb)
    return verb


def citizen_of(numero_fiscal: str | None, numero_allocataire: str | None, code_postal: str | None) -> str:
    """Return the normalised identifier of a citizen, whose numbers are asked for at a prompt when none is given."""
    if not (numero_fiscal or numero_allocataire):
        numero_fiscal = click.prompt("numeroFiscal (blank for a CAF file)", default="", hide_input=True, err=True)
        if not numero_fiscal:
            numero_allocataire = click.prompt("numeroAllocataire", hide_input=True, err=True)
            code_postal = click.prompt("codePostal", hide_input=True, err=True)
    if numero_fiscal and numero_allocataire:
        raise click.UsageError("either a tax number or a number at the CAF")
    try:
        if numero_fiscal:  # whose notice it is does not matter here
            return AvisNumbers.parse({"numeroFiscal": [numero_fiscal], "referenceAvis": ["0" * 13]}).citizen_id
        numbers = {"numeroAllocataire": [str(numero_allocataire)], "codePostal": [code_postal or ""]}
        return AllocataireNumbers.parse(numbers).citizen_id
    except BadRequest as error:
        raise click.UsageError(error.message) from None


@click.group()
def citizen() -> None:
    """Tell a citizen who consulted their data."""


@citizen.command()
@of_a_citizen
@on_a_deployment
def access(
    on: Deployment,
    *,
    numero_fiscal: str | None,
    numero_allocataire: str | None,
    code_postal: str | None,
    as_json: bool,
) -> None:
    """Show every access to a citizen's data that the audit holds, the latest first.

    You answer for having checked who asks: unlike the public route, nothing here puts the numbers to the provider.
    """
    log = access_log.access_log(
        on.archive, citizen_of(numero_fiscal, numero_allocataire, code_postal), datetime.now(UTC)
    )
    if as_json:
        print_json(log)
        return
    click.echo(f"{log['total']} accesses from {log['periode']['debut']} to {log['periode']['fin']}")
    for one in log["acces"]:
        fields = ", ".join(one["champs"]) or "nothing"
        click.echo(f"{one['date']}  {one['statut']}  {one['administration']} ({one['siret']}): {fields}")
