"""What an event changes in a habilitation: no table and no key is read or written here."""

from datetime import UTC, datetime

from uuid6 import uuid7

from api_particulier.habilitations.known_scopes import known_scopes
from api_particulier.habilitations.model import (
    FINAL_STATES,
    LIFETIME,
    Habilitation,
    HabilitationEvent,
    HabilitationEventType,
    State,
    UnprocessableEvent,
)


def apply_event(
    current: Habilitation | None, event: HabilitationEvent, *, spent_token_id: str | None = None
) -> Habilitation | None:
    """Return the habilitation as ``event`` changes it, or None when it changes nothing.

    An approval keeps the id of the habilitation's key, unless it is ``spent_token_id``: a key that is over, and that
    no other replaces. Raise ``UnprocessableEvent`` when the event makes no sense, and an operator has to look at it.
    """
    if event.type not in HabilitationEventType or (current and event.at < current.applied):
        return None
    if current and current.state in FINAL_STATES:
        if event.type == HabilitationEventType.APPROVE:
            msg = f"approved after it was {current.state}"
            raise UnprocessableEvent(msg)
        return None
    before = current or Habilitation(id=event.habilitation, state=State.DRAFT)
    # An end is applied even with an unreadable request, which must not keep a key alive.
    if event.type not in {HabilitationEventType.REVOKE, HabilitationEventType.ARCHIVE} and event.request is not None:
        before = before.model_copy(update={"request": event.request})
    if event.type == HabilitationEventType.APPROVE:
        changes = _approval(before, event, spent_token_id)
    else:
        next_states = _next_states(before, is_new=current is None)
        if event.type not in next_states:
            return None
        state, reopened = next_states[HabilitationEventType(event.type)]
        changes = {"state": state, "reopened": reopened}
    return before.model_copy(update={**changes, "applied": event.at, "version": before.version + 1})


def _next_states(before: Habilitation, *, is_new: bool) -> dict[HabilitationEventType, tuple[State, bool]]:
    """Return the state, and ``reopened``, that each event may lead to; an event out of place leads nowhere."""
    approved = before.reopened or before.state is State.VALIDATED
    states: dict[HabilitationEventType, tuple[State, bool]] = {
        HabilitationEventType.UPDATE: (before.state, before.reopened),
        HabilitationEventType.TRANSFER: (before.state, before.reopened),
        HabilitationEventType.SUBMIT: (State.SUBMITTED, approved),
        HabilitationEventType.REQUEST_CHANGES: (State.CHANGES_REQUESTED, approved),
        # A refused change leaves what was approved before it.
        HabilitationEventType.REFUSE: (State.VALIDATED if approved else State.REFUSED, False),
        HabilitationEventType.REVOKE: (State.REVOKED, False),
        HabilitationEventType.ARCHIVE: (State.ARCHIVED, False),
    }
    if is_new:
        states[HabilitationEventType.CREATE] = (State.DRAFT, False)
    if before.state is State.VALIDATED:
        states[HabilitationEventType.REOPEN] = (State.DRAFT, True)
    if before.reopened:
        states[HabilitationEventType.CANCEL_REOPENING] = (State.VALIDATED, False)
    return states


def _approval(before: Habilitation, event: HabilitationEvent, spent_token_id: str | None) -> dict[str, object]:
    """Return what an approval changes; raise ``UnprocessableEvent`` for a request that cannot be approved."""
    request = before.request
    if request is None:
        msg = "approved before any request was received"
        raise UnprocessableEvent(msg)
    if request.refusal:
        raise UnprocessableEvent(request.refusal)
    # A request may cover data that other APIs serve. An unknown scope is kept and shown, and is not in the key: it
    # could open, one day, a field that the approval did not cover.
    granted = tuple(dict.fromkeys(scope for scope in request.scopes if scope in known_scopes()))
    if not granted:
        msg = "approved without any scope that the API knows"
        raise UnprocessableEvent(msg)
    return {
        "state": State.VALIDATED,
        "reopened": False,
        "granted": granted,
        "unknown": tuple(dict.fromkeys(scope for scope in request.scopes if scope not in granted)),
        "token_id": str(uuid7()) if before.token_id in {None, spent_token_id} else before.token_id,
        "expires": datetime.fromtimestamp(event.at, UTC) + LIFETIME,
    }
