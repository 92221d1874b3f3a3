"""``api-particulier habilitations``: what an operator asks and decides about habilitations."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from pydantic import ValidationError

from api_particulier.habilitations.key_link import LIFETIME
from api_particulier.habilitations.model import (
    ApplicantType,
    Contact,
    Habilitation,
    HabilitationEventType,
    Request,
    State,
    UnprocessableEvent,
    Vendor,
)
from api_particulier.habilitations.provisioning import active_keys
from ops import habilitations as operators
from ops.cli.options import Scopes, Siret, on_a_deployment, print_json, print_text
from ops.deployment import Deployment
from ops.dry_run import dry_run
from ops.functions import datasets


@click.group()
def habilitations() -> None:
    """Who is entitled to what: listed, granted, refused, revoked; their keys handed over."""


_of_a_habilitation = click.argument("habilitation_id", metavar="ID")
_because = click.option("--reason", "note", default="", help="Why; kept in the history. Name nobody.")


@habilitations.command(name="list")
@click.option("--vendor", type=Siret(), help="Only those that this software vendor asked for: its SIRET.")
@click.option("--state", type=click.Choice([one.value for one in State]), help="Only those in this state.")
@on_a_deployment
def list_habilitations(on: Deployment, *, vendor: str | None, state: str | None, as_json: bool) -> None:
    """List habilitations; with --vendor, the administrations that it serves, each with its own keys and limit."""
    found = on.register.list_for_vendor(vendor) if vendor else on.register.list_all()
    described = [
        _describe(one) | ({"keys": _keys(on, one)} if vendor else {})
        for one in found
        if state is None or one.state == state
    ]
    if as_json:
        print_json(described)
    for one in [] if as_json else described:
        click.echo(f"{one['id']}  {one['state']:17}  {one['siret'] or '':14}  {one['organisation'] or ''}")


@habilitations.command()
@_of_a_habilitation
@on_a_deployment
def show(on: Deployment, habilitation_id: str, *, as_json: bool) -> None:
    """Show a habilitation: what is asked and granted, its contacts, its keys, its history."""
    found = on.register.find(habilitation_id)
    steps = [one.model_dump(mode="json") for one in on.register.history(habilitation_id)]
    contacts = [one.model_dump() for one in found.request.contacts] if found.request else []
    described = _describe(found) | {"contacts": contacts, "keys": _keys(on, found), "history": steps}
    if as_json:
        print_json(described)
        return
    lines = [f"{one['received'][:19]} {one['event']} by {one['who']}" for one in steps]
    people = [f"{one['role']} {one['email']}" for one in contacts]
    print_text(described | {"contacts": people, "keys": [one["id"] for one in described["keys"]], "history": lines})


@habilitations.command()
@click.argument("habilitation_id", metavar="[ID]", required=False)
@click.option("--kind", type=click.Choice([one.value for one in ApplicantType]), help="Who asks.")
@click.option("--organisation", help="The administration that is entitled.")
@click.option("--siret", type=Siret(), help="Its SIRET.")
@click.option("--vendor", type=Siret(), help="The SIRET of the vendor that asks for it.")
@click.option("--vendor-name", default="", help="The vendor's name.")
@click.option("--purpose", default="", help="What for.")
@click.option("--justification", default="", help="How it makes things simpler for citizens, and why it is entitled.")
@click.option("--legal-basis", help="By what law, when it is not article L114-8 of the CRPA.")
@click.option("--scopes", type=Scopes(), help="What is granted.")
@click.option("--applicant", default="", metavar="EMAIL", help="The address of who asks.")
@click.option("--technical", default="", metavar="EMAIL", help="The address of who installs the key.")
@_because
@on_a_deployment
def grant(on: Deployment, habilitation_id: str | None, *, note: str, as_json: bool, **told: Any) -> None:
    """Grant the request ID as it was asked, or with the scopes said; without ID, a new one. Makes the key.

    The key is not shown: `habilitations link` hands it over.
    """
    request: Request | None
    if habilitation_id is None:
        request = _request(told)
    else:
        known = on.register.find(habilitation_id).request
        request = known.model_copy(update={"scopes": tuple(told["scopes"])}) if known and told["scopes"] else known
    standing = operators.tell(
        on,
        habilitation_id or operators.new_id(),
        HabilitationEventType.APPROVE,
        datetime.now(UTC),
        request=request,
        note=note,
    )
    _print(on, standing, as_json=as_json)


@habilitations.command()
@_of_a_habilitation
@_because
@on_a_deployment
def refuse(on: Deployment, habilitation_id: str, *, note: str, as_json: bool) -> None:
    """Refuse a request; of one that changes an approved one, what was approved stands."""
    on.register.find(habilitation_id)
    _print(
        on,
        operators.tell(on, habilitation_id, HabilitationEventType.REFUSE, datetime.now(UTC), note=note),
        as_json=as_json,
    )


@habilitations.command()
@_of_a_habilitation
@_because
@on_a_deployment
def revoke(on: Deployment, habilitation_id: str, *, note: str, as_json: bool) -> None:
    """Revoke a habilitation, and take its keys away at once."""
    on.register.find(habilitation_id)
    _print(
        on,
        operators.tell(on, habilitation_id, HabilitationEventType.REVOKE, datetime.now(UTC), note=note),
        as_json=as_json,
    )


@habilitations.command()
@on_a_deployment
def replay(on: Deployment, *, as_json: bool) -> None:
    """Process again the events of DataPass that were set aside; those that still cannot be stay there."""
    replayed = [asdict(one) for one in operators.replay(on, datetime.now(UTC))]
    if as_json:
        print_json(replayed)
    for one in [] if as_json else replayed:
        click.echo(f"{one['habilitation'] or '-'}  {one['event'] or '-'}  {one['outcome']}")


@habilitations.command()
@_of_a_habilitation
@on_a_deployment
def link(on: Deployment, habilitation_id: str, *, as_json: bool) -> None:
    """Make a link that shows the latest key once, within 4 hours, and print it: whoever opens it has the key."""
    now = datetime.now(UTC)
    address, token = operators.link(on, habilitation_id, now)
    (print_json if as_json else print_text)(
        {"link": address, "token_id": token.id, "expires": (now + LIFETIME).isoformat(timespec="seconds")}
    )


@habilitations.command(name="dry-run")
@click.option("--scopes", required=True, type=Scopes(), help="What a key would open.")
@click.option("--dataset", metavar="NAME", help="Only of this dataset.")
@on_a_deployment
def try_scopes(_on: Deployment, *, scopes: list[str], dataset: str | None, as_json: bool) -> None:
    """Tell what a set of scopes would return of somebody who does not exist; no provider is asked."""
    if dataset not in {None, *(names := [one.name for one in datasets()])}:
        raise click.UsageError(f"the datasets are {', '.join(names)}")
    tried = dry_run(scopes, dataset)
    if as_json:
        print_json(tried)
        return
    for name, answer in tried["datasets"].items():
        click.echo(f"{name} ({answer['route']}): {answer['status']}")
        print_json(answer["body"])
    if tried["unknown"]:
        click.echo(f"Unknown scopes: {', '.join(tried['unknown'])}", err=True)


def _request(told: dict[str, Any]) -> Request:
    missing = [f"--{name}" for name in ("kind", "organisation", "siret", "scopes") if not told[name]]
    if missing:
        raise click.UsageError(f"a new habilitation needs {', '.join(missing)}")
    basis = {"legal_basis": told["legal_basis"]} if told["legal_basis"] else {}
    emails = {"applicant": told["applicant"], "technical": told["technical"]}
    try:
        return Request(
            kind=told["kind"],
            organisation=told["organisation"],
            siret=told["siret"],
            vendor=Vendor(name=told["vendor_name"], siret=told["vendor"]) if told["vendor"] else None,
            purpose=told["purpose"],
            justification=told["justification"],
            scopes=tuple(told["scopes"]),
            contacts=tuple(Contact.model_validate({"role": role, "email": at}) for role, at in emails.items() if at),
            **basis,
        )
    except ValidationError:
        msg = "a SIRET has 14 digits, of which the last is computed from the others"
        raise UnprocessableEvent(msg) from None


def _describe(found: Habilitation) -> dict[str, Any]:
    request = found.request
    return {
        "id": found.id,
        "state": found.state.value,
        "reopened": found.reopened,
        "kind": request.kind.value if request else None,
        "organisation": request.organisation if request else None,
        "siret": request.siret if request else None,
        "vendor": request.vendor.siret if request and request.vendor else None,
        "purpose": request.purpose if request else None,
        "legal_basis": request.legal_basis if request else None,
        "asked": sorted(request.scopes) if request else [],
        "scopes": sorted(found.granted),
        "unknown": sorted(found.unknown),
        "token_id": found.token_id,
        "expires": found.expires.isoformat() if found.expires else None,
    }


def _keys(on: Deployment, found: Habilitation) -> list[dict[str, Any]]:
    return [
        {"id": one.id, "scopes": sorted(one.scopes), "expires": one.expires.isoformat() if one.expires else None}
        for one in active_keys(on.gateway, found.id, datetime.now(UTC))
    ]


def _print(on: Deployment, standing: Habilitation, *, as_json: bool) -> None:
    described = _describe(standing) | {"keys": [one["id"] for one in _keys(on, standing)]}
    (print_json if as_json else print_text)(described)
