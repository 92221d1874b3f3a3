"""``api-particulier keys``: the keys of administrations, from their issue to their end."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import click

from api_particulier.habilitations import expiry_reminders
from api_particulier.keys import lifecycle
from api_particulier.keys.token import Token
from ops import keys as operators
from ops.cli.options import Moment, Scopes, Siret, on_a_deployment, print_json, print_text
from ops.deployment import Deployment


@click.group()
def keys() -> None:
    """The keys of administrations, from their issue to their end."""


_of_a_key = click.argument("token_id", metavar="ID")
_DAYS = click.IntRange(1, 36 * 31)


class _Network(click.ParamType[str]):
    name = "cidr"

    def convert(self, value: Any, _param: click.Parameter | None, _context: click.Context | None) -> str:
        try:
            return str(ip_network(value))
        except ValueError:
            self.fail("a range of addresses such as 192.0.2.0/24 or 2001:db8::/32")


@keys.command()
@click.option("--organisation", required=True, help="The administration that the key is for.")
@click.option("--siret", required=True, type=Siret(), help="Its SIRET, 14 digits.")
@click.option("--scopes", required=True, type=Scopes(), help="What the key opens: contract §4.")
@click.option("--expires", type=Moment(), help="From when it no longer works. In 18 months by default.")
@click.option("--allow", "allowed", multiple=True, type=_Network(), help="Only from this range. Repeatable.")
@click.option("--purpose", help="What it is for; every entry of the audit says it.")
@click.option("--id", "token_id", help="Finish an issue that was interrupted: the id that it printed.")
@on_a_deployment
def issue(  # noqa: PLR0913 - one parameter an option
    on: Deployment,
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
    """Issue a key and print it: hand it over by a safe way, and keep it nowhere."""
    now = datetime.now(UTC)
    if expires is not None and expires <= now:
        click.echo("Warning: this key is issued already expired.", err=True)
    token_id = token_id or lifecycle.NewToken.new_id()
    click.echo(
        f"Issuing {token_id}. Were this interrupted, the same command with --id {token_id} finishes it.", err=True
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
    _print_key(on, lifecycle.issue(on.gateway, new, now), as_json=as_json)


@keys.command(name="list")
@click.option("--unused-since", type=_DAYS, metavar="DAYS", help="Only live keys that made no call for so many days.")
@on_a_deployment
def list_keys(on: Deployment, *, unused_since: int | None, as_json: bool) -> None:
    """List every key, the latest first."""
    tokens = lifecycle.list_all(on.gateway)
    if unused_since is not None:
        now = datetime.now(UTC)
        since = now - timedelta(days=unused_since)
        old = [token for token in tokens if token.is_active(now) and token.created <= since]
        uses = operators.last_uses(on.audit, old, since, now)
        tokens = [token for token in old if uses[token.id] is None]
    described = [_describe(token) for token in tokens]
    if as_json:
        print_json(described)
    for token in [] if as_json else described:
        click.echo(f"{token['id']}  {token['state']:8}  until {token['expires']}  {token['organisation']}")


@keys.command()
@on_a_deployment
def ending(on: Deployment, *, as_json: bool) -> None:
    """List the keys that end within 90 days, or ended this month, and who is told of it."""
    found = sorted(expiry_reminders.expiring_keys(on.gateway, on.register, datetime.now(UTC)), key=lambda one: one.ends)
    described = [
        {"id": one.token.id, "organisation": one.token.organisation, "expires": one.ends.isoformat(), "days": one.days}
        | {"told": list(one.recipients)}
        for one in found
    ]
    if as_json:
        print_json(described)
    for one in [] if as_json else found:
        told = ", ".join(one.recipients) or "nobody is told"
        click.echo(f"{one.token.id}  {one.days:4} days  {one.token.organisation}: {told}")


@keys.command()
@_of_a_key
@on_a_deployment
def show(on: Deployment, token_id: str, *, as_json: bool) -> None:
    """Show what a key is and when it last made a call, within 90 days; never the key itself."""
    token, now = lifecycle.find(on.gateway, token_id), datetime.now(UTC)
    used = operators.last_use(on.audit, token, now - operators.LOOKED_BACK, now)
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
    help="How long the old key still works.",
)
@on_a_deployment
def rotate(on: Deployment, token_id: str, *, days: int, as_json: bool) -> None:
    """Issue a second key that opens the same, and print it; the old one works until the overlap's end."""
    token = lifecycle.find(on.gateway, token_id)
    made = lifecycle.rotate(on.gateway, token, timedelta(days=days), datetime.now(UTC))
    _note(on, made, "key_rotated")
    _print_key(on, made, as_json=as_json)


