"""What follows from a habilitation's events: its keys are made, extended, given other scopes, or revoked.

Every effect is idempotent: a process that is killed half-way is replaced by the next delivery of the same event, or by
its replay.
"""

import secrets
import time
from datetime import datetime
from typing import Final

from api_particulier.habilitations.model import (
    FINAL_STATES,
    ApplicantType,
    Habilitation,
    HabilitationEvent,
    HabilitationEventType,
    HistoryEntry,
)
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.habilitations.transitions import apply_event
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token

_ATTEMPTS: Final = 40
_OF_THE_STATE: Final = (100_000, 2_800)
"""People, and unknown people, that an administration of the country may ask about in a day: ten times a town's."""


def process(
    habilitations: HabilitationRepository, store: KeyStore, event: HabilitationEvent, now: datetime
) -> Habilitation | None:
    """Apply an event and its effects, each once, even when several processes receive it at the same time.

    Return the habilitation as it is then; None when only events of an unknown type were received. Raise
    ``UnprocessableEvent`` when the event cannot be applied.
    """
    habilitation = _apply(habilitations, store, event, now)
    if habilitation is None or habilitations.is_processed(event):
        return habilitation
    _apply_effects(store, habilitation, event, now)
    # A revocation that was received while the key was being made found no key to revoke.
    habilitation = habilitations.find(event.habilitation)
    if habilitation.state in FINAL_STATES:
        _revoke_keys(store, habilitation)
    habilitations.mark_processed(event)
    return habilitation


def active_keys(store: KeyStore, habilitation_id: str, now: datetime) -> list[Token]:
    """Return the active keys of a habilitation, the latest first: two during a rotation."""
    return [token for token in store.list_for_habilitation(habilitation_id) if token.is_active(now)]


def _apply(
    habilitations: HabilitationRepository, store: KeyStore, event: HabilitationEvent, now: datetime
) -> Habilitation | None:
    """Apply an event once and keep it in the history, by optimistic locking; return the habilitation."""
    for attempt in range(_ATTEMPTS):
        is_known = habilitations.is_known(event)
        current = habilitations.current(event.habilitation)  # read second: the effect of a known event is in it
        if is_known:
            return current
        is_approval = event.type == HabilitationEventType.APPROVE
        spent = _spent_token_id(store, current, now) if is_approval else None
        updated = apply_event(current, event, spent_token_id=spent)
        habilitation = updated or current
        entry = HistoryEntry(
            event=event.type,
            at=event.at,
            received=now,
            actor=event.actor,
            before=current.state if current else None,
            after=habilitation.state if habilitation else None,
            late=current is not None and event.at < current.applied,
            note=event.note,
        )
        if habilitations.update(event, entry, current, updated):
            return habilitation
        time.sleep(secrets.randbelow(20 * (min(attempt, 5) + 1)) / 1000)
    msg = "too many changes of a habilitation at the same time"
    raise TimeoutError(msg)


def _spent_token_id(store: KeyStore, habilitation: Habilitation | None, now: datetime) -> str | None:
    """Return the id of the habilitation's key when it is over, and so is every other key of the habilitation."""
    if habilitation is None or habilitation.token_id is None:
        return None
    token = store.find(habilitation.token_id)
    if token is None:  # reserved, being made
        return None
    family = store.list_for_habilitation(habilitation.id)
    return token.id if all(other.is_over(now) for other in (token, *family)) else None


def _apply_effects(store: KeyStore, habilitation: Habilitation, event: HabilitationEvent, now: datetime) -> None:
    if habilitation.state in FINAL_STATES:
        _revoke_keys(store, habilitation)
        return
    # A late event changed nothing and has no effect, except to finish an interrupted approval.
    changes_keys = event.type in {HabilitationEventType.APPROVE, HabilitationEventType.TRANSFER}
    is_last = event.at == habilitation.applied
    if habilitation.is_open and ((changes_keys and is_last) or store.find(habilitation.token_id or "") is None):
        _provision(store, habilitation, event, now)


def _provision(store: KeyStore, habilitation: Habilitation, event: HabilitationEvent, now: datetime) -> None:
    """Make the key of an approved habilitation unless it exists, and align its keys with what is granted."""
    assert habilitation.token_id is not None  # noqa: S101 - it is open
    assert habilitation.request is not None  # noqa: S101 - it was approved
    assert habilitation.expires is not None  # noqa: S101 - the same
    is_of_the_state = habilitation.request.kind is ApplicantType.ADMINISTRATION
    people, unknown = _OF_THE_STATE if is_of_the_state else (None, None)
    issued = lifecycle.issue(
        store,
        lifecycle.NewToken(
            id=habilitation.token_id,
            organisation=habilitation.request.organisation,
            siret=habilitation.request.siret,
            scopes=frozenset(habilitation.granted),
            expires=habilitation.expires,
            habilitation=habilitation.id,
            purpose=habilitation.request.purpose or None,
            people_a_day=people,
            unknown_a_day=unknown,
        ),
        now,
    )
    # The index may be late to list the issued key. A suspended key is aligned too: its suspension stands, and what was
    # granted holds once an operator lifts it.
    tokens = {token.id: token for token in (*store.list_for_habilitation(habilitation.id), issued)}
    alive = [token for token in tokens.values() if not token.is_over(now)]
    for token in alive:
        _sync_key(store, token, habilitation, with_scopes=event.type == HabilitationEventType.APPROVE)
    ids = {token.id for token in alive}
    for token in alive:  # except a key that is being replaced: a rotation set its end
        if token.successor not in ids and token.expires is not None and token.expires < habilitation.expires:
            lifecycle.extend(store, token, habilitation.expires, now)


def _sync_key(store: KeyStore, token: Token, habilitation: Habilitation, *, with_scopes: bool) -> None:
    """Give a key the administration of the request and, after an approval, the granted scopes."""
    assert habilitation.request is not None  # noqa: S101 - it was approved
    scopes = {"scopes": frozenset(habilitation.granted)} if with_scopes else {}
    lifecycle.set_granted(
        store,
        token,
        organisation=habilitation.request.organisation,
        siret=habilitation.request.siret,
        purpose=habilitation.request.purpose or None,
        **scopes,
    )


def _revoke_keys(store: KeyStore, habilitation: Habilitation) -> None:
    for token in store.list_for_habilitation(habilitation.id):
        lifecycle.revoke(store, token)
    if habilitation.token_id is None:
        return
    # By its id too: the index of habilitations may be late, or its issuance may have been interrupted.
    issued = store.find(habilitation.token_id)
    if issued is None:
        lifecycle.cancel_issuance(store, habilitation.token_id)
    else:
        lifecycle.revoke(store, issued)
