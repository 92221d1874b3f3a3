"""``api-particulier habilitations``: list habilitations, decide on them, hand their keys over."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from pydantic import ValidationError

from api_particulier.habilitations.key_link import LIFETIME
from api_particulier.habilitations.model import (
    LONGEST,
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
from ops.cli.options import Scopes, Siret, Text, print_json, print_table, print_text, recorded, shown, with_deployment
from ops.deployment import Deployment
from ops.dry_run import dry_run
from ops.functions import datasets


@click.group()
def habilitations() -> None:
    """List, approve, refuse and revoke habilitations, and hand their keys over."""


_of_a_habilitation = click.argument("habilitation_id", metavar="ID")


@habilitations.command(name="list")
@click.option("--vendor", type=Siret(), help="Only those that this software vendor requested: its SIRET.")
@click.option("--state", type=click.Choice([state.value for state in State]), help="Only those in this state.")
@with_deployment
def list_habilitations(deployment: Deployment, *, vendor: str | None, state: str | None, as_json: bool) -> None:
    """List habilitations; with --vendor, those of a software vendor, each with its own keys and rate limit."""
    listed = deployment.habilitations.list_for_vendor(vendor) if vendor else deployment.habilitations.list_all()
    described = [
        _describe(habilitation) | ({"keys": _keys(deployment, habilitation)} if vendor else {})
        for habilitation in listed
        if state is None or habilitation.state == state
    ]
    if as_json:
        print_json(described)
    else:
        columns = ("id", "state", "siret", "organisation", "scopes")
        print_table(described, columns, "There is no such habilitation.")


@habilitations.command()
@_of_a_habilitation
@recorded
def show(deployment: Deployment, habilitation_id: str, *, as_json: bool) -> None:
    """Show a habilitation: its request, its scopes, its contacts, its keys, its history."""
    habilitation = deployment.habilitations.find(habilitation_id)
    history = [entry.model_dump(mode="json") for entry in deployment.habilitations.history(habilitation_id)]
    contacts = [contact.model_dump() for contact in habilitation.request.contacts] if habilitation.request else []
    described = _describe(habilitation) | {
        "contacts": contacts,
        "keys": _keys(deployment, habilitation),
        "history": history,
    }
    if as_json:
        print_json(described)
        return
    print_text(
        described
        | {
            "contacts": [f"{contact['role']} {contact['email']}" for contact in contacts],
            "keys": [key["id"] for key in described["keys"]],
            "history": [f"{shown(entry['received'])} {entry['event']} by {entry['who']}" for entry in history],
        }
    )


@habilitations.command()
@click.argument("habilitation_id", metavar="[ID]", required=False)
@click.option("--kind", type=click.Choice([kind.value for kind in ApplicantType]), help="The type of applicant.")
@click.option("--organisation", type=Text(LONGEST["organisation"]), help="The name of the administration.")
@click.option("--siret", type=Siret(), help="Its SIRET.")
@click.option("--vendor", type=Siret(), help="The SIRET of the software vendor that applies for it.")
@click.option("--vendor-name", type=Text(LONGEST["organisation"]), default="", help="The vendor's name.")
@click.option("--purpose", type=Text(LONGEST["purpose"]), default="", help="The purpose.")
@click.option(
    "--justification",
    type=Text(LONGEST["justification"]),
    default="",
    help="How it simplifies a procedure for citizens, and why it is lawful.",
)
@click.option(
    "--legal-basis", type=Text(LONGEST["legal_basis"]), help="The legal basis, if it is not article L114-8 of the CRPA."
)
@click.option("--scopes", type=Scopes(), help="The scopes to grant, separated by commas.")
@click.option("--applicant", default="", metavar="EMAIL", help="The e-mail address of the applicant.")
@click.option("--technical", default="", metavar="EMAIL", help="The e-mail address of the technical contact.")
@recorded
def grant(deployment: Deployment, habilitation_id: str | None, *, reason: str, as_json: bool, **options: Any) -> None:
    """Approve the request ID, with its own scopes or those given; without ID, create a habilitation. Makes the key.

    The key is not shown: `habilitations link` hands it over.
    """
    request: Request | None
    if habilitation_id is None:
        habilitation_id, request = operators.new_id(), _request(options)
    else:
        known = deployment.habilitations.find(habilitation_id).request
        scopes = options["scopes"]
        request = known.model_copy(update={"scopes": tuple(scopes)}) if known and scopes else known
    _decide(deployment, habilitation_id, HabilitationEventType.APPROVE, reason, request=request, as_json=as_json)


@habilitations.command()
@_of_a_habilitation
@recorded
def refuse(deployment: Deployment, habilitation_id: str, *, reason: str, as_json: bool) -> None:
    """Refuse a request; a refused change of an approved habilitation leaves it as it was."""
    deployment.habilitations.find(habilitation_id)
    _decide(deployment, habilitation_id, HabilitationEventType.REFUSE, reason, as_json=as_json)


@habilitations.command()
@_of_a_habilitation
@recorded
def revoke(deployment: Deployment, habilitation_id: str, *, reason: str, as_json: bool) -> None:
    """Revoke a habilitation and its keys, at once."""
    deployment.habilitations.find(habilitation_id)
    _decide(deployment, habilitation_id, HabilitationEventType.REVOKE, reason, as_json=as_json)


@habilitations.command()
@click.option("--show", is_flag=True, help="Only show what would be processed.")
@recorded
def replay(deployment: Deployment, *, show: bool, as_json: bool) -> None:
    """Process the DataPass events of the dead-letter queue again; those that fail stay in it.

    Look at them first with --show. An event that DataPass did not sign is never processed.
    """
    replayed = operators.replay(deployment, datetime.now(UTC), changes=not show)
    described = [asdict(result) for result in replayed]
    if as_json:
        print_json(described)
    else:
        print_table(described, ("habilitation", "event", "outcome"), "No event was set aside.")


@habilitations.command()
@_of_a_habilitation
@recorded
def link(deployment: Deployment, habilitation_id: str, *, as_json: bool) -> None:
    """Make a one-time link and print it: it shows the latest key once, within 4 hours, to its first visitor.

    A key that was shown before cannot be shown again: the link is then to a new key, which replaces it in 30 days.
    """
    now = datetime.now(UTC)
    address, token = operators.link(deployment, habilitation_id, now)
    (print_json if as_json else print_text)(
        {"link": address, "token_id": token.id, "expires": (now + LIFETIME).isoformat(timespec="seconds")}
    )


@habilitations.command(name="dry-run")
@click.option("--scopes", required=True, type=Scopes(), help="The scopes to try, separated by commas.")
@click.option("--dataset", metavar="NAME", help="Only this dataset.")
@with_deployment
def try_scopes(_deployment: Deployment, *, scopes: list[str], dataset: str | None, as_json: bool) -> None:
    """Show the responses that a set of scopes would give about a fictitious citizen; no provider is called."""
    if dataset not in {None, *(names := [declared.name for declared in datasets()])}:
        raise click.UsageError(f"the datasets are {', '.join(names)}")
    tried = dry_run(scopes, dataset)
    if as_json:
        print_json(tried)
        return
    for name, response in tried["datasets"].items():
        click.echo(f"{name} ({response['route']}): {response['status']}")
        print_json(response["body"])
    if tried["unknown"]:
        click.echo(f"Unknown scopes: {', '.join(tried['unknown'])}", err=True)


def _request(options: dict[str, Any]) -> Request:
    missing = [f"--{name}" for name in ("kind", "organisation", "siret", "scopes") if not options[name]]
    if missing:
        raise click.UsageError(f"a new habilitation needs {', '.join(missing)}")
    basis = {"legal_basis": options["legal_basis"]} if options["legal_basis"] else {}
    emails = {"applicant": options["applicant"], "technical": options["technical"]}
    try:
        return Request(
            kind=options["kind"],
            organisation=options["organisation"],
            siret=options["siret"],
            vendor=Vendor(name=options["vendor_name"], siret=options["vendor"]) if options["vendor"] else None,
            purpose=options["purpose"],
            justification=options["justification"],
            scopes=tuple(options["scopes"]),
            contacts=tuple(Contact(role=role, email=email) for role, email in emails.items() if email),
            **basis,
        )
    except ValidationError:
        msg = "a SIRET has 14 digits, of which the last is computed from the others"
        raise UnprocessableEvent(msg) from None


def _describe(habilitation: Habilitation) -> dict[str, Any]:
    request = habilitation.request
    return {
        "id": habilitation.id,
        "state": habilitation.state.value,
        "reopened": habilitation.reopened,
        "kind": request.kind.value if request else None,
        "organisation": request.organisation if request else None,
        "siret": request.siret if request else None,
        "vendor": request.vendor.siret if request and request.vendor else None,
        "purpose": request.purpose if request else None,
        "legal_basis": request.legal_basis if request else None,
        "asked": sorted(request.scopes) if request else [],
        "scopes": sorted(habilitation.granted),
        "unknown": sorted(habilitation.unknown),
        "token_id": habilitation.token_id,
        "expires": habilitation.expires.isoformat() if habilitation.expires else None,
    }


def _keys(deployment: Deployment, habilitation: Habilitation) -> list[dict[str, Any]]:
    return [
        {
            "id": token.id,
            "scopes": sorted(token.scopes),
            "expires": token.expires.isoformat() if token.expires else None,
        }
        for token in active_keys(deployment.key_store, habilitation.id, datetime.now(UTC))
    ]


def _decide(  # noqa: PLR0913 - the parts of a decision, each by its name
    deployment: Deployment,
    habilitation_id: str,
    event: HabilitationEventType,
    reason: str,
    *,
    request: Request | None = None,
    as_json: bool,
) -> None:
    """Apply a decision, and print the habilitation."""
    changed = operators.decide(deployment, habilitation_id, event, datetime.now(UTC), request=request, note=reason)
    described = _describe(changed) | {"keys": [key["id"] for key in _keys(deployment, changed)]}
    (print_json if as_json else print_text)(described)
