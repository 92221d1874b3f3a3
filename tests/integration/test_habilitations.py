"""Apply DataPass's events to habilitations and their keys: each once, in the order of their dates."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from api_particulier.audit import mac
from api_particulier.habilitations import retention
from api_particulier.habilitations.known_scopes import known_scopes
from api_particulier.habilitations.model import (
    ALIASES,
    FINAL_STATES,
    LIFETIME,
    ApplicantType,
    Habilitation,
    HabilitationEvent,
    HabilitationEventType,
    Request,
    State,
    UnprocessableEvent,
    Vendor,
)
from api_particulier.habilitations.transitions import apply_event
from api_particulier.keys import lifecycle
from api_particulier.scopes import BUNDLES, fields_of
from ops.functions import datasets
from tests.support.cloud import Cloud
from tests.support.datapass import (
    FIRED_AT,
    OTHER_SIRET,
    SCOPES,
    SIRET,
    VENDOR_SIRET,
    Town,
    datapass_event,
)
from tests.support.function import event, invoke, new_environment

pytestmark = pytest.mark.slow


@pytest.fixture
def town(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(cloud, monkeypatch)


def state(town: Town, habilitation: str = "26001") -> Habilitation:
    return town.repository.find(habilitation)


# ── Approved ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_makes_a_key_that_opens_exactly_what_was_approved(town: Town) -> None:
    answer = town.notify()
    (token,) = town.tokens()
    assert (answer.status, answer.body) == (200, {"token_id": token.id})
    assert (token.organisation, token.siret, token.habilitation) == ("VILLE IMAGINAIRE", SIRET, "26001")
    assert token.expires == datetime.fromtimestamp(FIRED_AT, UTC) + LIFETIME
    key = town.show_key()
    assert town.introspect(key).body == {"_id": token.id, "name": "VILLE IMAGINAIRE", "scopes": sorted(SCOPES)}
    assert key not in answer.text


def test_the_example_event_of_the_repository_makes_a_key(town: Town) -> None:
    assert invoke(event("datapass_webhook/approve"), "datapass_webhook").status == 200
    assert len(town.tokens()) == 1


def test_the_request_its_contacts_and_its_history_are_stored(town: Town) -> None:
    town.notify("create", FIRED_AT - 20)
    town.notify("submit", FIRED_AT - 10)
    town.notify()
    request = state(town).request
    assert request is not None
    assert (request.kind, request.purpose) == (ApplicantType.COLLECTIVITE, "Tarif de la cantine")
    assert "L114-8" in request.legal_basis
    assert {contact.role: contact.email.split("@")[0] for contact in request.contacts} == {
        "applicant": "direction",
        "technical": "informatique",
        "business": "ecoles",
    }
    assert state(town).recipients == tuple(
        f"{mailbox}@ville-imaginaire.exemple.fr" for mailbox in ("direction", "informatique")
    )
    assert [(entry.event, entry.before, entry.after, entry.actor) for entry in town.repository.history("26001")] == [
        ("create", None, State.DRAFT, "DataPass"),
        ("submit", State.DRAFT, State.SUBMITTED, "DataPass"),
        ("approve", State.SUBMITTED, State.VALIDATED, "DataPass"),
    ]
    assert "0100000000" not in str(town.stored_items())  # telephone numbers are not stored
    assert "ville-imaginaire" not in repr(state(town))


def test_the_stored_attributes_of_a_history_entry_keep_their_names(town: Town) -> None:
    town.notify()
    (entry,) = (item for item in town.stored_items() if item["item"].startswith("event#"))
    assert (entry["event"], entry["at"], entry["who"], entry["settled"]) == ("approve", FIRED_AT, "DataPass", True)
    assert entry.keys() == {
        *("habilitation", "item", "event", "at", "received", "who", "after", "late", "note", "settled"),
    }


def test_each_change_is_an_audit_record_that_is_sealed_like_the_others(town: Town) -> None:
    town.notify()
    town.notify("revoke", FIRED_AT + 1)
    approved, revoked = (record for record in town.cloud.audit_records() if record.get("kind") == "habilitation")
    assert (approved["route"], approved["user"], approved["habilitation"]) == ("approve", "DataPass", "26001")
    assert approved["notes"][1:] == ["state: None to validated", f"granted: {' '.join(SCOPES)}"]
    assert revoked["notes"][1] == "state: validated to revoked"
    assert mac.verify(approved, datetime.fromisoformat(approved["at"]))


def test_without_an_audit_record_nothing_changes(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUDIT_TABLE", "nowhere")
    new_environment()
    assert town.notify().status == 500
    assert (town.stored_items(), town.tokens()) == ([], [])


def test_long_texts_are_cut_which_the_history_tells_and_too_many_scopes_are_set_aside(town: Town) -> None:
    """A title of 390 kB would be in every audit record."""
    applicant = {"email": f"{'x' * 300}@exemple.fr", "given_name": "x" * 900}
    organisation = {"siret": SIRET, "raison_sociale": "VILLE" * 900}
    long: dict[str, Any] = {
        "applicant": applicant,
        "organization": organisation,
        "intitule": "x" * 90_000,
        "description": "y" * 90_000,
    }
    town.notify(**long)
    request = state(town).request
    assert request is not None
    assert (len(request.purpose), len(request.justification), len(request.organisation)) == (300, 5_000, 200)
    assert {contact.role for contact in request.contacts} == {"technical", "business"}  # no address is so long
    (entry,) = town.repository.history("26001")
    assert entry.note == "shortened: organisation, purpose, justification, contacts"
    assert max(len(str(item)) for item in town.stored_items()) < 10_000
    town.notify(model_id=26002, scopes=["dgfip_nombre_parts"] * 300)
    assert len(town.dead_letters()) == 1
    assert town.notify("revoke", FIRED_AT + 1, scopes=["dgfip_nombre_parts"] * 300).status == 200
    assert state(town).state is State.REVOKED


def test_the_contacts_of_an_ended_habilitation_are_forgotten_a_year_later(town: Town) -> None:
    town.notify()
    town.notify("futur", FIRED_AT + 1)
    town.notify(model_id=26002)
    town.notify("revoke", FIRED_AT + 2)
    now = datetime.fromtimestamp(FIRED_AT, UTC) + retention.KEPT
    retention.forget_contacts(town.repository, now)
    assert "exemple.fr" in str(town.stored_items())
    assert state(town).recipients != ()
    retention.forget_contacts(town.repository, now + timedelta(days=1))
    assert state(town).recipients == ()
    assert state(town, "26002").recipients != ()
    assert "exemple.fr" not in str([item for item in town.stored_items() if item["habilitation"] == "26001"])


def test_the_bounds_of_a_day_follow_the_kind_and_a_rotation_keeps_them(town: Town) -> None:
    town.notify(form_uid="api-particulier-tarification-cantine-collectivite")
    (of_town,) = town.tokens()
    assert (of_town.people_a_day, of_town.unknown_a_day) == (None, None)
    town.notify(model_id=26002, form_uid="api-particulier")
    of_state = next(token for token in town.tokens() if token.habilitation == "26002")
    assert (of_state.people_a_day, of_state.unknown_a_day) == (100_000, 2_800)
    sized = lifecycle.set_daily_bounds(town.key_store, of_state, 7, 5)
    rotated = lifecycle.rotate(town.key_store, sized, timedelta(days=1), datetime.now(UTC))
    assert (rotated.people_a_day, rotated.unknown_a_day) == (7, 5)


def test_an_event_delivered_twice_is_applied_once(town: Town) -> None:
    first = town.notify()
    kept, made = town.stored_items(), town.gateway_keys()
    assert town.notify().body == first.body
    assert (town.stored_items(), town.gateway_keys()) == (kept, made)
    assert len(town.tokens()) == 1


def test_ten_simultaneous_deliveries_of_an_event_make_one_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.serialise_aws_calls(monkeypatch)
    monkeypatch.setattr(lifecycle, "_PATIENCE", 60)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: town.notify(), range(10)))
    (token,) = town.tokens()
    assert [(answer.status, answer.body) for answer in answers] == [(200, {"token_id": token.id})] * 10
    assert len(town.gateway_keys()) == 1
    assert len(town.repository.history("26001")) == 1
    assert town.dead_letters() == []


def test_simultaneous_events_are_all_kept(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.serialise_aws_calls(monkeypatch)
    monkeypatch.setattr(lifecycle, "_PATIENCE", 60)
    names = ["create", "update", "submit", "approve", "a new one"] * 2
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda numbered: town.notify(numbered[1], FIRED_AT + numbered[0]), enumerate(names)))
    assert {answer.status for answer in answers} == {200}
    assert len(town.repository.history("26001")) == 10
    assert len(town.gateway_keys()) == 1
    assert town.dead_letters() == []


def test_an_interrupted_approval_is_finished_by_the_next_delivery(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "issue", die)
        assert town.notify().status == 500
    assert (town.tokens(), len(town.dead_letters())) == ([], 1)
    reserved = state(town).token_id
    assert town.notify().body == {"token_id": reserved}
    assert [token.id for token in town.tokens()] == [reserved]


def test_approving_again_extends_the_same_key_and_changes_its_scopes(town: Town) -> None:
    first = town.notify().body
    key = town.show_key()
    town.notify("reopen", FIRED_AT + 100)
    town.notify("submit", FIRED_AT + 200, scopes=["dgfip_annee_impot"])
    assert town.introspect(key).body["scopes"] == sorted(SCOPES)  # what was approved stays valid
    assert state(town).reopened
    assert town.notify("approve", FIRED_AT + 86_400, scopes=["dgfip_annee_impot", "cnaf_adresse"]).body == first
    assert town.gateway_keys() != []
    assert town.introspect(key).body["scopes"] == ["cnaf_adresse", "dgfip_annee_impot"]
    (token,) = town.tokens()
    assert token.expires == datetime.fromtimestamp(FIRED_AT + 86_400, UTC) + LIFETIME


def test_approving_again_after_a_rotation_extends_the_new_key_only(town: Town) -> None:
    now = datetime.now(UTC)
    town.notify()
    (old,) = town.tokens()
    new = lifecycle.rotate(town.key_store, old, timedelta(days=1), now)
    town.notify("approve", FIRED_AT + 10**6, scopes=["cnaf_adresse"])
    after = {token.id: token for token in town.tokens()}
    assert len(after) == 2
    assert after[old.id].expires == now.replace(microsecond=0) + timedelta(days=1)
    assert {token.scopes for token in after.values()} == {frozenset({"cnaf_adresse"})}
    assert after[new.id].expires is not None


def test_approving_again_after_the_old_key_of_a_rotation_ended_keeps_the_new_key(town: Town) -> None:
    town.notify()
    (old,) = town.tokens()
    new = lifecycle.rotate(town.key_store, old, timedelta(days=1), datetime.now(UTC))
    with time_machine.travel(datetime.now(UTC) + timedelta(days=2), tick=True):
        town.notify("approve", int(datetime.now(UTC).timestamp()) - 60, scopes=["cnaf_adresse"])
    tokens = {token.id: token.scopes for token in town.tokens()}
    assert tokens == {old.id: old.scopes, new.id: frozenset({"cnaf_adresse"})}


def test_approving_again_after_the_key_was_revoked_makes_another(town: Town) -> None:
    first = town.notify().body["token_id"]
    lifecycle.revoke(town.key_store, town.tokens()[0])
    second = town.notify("approve", FIRED_AT + 1).body["token_id"]
    assert first != second
    assert {token.id: token.state for token in town.tokens()} == {first: "revoked", second: "active"}


@pytest.mark.parametrize("later", [timedelta(days=1), timedelta(days=600)], ids=["before its end", "after its end"])
def test_approving_a_suspended_key_again_takes_effect_once_it_is_resumed(town: Town, later: timedelta) -> None:
    first = town.notify().body
    key = town.show_key()
    lifecycle.suspend(town.key_store, town.tokens()[0])
    with time_machine.travel(datetime.now(UTC) + later, tick=True):
        again = int((datetime.now(UTC) - timedelta(hours=1)).timestamp())
        assert town.notify("approve", again, scopes=["cnaf_adresse"]).body == first
        (token,) = town.tokens()
        assert (token.state, [*token.scopes]) == ("suspended", ["cnaf_adresse"])
        assert not town.api.get_api_key(apiKey=token.gateway_key_id or "")["enabled"]
        assert town.introspect(key).status == 401
        lifecycle.resume(town.key_store, token, datetime.now(UTC))
        new_environment()
        assert town.introspect(key).body["scopes"] == ["cnaf_adresse"]
        assert town.tokens()[0].expires == datetime.fromtimestamp(again, UTC) + LIFETIME
    assert town.dead_letters() == []


def test_a_second_delivery_does_not_widen_reduced_scopes(town: Town) -> None:
    town.notify()
    lifecycle.reduce_scopes(town.key_store, town.tokens()[0], frozenset({"dgfip_nombre_parts"}))
    town.notify()
    assert town.tokens()[0].scopes == {"dgfip_nombre_parts"}


def test_a_late_approval_does_not_widen_reduced_scopes(town: Town) -> None:
    town.notify()
    lifecycle.reduce_scopes(town.key_store, town.tokens()[0], frozenset({"dgfip_nombre_parts"}))
    town.notify("approve", FIRED_AT - 1, scopes=["cnaf_adresse"])
    assert town.tokens()[0].scopes == {"dgfip_nombre_parts"}


def test_a_transfer_does_not_widen_reduced_scopes(town: Town) -> None:
    town.notify()
    key = town.show_key()
    lifecycle.reduce_scopes(town.key_store, town.tokens()[0], frozenset({"dgfip_nombre_parts"}))
    town.notify("transfer", FIRED_AT + 1, organization={"siret": OTHER_SIRET, "raison_sociale": "AGGLO IMAGINAIRE"})
    body = town.introspect(key).body
    assert (body["name"], body["scopes"]) == ("AGGLO IMAGINAIRE", ["dgfip_nombre_parts"])


def test_a_scope_of_another_api_is_stored_and_not_granted(town: Town) -> None:
    town.notify(scopes=["dgfip_nombre_parts", "another_api_identite", "dgfip_nombre_parts"])
    assert town.tokens()[0].scopes == {"dgfip_nombre_parts"}
    assert (state(town).granted, state(town).unknown) == (("dgfip_nombre_parts",), ("another_api_identite",))


def test_the_known_scopes_are_those_that_a_dataset_opens() -> None:
    opened = {scope for dataset in datasets() for model in dataset.routes.values() for _, scope in fields_of(model)}
    assert known_scopes() == opened | BUNDLES.keys()


def test_a_transfer_changes_the_administration_of_the_key(town: Town) -> None:
    town.notify()
    town.notify("transfer", FIRED_AT + 1, organization={"siret": OTHER_SIRET, "raison_sociale": "AGGLO IMAGINAIRE"})
    (token,) = town.tokens()
    assert (token.siret, token.organisation) == (OTHER_SIRET, "AGGLO IMAGINAIRE")
    assert token.scopes == set(SCOPES)


# ── The life of a request ────────────────────────────────────────────────────────────────────────────────────────────

LIVES = [
    (["create"], State.DRAFT),
    (["create", "update"], State.DRAFT),
    (["create", "submit"], State.SUBMITTED),
    (["submit"], State.SUBMITTED),
    (["submit", "request_changes"], State.CHANGES_REQUESTED),
    (["submit", "request_changes", "submit"], State.SUBMITTED),
    (["submit", "refuse"], State.REFUSED),
    (["submit", "refuse", "submit", "approve"], State.VALIDATED),
    (["submit", "create"], State.SUBMITTED),
    (["approve"], State.VALIDATED),
    (["validate"], State.VALIDATED),
    (["approve", "update"], State.VALIDATED),
    (["approve", "reopen"], State.DRAFT),
    (["approve", "start_reopening"], State.DRAFT),
    (["approve", "reopen", "cancel_reopening"], State.VALIDATED),
    (["approve", "reopen", "submit", "request_changes"], State.CHANGES_REQUESTED),
    (["approve", "reopen", "submit", "refuse"], State.VALIDATED),
    (["approve", "submit"], State.SUBMITTED),
    (["approve", "submit", "refuse"], State.VALIDATED),
    (["submit", "reopen"], State.SUBMITTED),
    (["submit", "cancel_reopening"], State.SUBMITTED),
    (["create", "archive"], State.ARCHIVED),
    (["create", "archive", "submit"], State.ARCHIVED),
    (["approve", "revoke"], State.REVOKED),
    (["approve", "reopen", "revoke"], State.REVOKED),
    (["approve", "archive"], State.ARCHIVED),
    (["approve", "revoke", "archive"], State.REVOKED),
    (["revoke"], State.REVOKED),
    (["submit", "something_new"], State.SUBMITTED),
]


@pytest.mark.parametrize(("events", "expected"), LIVES, ids=lambda value: "-".join(value) if value else "")
def test_events_lead_to_their_state_and_their_keys(town: Town, events: list[str], expected: State) -> None:
    for number, name in enumerate(events):
        assert town.notify(name, FIRED_AT + number).status == 200
    assert state(town).state == expected
    lives = "approve" in events or "validate" in events
    ended = expected in {State.REVOKED, State.ARCHIVED}
    assert len(town.gateway_keys()) == (1 if lives and not ended else 0)
    assert town.dead_letters() == []
    assert len(town.repository.history("26001")) == len(events)


def test_every_type_of_event_is_in_these_lives() -> None:
    assert {ALIASES.get(name, name) for events, _ in LIVES for name in events} >= set(HabilitationEventType) - {
        HabilitationEventType.TRANSFER  # it has a test of its own
    }


@pytest.mark.parametrize("end", ["revoke", "archive"])
def test_the_end_of_a_habilitation_revokes_its_keys(town: Town, end: str) -> None:
    town.notify()
    key = town.show_key()
    lifecycle.rotate(town.key_store, town.tokens()[0], timedelta(days=30), datetime.now(UTC))
    assert len(town.gateway_keys()) == 2
    assert town.introspect(key).status == 200
    assert town.notify(end, FIRED_AT + 1).body == {}
    assert town.gateway_keys() == []
    assert {token.state for token in town.tokens()} == {"revoked"}
    assert town.introspect(key).status == 401


def test_a_revocation_is_applied_even_with_an_unreadable_request(town: Town) -> None:
    town.notify()
    town.notify("revoke", FIRED_AT + 1, organization={"siret": "unreadable"}, applicant=None)
    assert town.gateway_keys() == []
    request = state(town).request
    assert request is not None
    assert request.siret == SIRET


def test_a_late_event_is_kept_and_changes_nothing(town: Town) -> None:
    token = town.notify().body
    before = state(town)
    assert town.notify("submit", FIRED_AT - 10, scopes=[]).body == {}
    assert town.notify("revoke", FIRED_AT - 5).body == {}
    assert town.notify("approve", FIRED_AT - 7, scopes=["cnaf_adresse"]).body == token
    assert state(town) == before
    assert town.tokens()[0].scopes == set(SCOPES)
    assert [(entry.event, entry.late) for entry in town.repository.history("26001")] == [
        ("submit", True),
        ("approve", True),
        ("revoke", True),
        ("approve", False),
    ]


def test_two_events_of_the_same_second_are_both_applied(town: Town) -> None:
    first = town.notify().body
    key = town.show_key()
    assert town.notify("approve", FIRED_AT, scopes=["cnaf_adresse"]).body == first
    assert town.introspect(key).body["scopes"] == ["cnaf_adresse"]
    assert town.notify("revoke", FIRED_AT).body == {}
    assert town.gateway_keys() == []
    history = town.repository.history("26001")
    assert sorted((entry.event, entry.late) for entry in history) == [
        ("approve", False),
        ("approve", False),
        ("revoke", False),
    ]


def test_a_revocation_wins_over_an_approval_of_the_same_second(town: Town) -> None:
    town.notify("revoke", FIRED_AT)
    assert town.notify("approve", FIRED_AT).body == {}
    assert (town.gateway_keys(), state(town).state) == ([], State.REVOKED)


def test_an_approval_received_after_a_later_revocation_makes_no_key(town: Town) -> None:
    town.notify("revoke", FIRED_AT + 1)
    assert town.notify("approve", FIRED_AT).body == {}
    assert (town.tokens(), town.gateway_keys(), state(town).state) == ([], [], State.REVOKED)
    assert town.dead_letters() == []


def test_a_revocation_received_while_the_key_is_made_leaves_no_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = lifecycle.issue

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(lifecycle, "issue", issue)
        town.notify("revoke", FIRED_AT + 1)
        return issue(*arguments)

    monkeypatch.setattr(lifecycle, "issue", interrupted)
    assert town.notify().body == {}
    assert town.gateway_keys() == []
    assert {token.state for token in town.tokens()} <= {"revoked"}


def test_an_interrupted_revocation_is_finished_by_the_next_delivery(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    town.notify()

    def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "revoke", die)
        assert town.notify("revoke", FIRED_AT + 1).status == 500
    assert len(town.gateway_keys()) == 1
    town.notify("revoke", FIRED_AT + 1)
    assert town.gateway_keys() == []


def test_an_event_of_unknown_type_is_kept_whole_but_for_its_telephone_numbers(town: Town) -> None:
    payload = datapass_event("merged_with_another")
    assert town.send(payload).body == {}
    (kept,) = town.stored_items()
    del payload["data"]["applicant"]["phone_number"], payload["data"]["data"]["contact_technique_phone"]
    assert json.loads(kept["payload"]) == payload
    assert town.dead_letters() == []


# ── Entitlement ──────────────────────────────────────────────────────────────────────────────────────────────────────


def request_of(kind: ApplicantType, **changes: Any) -> Request:
    return Request(**{"kind": kind, "organisation": "VILLE", "siret": SIRET, "justification": "Simplifie"} | changes)


@pytest.mark.parametrize("kind", [ApplicantType.COLLECTIVITE, ApplicantType.ADMINISTRATION])
def test_administrations_are_entitled(kind: ApplicantType) -> None:
    assert request_of(kind).refusal is None


@pytest.mark.parametrize("kind", [ApplicantType.PARTICULIER, ApplicantType.ENTREPRISE])
def test_people_and_companies_are_refused_with_the_reason(kind: ApplicantType) -> None:
    assert request_of(kind).refusal == "Seules les administrations sont habilitées à utiliser API Particulier."


def test_a_vendor_must_name_and_justify_an_administration() -> None:
    vendor = Vendor(name="ÉDITEUR", siret=VENDOR_SIRET)
    assert request_of(ApplicantType.EDITEUR, vendor=vendor).refusal is None
    assert "SIRET" in (request_of(ApplicantType.EDITEUR).refusal or "")
    assert "justifier" in (request_of(ApplicantType.EDITEUR, vendor=vendor, justification="").refusal or "")


def test_each_administration_of_a_vendor_has_its_own_key(town: Town) -> None:
    vendor = {"siret": VENDOR_SIRET, "name": "ÉDITEUR"}
    for number, siret in ((1, SIRET), (2, OTHER_SIRET)):
        town.notify(
            model_id=number, service_provider=vendor, organization={"siret": siret, "raison_sociale": f"VILLE {number}"}
        )
    town.notify(model_id=3)
    served = town.repository.list_for_vendor(VENDOR_SIRET)
    requests = [found.request for found in served if found.request]
    assert [found.id for found in served] == ["1", "2"]
    assert [(request.siret, request.kind) for request in requests] == [
        (SIRET, ApplicantType.EDITEUR),
        (OTHER_SIRET, ApplicantType.EDITEUR),
    ]
    assert len({found.token_id for found in served}) == 2
    assert len(town.gateway_keys()) == 3  # each counted apart by the usage plan
    assert {token.siret for token in town.tokens()} == {SIRET, OTHER_SIRET}


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        (SIRET, True),
        (f" {SIRET[:9]} {SIRET[9:]} ", True),
        ("21000000000018", False),
        (SIRET[:-1], False),
        ("2100001540001X", False),
        ("35600000000048", True),  # La Poste's head office: Luhn
        ("35600000049837", True),  # its other places: the sum of the digits
        ("35600000049838", False),
    ],
)
def test_the_check_digit_of_a_siret_is_verified(number: str, valid: bool) -> None:  # noqa: FBT001 - a table
    try:
        made = request_of(ApplicantType.ADMINISTRATION, siret=number)
    except ValueError:
        assert not valid
    else:
        assert valid
        assert made.siret == "".join(number.split())


# ── In any order ─────────────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.sampled_from([*HabilitationEventType, "unheard_of"]), min_size=1, max_size=6, unique=True), st.randoms()
)
def test_a_final_state_never_changes(events: list[str], random: Any) -> None:
    current: Habilitation | None = None
    for at, name in enumerate(random.sample(events, len(events))):
        change = HabilitationEvent(
            "1", name, at, "DataPass", str(at), request_of(ApplicantType.COLLECTIVITE, scopes=SCOPES)
        )
        before = current
        try:
            current = apply_event(current, change) or current
        except UnprocessableEvent:
            assert current is not None
            assert current.state in FINAL_STATES
        if before is not None and before.state in FINAL_STATES:
            assert current == before
