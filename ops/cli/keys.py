"""``api-particulier keys``: the keys of administrations, from their issue to their end."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from time import sleep
from typing import Any

import click

from api_particulier.habilitations import expiry_reminders
from api_particulier.habilitations.model import LONGEST
from api_particulier.keys import lifecycle
from api_particulier.keys.token import REVOKED, Token
from ops.cli.options import (
    Future,
    Moment,
    Scopes,
    Siret,
    Text,
    print_json,
    print_table,
    print_text,
    recorded,
    with_deployment,
)
from ops.deployment import Deployment
from ops.keys import LOOKED_BACK, check_tokens, forget_suspicions, last_use, last_uses, move_secrets, scopes_used


@click.group()
def keys() -> None:
    """Issue, list, change and revoke the keys of administrations."""


_of_a_key = click.argument("token_id", metavar="ID")
_DAYS = click.IntRange(1, 36 * 31)


class _Network(click.ParamType[str]):
    """A range of IPv4 or IPv6 addresses."""

    name = "cidr"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> str:
        try:
            return str(ip_network(value))
        except ValueError:
            self.fail("a range of addresses such as 192.0.2.0/24 or 2001:db8::/32")


@keys.command()
@click.option(
    "--organisation", type=Text(LONGEST["organisation"]), required=True, help="The name of the administration."
)
@click.option("--siret", required=True, type=Siret(), help="Its SIRET, 14 digits.")
@click.option(
    "--scopes", required=True, type=Scopes(known=True), help="The scopes that the key opens, separated by commas."
)
@click.option("--expires", type=Future(), help="When the key stops working, in Paris time; in 18 months by default.")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    type=_Network(),
    help="Only accept calls from this range. Repeatable.",
)
@click.option("--purpose", type=Text(LONGEST["purpose"]), help="The purpose of the key, kept in every audit record.")
@click.option("--id", "token_id", help="Finish an interrupted command: the id that it printed.")
@recorded
def issue(  # noqa: PLR0913 - one parameter an option
    deployment: Deployment,
    *,
    organisation: str,
    siret: str,
    scopes: list[str],
    expires: datetime | None,
    allowed: tuple[str, ...],
    purpose: str | None,
    token_id: str | None,
    as_json: bool,
) -> None:
    """Issue a key and print it.

    Send it through a secure channel and keep no copy. With --id, a key that was lost on its way is drawn again, within
    10 minutes.
    """
    now = datetime.now(UTC)
    token_id = token_id or lifecycle.NewToken.new_id()
    click.echo(
        f"Issuing {token_id}. If this is interrupted, run the same command again with --id {token_id}.", err=True
    )
    new = lifecycle.NewToken(
        id=token_id,
        organisation=organisation,
        siret=siret,
        scopes=frozenset(scopes),
        expires=expires or now.replace(microsecond=0) + lifecycle.LIFETIME,
        allowed=allowed,
        purpose=purpose,
    )
    _print_key(deployment, lifecycle.issue(deployment.key_store, new, now), as_json=as_json)


@keys.command(name="list")
@click.option("--unused-since", type=_DAYS, metavar="DAYS", help="Only active keys without a call for this many days.")
@with_deployment
def list_keys(deployment: Deployment, *, unused_since: int | None, as_json: bool) -> None:
    """List the keys, the latest first."""
    tokens = lifecycle.list_all(deployment.key_store)
    if unused_since is not None:
        now = datetime.now(UTC)
        since = now - timedelta(days=unused_since)
        old = [token for token in tokens if token.is_active(now) and token.created <= since]
        uses = last_uses(deployment.reader, old, since, now)
        tokens = [token for token in old if uses[token.id] is None]
    described = [_describe(token) for token in tokens]
    if as_json:
        print_json(described)
    else:
        print_table(described, ("id", "state", "expires", "organisation", "scopes"), "There is no such key.")


@keys.command()
@with_deployment
def ending(deployment: Deployment, *, as_json: bool) -> None:
    """List the keys that expire within 90 days or expired this month, with the recipients of their reminders."""
    expiring = expiry_reminders.expiring_keys(deployment.key_store, deployment.habilitations, datetime.now(UTC))
    keys_by_end = sorted(expiring, key=lambda key: key.ends)
    described = [_describe_expiry(key) for key in keys_by_end]
    if as_json:
        print_json(described)
    else:
        rows = [row | {"reminded": row["told"]} for row in described]
        print_table(rows, ("id", "days", "expires", "organisation", "reminded"), "No key ends soon.")


def _describe_expiry(key: expiry_reminders.ExpiringKey) -> dict[str, Any]:
    return {
        "id": key.token.id,
        "organisation": key.token.organisation,
        "expires": key.ends.isoformat(),
        "days": key.days,
        "told": list(key.recipients),
    }


@keys.command()
@_of_a_key
@with_deployment
def show(deployment: Deployment, token_id: str, *, as_json: bool) -> None:
    """Show a token and the date of its last call within 90 days; never the key itself."""
    token, now = lifecycle.find(deployment.key_store, token_id), datetime.now(UTC)
    used = last_use(deployment.reader, token, now - LOOKED_BACK, now)
    described = _describe(token) | {"last_use": used.isoformat(timespec="seconds") if used else None}
    (print_json if as_json else print_text)(described)


@keys.command()
@_of_a_key
@click.option(
    *("--overlap", "days"),
    type=click.IntRange(0, 90),
    default=lifecycle.OVERLAP.days,
    show_default=True,
    metavar="DAYS",
    help="Days during which the old key still works.",
)
@recorded
def rotate(deployment: Deployment, token_id: str, *, days: int, as_json: bool) -> None:
    """Issue a second key with the same scopes, and print it; the old key works until the overlap ends."""
    token = lifecycle.find(deployment.key_store, token_id)
    new = lifecycle.rotate(deployment.key_store, token, timedelta(days=days), datetime.now(UTC))
    _add_history(deployment, new, "key_rotated")
    _print_key(deployment, new, as_json=as_json)


@keys.command()
@_of_a_key
@click.option("--expires", required=True, type=Moment(), help="From when it no longer works, in Paris time.")
@recorded
def prolong(deployment: Deployment, token_id: str, *, expires: datetime, as_json: bool) -> None:
    """Change the end of a key; an expired key works again."""
    token = lifecycle.find(deployment.key_store, token_id)
    changed = lifecycle.extend(deployment.key_store, token, expires, datetime.now(UTC))
    _add_history(deployment, changed, "key_prolonged")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@click.option("--scopes", required=True, type=Scopes(), help="The scopes to keep, separated by commas.")
@recorded
def narrow(deployment: Deployment, token_id: str, *, scopes: list[str], as_json: bool) -> None:
    """Remove scopes from a key, within a minute; the key itself does not change."""
    token = lifecycle.find(deployment.key_store, token_id)
    changed = lifecycle.reduce_scopes(deployment.key_store, token, frozenset(scopes))
    _add_history(deployment, changed, "key_narrowed")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@click.argument("ranges", metavar="[CIDR]...", nargs=-1, type=_Network())
@click.option("--anywhere", is_flag=True, help="Accept calls from any address.")
@recorded
def allow(deployment: Deployment, token_id: str, ranges: tuple[str, ...], *, anywhere: bool, as_json: bool) -> None:
    """Accept the calls of a key from these ranges of addresses only, within a minute."""
    if anywhere is bool(ranges):
        raise click.UsageError("say ranges, or --anywhere")
    changed = lifecycle.set_allowed_ips(deployment.key_store, lifecycle.find(deployment.key_store, token_id), ranges)
    _add_history(deployment, changed, "key_allowed")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@click.option("--people", required=True, type=click.IntRange(1, 1_000_000), help="People asked about in a day.")
@click.option("--unknown", required=True, type=click.IntRange(1, 20_000), help="Those unknown to the provider.")
@recorded
def size(deployment: Deployment, token_id: str, *, people: int, unknown: int, as_json: bool) -> None:
    """Set how many people a key may ask about in a day, within a minute; the alarm rings at half."""
    token = lifecycle.find(deployment.key_store, token_id)
    changed = lifecycle.set_daily_bounds(deployment.key_store, token, people, unknown)
    _add_history(deployment, changed, "key_sized")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@recorded
def revoke(deployment: Deployment, token_id: str, *, as_json: bool) -> None:
    """Revoke a key, at once and for good."""
    changed = lifecycle.revoke(deployment.key_store, lifecycle.find(deployment.key_store, token_id))
    _add_history(deployment, changed, "key_revoked")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@recorded
def resume(deployment: Deployment, token_id: str, *, as_json: bool) -> None:
    """Reactivate a key that was suspended for enumeration, and delete what is recorded against it."""
    token = lifecycle.find(deployment.key_store, token_id)
    forget_suspicions(deployment.stats, token)
    changed = lifecycle.resume(deployment.key_store, token, datetime.now(UTC))
    _add_history(deployment, changed, "key_resumed")
    _print_token(changed, as_json=as_json)


@keys.command(name="unused-scopes")
@_of_a_key
@click.option("--days", type=_DAYS, default=90, show_default=True, metavar="DAYS", help="Days to look back.")
@with_deployment
def unused_scopes(deployment: Deployment, token_id: str, *, days: int, as_json: bool) -> None:
    """List the scopes of a key that released no field; a bundle is shown as the scopes that it contains.

    Some fields are rare at the providers: ask the administration before removing a scope.
    """
    token, now = lifecycle.find(deployment.key_store, token_id), datetime.now(UTC)
    usage = scopes_used(deployment.reader, token, now - timedelta(days=days), now)
    described = {
        "id": token.id,
        "scopes": sorted(token.scopes),
        "days": days,
        "calls": usage.calls,
        "used": list(usage.used),
        "unused": list(usage.unused),
    }
    (print_json if as_json else print_text)(described)


@keys.command()
@recorded
def repair(deployment: Deployment, *, as_json: bool) -> None:
    """Cancel interrupted issues, and revoke the keys that expired 90 days ago or more."""
    now = datetime.now(UTC)
    undone = lifecycle.stale_issuances(deployment.key_store, now)
    ended = lifecycle.long_expired(deployment.key_store, now)
    for token_id in undone:
        lifecycle.cancel_issuance(deployment.key_store, token_id)
    for token in ended:
        _add_history(deployment, lifecycle.revoke(deployment.key_store, token), "key_revoked")
    (print_json if as_json else print_text)({"undone": undone, "revoked": [token.id for token in ended]})


@keys.command()
@with_deployment
def check(deployment: Deployment, *, as_json: bool) -> None:
    """Compare every key with what signed it, with its habilitation and with the gateway; exit code 1 for a difference.

    To be run each night.
    """
    found = check_tokens(deployment.key_store, deployment.habilitations)
    if as_json:
        print_json([asdict(problem) for problem in found])
    else:
        click.echo("\n".join(f"{problem.token}  {problem.text}" for problem in found) or "No key differs.")
    if found:
        raise click.exceptions.Exit(1)


@keys.command()
@recorded
def sign(deployment: Deployment, *, as_json: bool) -> None:
    """Sign the keys that were issued before tokens were signed; once, after the deployment that signs them."""
    signed = [
        token.id
        for token in lifecycle.list_all(deployment.key_store)
        if token.version == 0 and token.mac is None and token.state != REVOKED and deployment.key_store.sign(token)
    ]
    (print_json if as_json else print_text)({"signed": signed})


@keys.command()
@click.option(
    "--wait",
    type=click.IntRange(0, 3600),
    default=180,
    show_default=True,
    metavar="SECONDS",
    help="Before former values leave the gateway, which functions and the gateway remember for a minute each.",
)
@recorded
def move(deployment: Deployment, *, wait: int, as_json: bool) -> None:
    """Take the secrets of keys issued before the authoriser out of the gateway; callers change nothing."""
    moved = move_secrets(deployment.key_store)
    if moved.former:
        click.echo(f"Waiting {wait} seconds before the former values are deleted.", err=True)
        sleep(wait)
    for gateway_key in (each for ids in moved.former.values() for each in ids):
        deployment.key_store.delete_gateway_key(gateway_key)
    (print_json if as_json else print_text)({"moved": list(moved.former), "left": list(moved.left)})


def _add_history(deployment: Deployment, token: Token, change: str) -> None:
    """Add a change of a key to the history of its habilitation, if it has one."""
    if token.habilitation:
        deployment.habilitations.add_history(token.habilitation, change, deployment.operator, datetime.now(UTC))


def _print_key(deployment: Deployment, token: Token, *, as_json: bool) -> None:
    key, described = lifecycle.draw(deployment.key_store, token, datetime.now(UTC)), _describe(token)
    if as_json:
        print_json({"id": token.id, "key": key} | {name: described[name] for name in ("scopes", "expires")})
    else:
        print_text({"key": key} | described)


def _print_token(token: Token, *, as_json: bool) -> None:
    (print_json if as_json else print_text)(_describe(token))


def _describe(token: Token) -> dict[str, Any]:
    expired = token.state == "active" and not token.is_active(datetime.now(UTC))
    return {
        "id": token.id,
        "organisation": token.organisation,
        "siret": token.siret,
        "habilitation": token.habilitation,
        "scopes": sorted(token.scopes),
        "state": "expired" if expired else token.state,
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "allowed": list(token.allowed),
        "people_a_day": token.people_a_day,
        "unknown_a_day": token.unknown_a_day,
        "purpose": token.purpose,
        "replaces": token.replaces,
    }
