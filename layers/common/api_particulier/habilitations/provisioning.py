"""What follows from a habilitation's events: the key is made, prolonged, opened wider or narrower, taken away.

Everything here can be done again, by anybody, at any time: who died half-way is replaced by whoever delivers the same
event again, or replays it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from api_particulier.habilitations.model import FINAL_STATES, Habilitation, HabilitationEvent, HabilitationEventType
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


def process(
    register: HabilitationRepository, gateway: KeyStore, change: HabilitationEvent, now: datetime
) -> Habilitation | None:
    """Apply ``change`` and do what follows from it, each once, however many deliver it at a time.

    Returns the habilitation as it stands; None when all that is known is an event that we do not know.
    ``habilitations.Unprocessable`` when it cannot be applied.
    """
    standing, _ = register.apply(change, now=now, is_spent=_spent(gateway, now))
    if standing is None or register.is_settled(change):
        return standing
    _apply_effects(gateway, standing, change, now)
    # A revocation that was told while the key was being made has found nothing to take away.
    standing = register.find(change.habilitation)
    if standing.state in FINAL_STATES:
        _revoke_keys(gateway, standing)
    register.settle(change)
    return standing


def active_keys(gateway: KeyStore, habilitation_id: str, now: datetime) -> list[Token]:
    """Return the keys of a habilitation that work, the latest first: two during a rotation."""
    return [one for one in lifecycle.list_for_habilitation(gateway, habilitation_id) if one.is_active(now)]


def _apply_effects(gateway: KeyStore, standing: Habilitation, change: HabilitationEvent, now: datetime) -> None:
    if standing.state in FINAL_STATES:
        _revoke_keys(gateway, standing)
        return
    # One that came late changed nothing, and nothing follows from it: but for a key that who approved died making.
    changed = change.at == standing.applied and change.event in {
        HabilitationEventType.APPROVE,
        HabilitationEventType.TRANSFER,
    }
    if standing.is_open and (changed or not _is_made(gateway, standing)):
        _open(gateway, standing, change, now)


def _is_made(gateway: KeyStore, standing: Habilitation) -> bool:
    try:
        lifecycle.find(gateway, standing.token_id or "")
    except lifecycle.UnknownToken:
        return False
    return True


def _open(gateway: KeyStore, standing: Habilitation, change: HabilitationEvent, now: datetime) -> None:
    assert standing.token_id is not None  # noqa: S101 - it is open
    assert standing.request is not None  # noqa: S101 - it was approved
    assert standing.expires is not None  # noqa: S101 - the same
    issued = lifecycle.issue(
        gateway,
        lifecycle.NewToken(
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
    known = {one.key_hash: one for one in (*lifecycle.list_for_habilitation(gateway, standing.id), issued)}
    held = [one for one in known.values() if not one.is_over(now)]
    for token in held:
        _sync_key(gateway, token, standing, with_scopes=change.event == HabilitationEventType.APPROVE)
    ids = {one.id for one in held}
    for token in held:  # but one that is being replaced, which has its end
        if token.successor not in ids and token.expires is not None and token.expires < standing.expires:
            lifecycle.extend(gateway, token, standing.expires, now)


def _sync_key(gateway: KeyStore, token: Token, standing: Habilitation, *, with_scopes: bool) -> None:
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


def _revoke_keys(gateway: KeyStore, standing: Habilitation) -> None:
    for token in lifecycle.list_for_habilitation(gateway, standing.id):
        lifecycle.revoke(gateway, token)
    if standing.token_id is not None:
        try:  # by its id too: the index of habilitations may be late, or its making have died half-way
            lifecycle.revoke(gateway, lifecycle.find(gateway, standing.token_id))
        except lifecycle.UnknownToken:
            lifecycle.cancel_issuance(gateway, standing.token_id)


def _spent(gateway: KeyStore, now: datetime) -> Callable[[str], bool]:
    """Return what tells whether a key was made and is over, with no other of its habilitation in its place."""

    def is_spent(token_id: str) -> bool:
        try:
            token = lifecycle.find(gateway, token_id)
        except lifecycle.UnknownToken:
            return False  # reserved, being made
        family = lifecycle.list_for_habilitation(gateway, token.habilitation) if token.habilitation else []
        return all(one.is_over(now) for one in (token, *family))

    return is_spent
