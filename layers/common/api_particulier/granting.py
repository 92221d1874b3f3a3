"""What follows from a habilitation's events: the key is made, prolonged, opened wider or narrower, taken away.

Everything here can be done again, by anybody, at any time: who died half-way is replaced by whoever delivers the same
event again, or replays it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from api_particulier import keys
from api_particulier.gateway import Gateway
from api_particulier.habilitations import OVER, Change, Event, Habilitation
from api_particulier.register import Register
from api_particulier.tokens import Token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


def grant(register: Register, gateway: Gateway, change: Change, now: datetime) -> Habilitation | None:
    """Apply ``change`` and do what follows from it, each once, however many deliver it at a time.

    Returns the habilitation as it stands; None when all that is known is an event that we do not know.
    ``habilitations.Unprocessable`` when it cannot be applied.
    """
    standing, _ = register.apply(change, now=now, is_spent=_spent(gateway, now))
    if standing is None or register.is_settled(change):
        return standing
    _follow(gateway, standing, change, now)
    # A revocation that was told while the key was being made has found nothing to take away.
    standing = register.find(change.habilitation)
    if standing.state in OVER:
        _take_away(gateway, standing)
    register.settle(change)
    return standing


def live_keys(gateway: Gateway, habilitation_id: str, now: datetime) -> list[Token]:
    """Return the keys of a habilitation that work, the latest first: two during a rotation."""
    return [one for one in keys.of_habilitation(gateway, habilitation_id) if one.is_active(now)]


def _follow(gateway: Gateway, standing: Habilitation, change: Change, now: datetime) -> None:
    if standing.state in OVER:
        _take_away(gateway, standing)
        return
    # One that came late changed nothing, and nothing follows from it: but for a key that who approved died making.
    changed = change.at == standing.applied and change.event in {Event.APPROVE, Event.TRANSFER}
    if standing.is_open and (changed or not _is_made(gateway, standing)):
        _open(gateway, standing, change, now)


def _is_made(gateway: Gateway, standing: Habilitation) -> bool:
    try:
        keys.find(gateway, standing.token_id or "")
    except keys.UnknownToken:
        return False
    return True


def _open(gateway: Gateway, standing: Habilitation, change: Change, now: datetime) -> None:
    assert standing.token_id is not None  # noqa: S101 - it is open
    assert standing.request is not None  # noqa: S101 - it was approved
    assert standing.expires is not None  # noqa: S101 - the same
    issued = keys.issue(
        gateway,
        keys.NewToken(
            id=standing.token_id,
            organisation=standing.request.organisation,
            siret=standing.request.siret,
            scopes=frozenset(standing.granted),
            expires=standing.expires,
            habilitation=standing.id,
            purpose=standing.request.purpose or None,
        ),
        now,
    )
    # A suspended one too: an approval does not lift its suspension, and holds once an operator does.
    known = {one.key_hash: one for one in (*keys.of_habilitation(gateway, standing.id), issued)}
    held = [one for one in known.values() if not one.is_over(now)]
    for token in held:
        _align(gateway, token, standing, with_scopes=change.event == Event.APPROVE)
    ids = {one.id for one in held}
    for token in held:  # but one that is being replaced, which has its end
        if token.successor not in ids and token.expires is not None and token.expires < standing.expires:
            keys.prolong(gateway, token, standing.expires, now)


def _align(gateway: Gateway, token: Token, standing: Habilitation, *, with_scopes: bool) -> None:
    """Make a key open what is granted, in the name of who it is granted to; functions know within a minute."""
    assert standing.request is not None  # noqa: S101 - it was approved
    values: dict[str, AttributeValueTypeDef] = {
        ":organisation": {"S": standing.request.organisation},
        ":siret": {"S": standing.request.siret},
        ":purpose": {"S": standing.request.purpose},
    }
    change = "SET organisation = :organisation, siret = :siret, purpose = :purpose"
    if with_scopes:
        values[":scopes"] = {"L": [{"S": scope} for scope in sorted(standing.granted)]}
        change += ", scopes = :scopes"
    gateway.dynamodb.update_item(
        TableName=gateway.tokens_table,
        Key={"key_hash": {"S": token.key_hash}},
        UpdateExpression=change,
        ConditionExpression="attribute_exists(key_hash)",
        ExpressionAttributeValues=values,
    )


def _take_away(gateway: Gateway, standing: Habilitation) -> None:
    for token in keys.of_habilitation(gateway, standing.id):
        keys.revoke(gateway, token)
    if standing.token_id is not None:
        try:  # by its id too: the index of habilitations may be late, or its making have died half-way
            keys.revoke(gateway, keys.find(gateway, standing.token_id))
        except keys.UnknownToken:
            keys.abandon(gateway, standing.token_id)


def _spent(gateway: Gateway, now: datetime) -> Callable[[str], bool]:
    """Return what tells whether a key was made and is over, with no other of its habilitation in its place."""

    def is_spent(token_id: str) -> bool:
        try:
            token = keys.find(gateway, token_id)
        except keys.UnknownToken:
            return False  # reserved, being made
        family = keys.of_habilitation(gateway, token.habilitation) if token.habilitation else []
        return all(one.is_over(now) for one in (token, *family))

    return is_spent