@keys.command()
@_of_a_key
@click.option("--expires", required=True, type=Moment(), help="From when it no longer works.")
@on_a_deployment
def prolong(on: Deployment, token_id: str, *, expires: datetime, as_json: bool) -> None:
    """Let a key live until another date; one that has expired lives again."""
    token = lifecycle.find(on.gateway, token_id)
    changed = lifecycle.extend(on.gateway, token, expires, datetime.now(UTC))
    _note(on, changed, "key_prolonged")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@click.option("--scopes", required=True, type=Scopes(), help="What the key still opens: some of what it opens now.")
@on_a_deployment
def narrow(on: Deployment, token_id: str, *, scopes: list[str], as_json: bool) -> None:
    """Let a key open less, within a minute, without changing it."""
    token = lifecycle.find(on.gateway, token_id)
    changed = lifecycle.reduce_scopes(on.gateway, token, frozenset(scopes))
    _note(on, changed, "key_narrowed")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@click.argument("ranges", metavar="[CIDR]...", nargs=-1, type=_Network())
@click.option("--anywhere", is_flag=True, help="From any address, instead of ranges.")
@on_a_deployment
def allow(on: Deployment, token_id: str, ranges: tuple[str, ...], *, anywhere: bool, as_json: bool) -> None:
    """Let a key be used from these ranges of addresses only, within a minute."""
    if anywhere is bool(ranges):
        raise click.UsageError("say ranges, or --anywhere")
    changed = lifecycle.set_allowed_ips(on.gateway, lifecycle.find(on.gateway, token_id), ranges)
    _note(on, changed, "key_allowed")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@on_a_deployment
def revoke(on: Deployment, token_id: str, *, as_json: bool) -> None:
    """Take a key away, at once."""
    changed = lifecycle.revoke(on.gateway, lifecycle.find(on.gateway, token_id))
    _note(on, changed, "key_revoked")
    _print_token(changed, as_json=as_json)


@keys.command()
@_of_a_key
@on_a_deployment
def resume(on: Deployment, token_id: str, *, as_json: bool) -> None:
    """Let a key work again that was suspended for an enumeration, and forget what it was suspected for."""
    token = lifecycle.find(on.gateway, token_id)
    operators.forget_suspicions(on.stats, token)
    changed = lifecycle.resume(on.gateway, token, datetime.now(UTC))
    _note(on, changed, "key_resumed")
    _print_token(changed, as_json=as_json)


@keys.command(name="unused-scopes")
@_of_a_key
@click.option("--days", type=_DAYS, default=90, show_default=True, metavar="DAYS", help="Over so many days.")
@on_a_deployment
def unused_scopes(on: Deployment, token_id: str, *, days: int, as_json: bool) -> None:
    """Tell which scopes of a key released nothing; a bundle is told as the scopes that it holds.

    A field that providers seldom show is seldom released: ask before narrowing a key for it.
    """
    token, now = lifecycle.find(on.gateway, token_id), datetime.now(UTC)
    found = operators.scopes_used(on.audit, token, now - timedelta(days=days), now)
    described = {
        "id": token.id,
        "scopes": sorted(token.scopes),
        "days": days,
        "calls": found.calls,
        "used": list(found.used),
        "unused": list(found.unused),
    }
    (print_json if as_json else print_text)(described)


@keys.command()
@on_a_deployment
def repair(on: Deployment, *, as_json: bool) -> None:
    """Undo the issues that were interrupted and that nobody finished; revoke the keys that ended 90 days ago."""
    now = datetime.now(UTC)
    undone, ended = lifecycle.stale_issuances(on.gateway, now), lifecycle.long_expired(on.gateway, now)
    for token_id in undone:
        lifecycle.cancel_issuance(on.gateway, token_id)
    for token in ended:
        _note(on, lifecycle.revoke(on.gateway, token), "key_revoked")
    (print_json if as_json else print_text)({"undone": undone, "revoked": [token.id for token in ended]})


def _note(on: Deployment, token: Token, change: str) -> None:
    """Tell the history of the key's habilitation, where it has one, what was done and by whom."""
    if token.habilitation:
        on.register.add_history(token.habilitation, change, on.operator, datetime.now(UTC))


def _print_key(on: Deployment, token: Token, *, as_json: bool) -> None:
    key, described = lifecycle.reveal(on.gateway, token), _describe(token)
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
        "purpose": token.purpose,
        "replaces": token.replaces,
    }
