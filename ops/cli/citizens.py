"""``api-particulier citizen``: the accesses to the data of a citizen."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs

import click

from api_particulier.api.identity import Identity, forms
from api_particulier.api.parameters import AllocataireNumbers, AvisNumbers
from api_particulier.audit import access_log
from api_particulier.errors import BadRequest
from api_particulier.v3_errors import InvalidRequest
from ops.cli.options import print_json, shown, verb_path, with_deployment, with_reason
from ops.deployment import Deployment
from ops.operators import record_act

_ANY_RECIPIENT: Final = "35600000000048"
"""An identity is parsed with a recipient; a search has none."""


def _precision(access: Mapping[str, Any]) -> str:
    return f" ({access['precision']})" if "precision" in access else ""


def with_citizen[**P](verb: Callable[P, None]) -> Callable[P, None]:
    """Add the options that identify a citizen; ``citizen_of`` reads them."""
    for option in (
        click.option("--code-postal", help="The postcode of the CAF file."),
        click.option("--numero-allocataire", help="The number of the CAF file; requires --code-postal."),
        click.option(
            "--numero-fiscal", help="The tax number. Left out, it is asked for, and stays out of the shell's history."
        ),
    ):
        verb = option(verb)
    return verb


def citizen_of(numero_fiscal: str | None, numero_allocataire: str | None, code_postal: str | None) -> str:
    """Return the normalised identifier of a citizen; without numbers, ask for them at a prompt."""
    if not (numero_fiscal or numero_allocataire):
        numero_fiscal = click.prompt("numeroFiscal (blank for a CAF file)", default="", hide_input=True, err=True)
        if not numero_fiscal:
            numero_allocataire = click.prompt("numeroAllocataire", hide_input=True, err=True)
            code_postal = click.prompt("codePostal", hide_input=True, err=True)
    if numero_fiscal and numero_allocataire:
        raise click.UsageError("either a tax number or a number at the CAF")
    try:
        if numero_fiscal:  # any well-formed notice reference: the identifier is the tax number alone
            return AvisNumbers.parse({"numeroFiscal": [numero_fiscal], "referenceAvis": ["0" * 13]}).citizen_id
        numbers = {"numeroAllocataire": [str(numero_allocataire)], "codePostal": [code_postal or ""]}
        return AllocataireNumbers.parse(numbers).citizen_id
    except BadRequest as error:
        raise click.UsageError(error.message) from None


@click.group()
def citizen() -> None:
    """Answer a citizen about the accesses to their data."""


def identity_of(text: str) -> Identity:
    """Return the identity that is written as a query of v3, ``nomNaissance=…&prenoms[]=…`` and so on."""
    query = parse_qs(text.removeprefix("?"))
    try:
        return Identity.parse(query | {"recipient": [_ANY_RECIPIENT]})
    except InvalidRequest as error:
        details = (refusal.to_object("dss")["detail"] for refusal in error.refusals)
        raise click.UsageError(" ".join(details)) from None


def _log_of_identity(deployment: Deployment, identity: Identity, now: datetime) -> dict[str, Any]:
    """Return the log of a person under each form of their identity; each access has its ``precision``."""
    logs = {
        precision: access_log.access_log(deployment.accesses, form, now) for form, precision in forms(identity).items()
    }
    rows = [row | {"precision": precision} for precision, log in logs.items() for row in log["acces"]]
    whole = next(iter(logs.values()))
    return whole | {
        "total": sum(log["total"] for log in logs.values()),
        "acces": sorted(rows, key=lambda row: str(row["date"]), reverse=True),
        "suivant": None,
    }


@citizen.command(name="access")
@with_citizen
@click.option(
    "--identite",
    help="A civil identity, as v3 takes it: 'nomNaissance=…&prenoms[]=…&codeCogInseePaysNaissance=…'."
    " The search looks under every part of it that a caller may have left out.",
)
@click.option("--suivant", "cursor", help="The next page: the `suivant` of the page before.")
@with_reason
@with_deployment
def list_accesses(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment,
    *,
    reason: str,
    numero_fiscal: str | None,
    numero_allocataire: str | None,
    code_postal: str | None,
    identite: str | None,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List the accesses to a citizen's data that the audit holds, the latest first.

    Check the identity of the person before answering: unlike the public route, this command does not verify the
    numbers with the provider. The citizen sees, in their own log, that an operator looked.
    """
    identity = identity_of(identite) if identite else None
    citizen_id = identity.citizen_id if identity else citizen_of(numero_fiscal, numero_allocataire, code_postal)
    record_act(deployment, verb_path(), reason=reason, citizen_id=citizen_id)
    now = datetime.now(UTC)
    if identity:
        log = _log_of_identity(deployment, identity, now)
    else:
        log = access_log.access_log(deployment.accesses, citizen_id, now, cursor)
    if as_json:
        print_json(log)
        return
    click.echo(f"{log['total']} accesses from {log['periode']['debut']} to {log['periode']['fin']}")
    for access in log["acces"]:
        fields = ", ".join(access["champs"]) or "nothing"
        times = f" ×{access['nombre']}" if access["nombre"] > 1 else ""
        place = f"{access['administration']} ({access['siret']})"
        click.echo(f"{shown(access['date'])}{times}  {access['statut']}  {place}: {fields}{_precision(access)}")
    if log["suivant"]:
        click.echo(f"More: --suivant {log['suivant']}")
