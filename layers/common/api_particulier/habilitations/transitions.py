"""What an event changes in a habilitation."""

from collections.abc import Callable
from datetime import UTC, datetime

from uuid6 import uuid7

from api_particulier.habilitations.model import (
    ALIASES,
    FINAL_STATES,
    LIFETIME,
    Habilitation,
    HabilitationEvent,
    HabilitationEventType,
    State,
    UnprocessableEvent,
    known_scopes,
)

# ── What an event changes ────────────────────────────────────────────────────────────────────────────────────────────


def apply_event(
    standing: Habilitation | None, change: HabilitationEvent, *, is_spent: Callable[[str], bool] = lambda _: False
) -> Habilitation | None:
    """Return the habilitation as ``change`` leaves it; None when it changes nothing.

    ``is_spent`` tells of a key's id whether that key is over, in which case an approval makes another.
    ``Unprocessable`` when the change makes no sense, and somebody has to look.
    """
    event = ALIASES.get(change.event, change.event)
    if event not in HabilitationEventType or (standing and change.at < standing.applied):
        return None
    if standing and standing.state in FINAL_STATES:
        if event == HabilitationEventType.APPROVE:
            msg = f"approved after it was {standing.state}"
            raise UnprocessableEvent(msg)
        return None
    # Of what ends it, only that it ended counts; a request that cannot be read does not keep a key alive.
    known = standing or Habilitation(id=change.habilitation, state=State.DRAFT)
    if event not in {HabilitationEventType.REVOKE, HabilitationEventType.ARCHIVE} and change.request is not None:
        known = known.model_copy(update={"request": change.request})
    changes = (
        _approval(known, change, is_spent)
        if event == HabilitationEventType.APPROVE
        else _changes(known, HabilitationEventType(event), standing)
    )
    if changes is None:
        return None
    return known.model_copy(update={**changes, "applied": change.at, "version": known.version + 1})


def _changes(
    known: Habilitation, event: HabilitationEventType, standing: Habilitation | None
) -> dict[str, object] | None:
    """Return what an event other than an approval changes; None for one that is out of place."""
    approved = known.reopened or known.state is State.VALIDATED
    leads_to: dict[HabilitationEventType, tuple[State, bool]] = {
        HabilitationEventType.UPDATE: (known.state, known.reopened),
        HabilitationEventType.TRANSFER: (known.state, known.reopened),
        HabilitationEventType.SUBMIT: (State.SUBMITTED, approved),
        HabilitationEventType.REQUEST_CHANGES: (State.CHANGES_REQUESTED, approved),
        # Of a reopening: what was approved before it stands.
        HabilitationEventType.REFUSE: (State.VALIDATED if approved else State.REFUSED, False),
        HabilitationEventType.REVOKE: (State.REVOKED, False),
        HabilitationEventType.ARCHIVE: (State.ARCHIVED, False),
    }
    if standing is None:
        leads_to[HabilitationEventType.CREATE] = (State.DRAFT, False)
    if known.state is State.VALIDATED:
        leads_to[HabilitationEventType.REOPEN] = (State.DRAFT, True)
    if known.reopened:
        leads_to[HabilitationEventType.CANCEL_REOPENING] = (State.VALIDATED, False)
    if event not in leads_to:
        return None
    state, reopened = leads_to[event]
    return {"state": state, "reopened": reopened}


def _approval(known: Habilitation, change: HabilitationEvent, is_spent: Callable[[str], bool]) -> dict[str, object]:
    request = known.request
    if request is None:
        msg = "approved, and nothing was ever told of what is asked"
        raise UnprocessableEvent(msg)
    if request.refusal:
        raise UnprocessableEvent(request.refusal)
    # A request may cover data that other APIs serve. What is unknown here is kept and told, and is not in the key: it
    # would open, one day, a field that nobody had in mind.
    granted = tuple(dict.fromkeys(one for one in request.scopes if one in known_scopes()))
    if not granted:
        msg = "approved without any scope that the API knows"
        raise UnprocessableEvent(msg)
    spent = known.token_id is not None and is_spent(known.token_id)
    return {
        "state": State.VALIDATED,
        "reopened": False,
        "granted": granted,
        "unknown": tuple(dict.fromkeys(one for one in request.scopes if one not in granted)),
        "token_id": str(uuid7()) if known.token_id is None or spent else known.token_id,
        "expires": datetime.fromtimestamp(change.at, UTC) + LIFETIME,
    }
