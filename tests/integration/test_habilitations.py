"""DataPass's events, from the front door to the key: each has its effect, once, whatever its order."""

import json
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

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
    known_scopes,
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
    signature,
    signed_request,
)
from tests.support.function import Response, event, invoke, new_environment

REFUSED = {
    "error": "access_denied",
    "reason": "Signature missing or wrong",
    "message": "La signature de l'appel est absente ou incorrecte",
}


@pytest.fixture
def town(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(cloud, monkeypatch)


def state(town: Town, habilitation: str = "26001") -> Habilitation:
    return town.repository.find(habilitation)


# ── Who is listened to ───────────────────────────────────────────────────────────────────────────────────────────────


def without_signature() -> dict[str, Any]:
    made = signed_request(datapass_event())
    del made["headers"]["X-Hub-Signature-256"], made["multiValueHeaders"]["X-Hub-Signature-256"]
    return made


BODY = json.dumps(datapass_event()).encode()


WRONG = {
    "empty": "",
    "no digest": "sha256=",
    "zeroes": "sha256=" + "0" * 64,
    "another secret's": signature(BODY, "another secret"),
    "no secret's": signature(BODY, ""),
    "without its name": signature(BODY).removeprefix("sha256="),
    "in capitals": signature(BODY).upper(),
    "of another name": signature(BODY).replace("sha256", "sha1"),
    "another body's": signature(BODY + b" "),
    "accents": "é" * 71,
    "half a character": "\ud800",
}


@pytest.mark.parametrize("header", WRONG.values(), ids=WRONG)
def test_a_wrong_signature_is_refused_and_nothing_changes(town: Town, header: str) -> None:
    made = signed_request(BODY)
    made["headers"]["X-Hub-Signature-256"] = header
    answer = invoke(made, "datapass_webhook")
    assert (answer.status, answer.body) == (401, REFUSED)
    assert (town.stored_items(), town.tokens(), town.gateway_keys(), town.dead_letters()) == ([], [], [], [])


def test_no_signature_is_a_wrong_one(town: Town) -> None:
    answer = invoke(without_signature(), "datapass_webhook")
    assert (answer.status, answer.body) == (401, REFUSED)
    assert town.stored_items() == []


def test_what_is_signed_is_the_body_to_the_byte(town: Town) -> None:
    made = signed_request(datapass_event())
    made["body"] = json.dumps(json.loads(made["body"]), indent=1)
    assert invoke(made, "datapass_webhook").status == 401
    assert town.stored_items() == []


def test_a_body_in_base64_is_read_as_it_was_sent(town: Town) -> None:
    made = signed_request(datapass_event())
    made |= {"body": b64encode(made["body"].encode()).decode(), "isBase64Encoded": True}
    assert invoke(made, "datapass_webhook").body.keys() == {"token_id"}
    assert len(town.tokens()) == 1


def test_the_signatures_header_is_known_whatever_its_case(town: Town) -> None:
    made = signed_request(datapass_event())
    made["headers"]["x-hub-signature-256"] = made["headers"].pop("X-Hub-Signature-256")
    assert invoke(made, "datapass_webhook").status == 200
    assert len(town.tokens()) == 1


def test_without_a_secret_nobody_is_listened_to(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = boto3.client("secretsmanager").create_secret(Name="empty", SecretString=" ")["ARN"]
    monkeypatch.setenv("DATAPASS_SECRET_ID", empty)
    assert invoke(signed_request(datapass_event(), ""), "datapass_webhook").status == 401
    assert town.stored_items() == []


def test_a_trial_of_datapass_is_answered_and_keeps_nothing(town: Town) -> None:
    answer = town.send({"test": True, "timestamp": "2026-11-23T10:00:00+01:00"})
    assert (answer.status, answer.body) == (200, {})
    assert (town.stored_items(), town.dead_letters()) == ([], [])


# ── Approved ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_approval_makes_a_key_that_opens_exactly_what_was_approved(town: Town) -> None:
    answer = town.notify()
    (token,) = town.tokens()
    assert (answer.status, answer.body) == (200, {"token_id": token.id})
    assert (token.organisation, token.siret, token.habilitation) == ("VILLE IMAGINAIRE", SIRET, "26001")
    assert token.expires == datetime.fromtimestamp(FIRED_AT, UTC) + LIFETIME
    (key,) = town.gateway_keys()
    assert town.introspect(key).body == {"_id": token.id, "name": "VILLE IMAGINAIRE", "scopes": sorted(SCOPES)}
    assert key not in answer.text


def test_the_example_of_the_repository_is_one_that_works(town: Town) -> None:
    assert invoke(event("datapass_webhook/approve"), "datapass_webhook").status == 200
    assert len(town.tokens()) == 1


def test_it_keeps_who_asked_what_for_and_how_it_came(town: Town) -> None:
    town.notify("create", FIRED_AT - 20)
    town.notify("submit", FIRED_AT - 10)
    town.notify()
    request = state(town).request
    assert request is not None
    assert (request.kind, request.purpose) == (ApplicantType.COLLECTIVITE, "Tarif de la cantine")
    assert "L114-8" in request.legal_basis
    assert {one.role: one.email.split("@")[0] for one in request.contacts} == {
        "applicant": "direction",
        "technical": "informatique",
        "business": "ecoles",
    }
    assert state(town).recipients == tuple(
        f"{who}@ville-imaginaire.exemple.fr" for who in ("direction", "informatique")
    )
    assert [(step.event, step.before, step.after, step.who) for step in town.repository.history("26001")] == [
        ("create", None, State.DRAFT, "DataPass"),
        ("submit", State.DRAFT, State.SUBMITTED, "DataPass"),
        ("approve", State.SUBMITTED, State.VALIDATED, "DataPass"),
    ]
    assert "0100000000" not in str(town.stored_items())  # nobody is called
    assert "ville-imaginaire" not in repr(state(town))


def test_the_same_event_twice_is_one(town: Town) -> None:
    first = town.notify()
    kept, made = town.stored_items(), town.gateway_keys()
    assert town.notify().body == first.body
    assert (town.stored_items(), town.gateway_keys()) == (kept, made)
    assert len(town.tokens()) == 1


def test_the_same_event_ten_times_at_once_makes_one_key(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.serialise_aws_calls(monkeypatch)
    monkeypatch.setattr(lifecycle, "_PATIENCE", 60)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: town.notify(), range(10)))
    (token,) = town.tokens()
    assert [(answer.status, answer.body) for answer in answers] == [(200, {"token_id": token.id})] * 10
    assert len(town.gateway_keys()) == 1
    assert len(town.repository.history("26001")) == 1
    assert town.dead_letters() == []


def test_different_events_at_once_are_all_kept(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.serialise_aws_calls(monkeypatch)
    monkeypatch.setattr(lifecycle, "_PATIENCE", 60)
    names = ["create", "update", "submit", "approve", "a new one"] * 2
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda one: town.notify(one[1], FIRED_AT + one[0]), enumerate(names)))
    assert {answer.status for answer in answers} == {200}
    assert len(town.repository.history("26001")) == 10
    assert len(town.gateway_keys()) == 1
    assert town.dead_letters() == []


def test_an_approval_that_died_is_finished_by_the_next_delivery(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "issue", die)
        assert town.notify().status == 500
    assert (town.tokens(), len(town.dead_letters())) == ([], 1)
    reserved = state(town).token_id
    assert town.notify().body == {"token_id": reserved}
    assert [token.id for token in town.tokens()] == [reserved]


def test_approving_again_prolongs_and_opens_otherwise_without_a_new_key(town: Town) -> None:
    first = town.notify().body
    (key,) = town.gateway_keys()
    town.notify("reopen", FIRED_AT + 100)
    town.notify("submit", FIRED_AT + 200, scopes=["dgfip_annee_impot"])
    assert town.introspect(key).body["scopes"] == sorted(SCOPES)  # what was approved holds meanwhile
    assert state(town).reopened
    assert town.notify("approve", FIRED_AT + 86_400, scopes=["dgfip_annee_impot", "cnaf_adresse"]).body == first
    assert town.gateway_keys() == [key]
    assert town.introspect(key).body["scopes"] == ["cnaf_adresse", "dgfip_annee_impot"]
    (token,) = town.tokens()
    assert token.expires == datetime.fromtimestamp(FIRED_AT + 86_400, UTC) + LIFETIME


def test_approving_again_after_a_rotation_is_for_the_key_in_use(town: Town) -> None:
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


def test_approving_again_when_the_key_is_dead_makes_another(town: Town) -> None:
    first = town.notify().body["token_id"]
    lifecycle.revoke(town.key_store, town.tokens()[0])
    second = town.notify("approve", FIRED_AT + 1).body["token_id"]
    assert first != second
    assert {token.id: token.state for token in town.tokens()} == {first: "revoked", second: "active"}


@pytest.mark.parametrize("later", [timedelta(days=1), timedelta(days=600)], ids=["it lives", "it has ended since"])
def test_approving_again_does_not_lift_a_suspension_and_holds_once_it_is_lifted(town: Town, later: timedelta) -> None:
    first = town.notify().body
    (key,) = town.gateway_keys()
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


def test_a_delivery_again_does_not_widen_what_was_narrowed_since(town: Town) -> None:
    town.notify()
    lifecycle.reduce_scopes(town.key_store, town.tokens()[0], frozenset({"dgfip_nombre_parts"}))
    town.notify()
    assert town.tokens()[0].scopes == {"dgfip_nombre_parts"}


def test_a_scope_of_another_api_is_kept_and_not_opened(town: Town) -> None:
    town.notify(scopes=["dgfip_nombre_parts", "another_api_identite", "dgfip_nombre_parts"])
    assert town.tokens()[0].scopes == {"dgfip_nombre_parts"}
    assert (state(town).granted, state(town).unknown) == (("dgfip_nombre_parts",), ("another_api_identite",))


def test_every_scope_that_a_dataset_opens_is_known() -> None:
    opened = {scope for one in datasets() for model in one.routes.values() for _, scope in fields_of(model)}
    assert known_scopes() == opened | BUNDLES.keys()


def test_a_transfer_changes_the_keys_administration(town: Town) -> None:
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
def test_each_event_has_its_effect(town: Town, events: list[str], expected: State) -> None:
    for number, name in enumerate(events):
        assert town.notify(name, FIRED_AT + number).status == 200
    assert state(town).state == expected
    lives = "approve" in events or "validate" in events
    ended = expected in {State.REVOKED, State.ARCHIVED}
    assert len(town.gateway_keys()) == (1 if lives and not ended else 0)
    assert town.dead_letters() == []
    assert len(town.repository.history("26001")) == len(events)


def test_every_event_is_in_one_of_these_lives() -> None:
    assert {ALIASES.get(one, one) for events, _ in LIVES for one in events} >= set(HabilitationEventType) - {
        HabilitationEventType.TRANSFER  # it has a test of its own
    }


@pytest.mark.parametrize("end", ["revoke", "archive"])
def test_what_ends_it_takes_its_keys_away(town: Town, end: str) -> None:
    town.notify()
    (key,) = town.gateway_keys()
    lifecycle.rotate(town.key_store, town.tokens()[0], timedelta(days=30), datetime.now(UTC))
    assert len(town.gateway_keys()) == 2
    assert town.introspect(key).status == 200
    assert town.notify(end, FIRED_AT + 1).body == {}
    assert town.gateway_keys() == []
    assert {token.state for token in town.tokens()} == {"revoked"}
    assert town.introspect(key).status == 401


def test_a_revocation_needs_nothing_but_to_be_signed(town: Town) -> None:
    town.notify()
    town.notify("revoke", FIRED_AT + 1, organization={"siret": "unreadable"}, applicant=None)
    assert town.gateway_keys() == []
    request = state(town).request
    assert request is not None
    assert request.siret == SIRET


def test_an_event_that_comes_late_is_kept_and_changes_nothing(town: Town) -> None:
    token = town.notify().body
    before = state(town)
    assert town.notify("submit", FIRED_AT - 10, scopes=[]).body == {}
    assert town.notify("revoke", FIRED_AT - 5).body == {}
    assert town.notify("approve", FIRED_AT - 7, scopes=["cnaf_adresse"]).body == token
    assert state(town) == before
    assert town.tokens()[0].scopes == set(SCOPES)
    assert [(step.event, step.late) for step in town.repository.history("26001")] == [
        ("submit", True),
        ("approve", True),
        ("revoke", True),
        ("approve", False),
    ]


def test_an_approval_that_comes_after_the_later_revocation_makes_no_key(town: Town) -> None:
    town.notify("revoke", FIRED_AT + 1)
    assert town.notify("approve", FIRED_AT).body == {}
    assert (town.tokens(), town.gateway_keys(), state(town).state) == ([], [], State.REVOKED)
    assert town.dead_letters() == []


def test_a_revocation_while_the_key_is_being_made_leaves_none(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    issue = lifecycle.issue

    def interrupted(*arguments: Any) -> Any:
        monkeypatch.setattr(lifecycle, "issue", issue)
        town.notify("revoke", FIRED_AT + 1)
        return issue(*arguments)

    monkeypatch.setattr(lifecycle, "issue", interrupted)
    assert town.notify().body == {}
    assert town.gateway_keys() == []
    assert {token.state for token in town.tokens()} <= {"revoked"}


def test_what_died_taking_keys_away_is_finished_by_the_next_delivery(
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


def test_an_unknown_event_is_kept_whole_and_answered(town: Town) -> None:
    payload = datapass_event("merged_with_another")
    assert town.send(payload).body == {}
    (kept,) = town.stored_items()
    assert json.loads(kept["payload"]) == payload
    assert town.dead_letters() == []


# ── What cannot be processed ─────────────────────────────────────────────────────────────────────────────────────────

UNPROCESSABLE = {
    "not JSON": b"{",
    "not an object": b"[]",
    "another API": json.dumps(datapass_event() | {"model_type": "authorization_request/api_entreprise"}).encode(),
    "no id": json.dumps({name: value for name, value in datapass_event().items() if name != "model_id"}).encode(),
    "no time": json.dumps(datapass_event() | {"fired_at": None}).encode(),
    "the future": json.dumps(datapass_event() | {"fired_at": 10**11}).encode(),
    "a wrong SIRET": json.dumps(
        datapass_event(organization={"siret": "21000000000018", "raison_sociale": "X"})
    ).encode(),
    "no scope": json.dumps(datapass_event(scopes=[])).encode(),
    "no known scope": json.dumps(datapass_event(scopes=["another_api_identite"])).encode(),
    "a vendor without its reasons": json.dumps(
        datapass_event(service_provider={"siret": VENDOR_SIRET, "name": "ÉDITEUR"}, description=" ")
    ).encode(),
}


@pytest.mark.parametrize("body", UNPROCESSABLE.values(), ids=UNPROCESSABLE)
def test_a_signed_event_that_cannot_be_processed_waits_for_somebody(
    town: Town, capfd: pytest.CaptureFixture[str], body: bytes
) -> None:
    answer = town.send(body)
    assert (answer.status, answer.body) == (200, {})
    assert town.dead_letters() == [body.decode()]
    assert (town.tokens(), town.gateway_keys()) == ([], [])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert "habilitation_unprocessable" in {line.get("event") for line in lines}


def test_an_approval_after_the_end_waits_for_somebody(town: Town) -> None:
    town.notify("revoke")
    assert town.notify("approve", FIRED_AT + 1).body == {}
    assert len(town.dead_letters()) == 1
    assert town.gateway_keys() == []


def test_when_our_own_means_fail_it_is_set_aside_and_asked_for_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HABILITATIONS_TABLE", "nowhere")
    new_environment()
    answer = town.notify()
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert len(town.dead_letters()) == 1


def test_what_cannot_even_be_set_aside_is_not_accepted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPASS_DEAD_LETTERS", "https://sqs.eu-west-3.amazonaws.com/123456789012/nowhere")
    assert town.notify(scopes=[]).status == 500


def test_nothing_of_a_contact_is_logged(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    town.notify()
    town.notify("revoke", FIRED_AT + 1)
    town.notify("alix@ville-imaginaire.exemple.fr", FIRED_AT + 2)
    town.notify(scopes=[], model_id=26002)
    town.notify(organization={"siret": "IMAGINAIRE"}, model_id=26003)
    logged = capfd.readouterr()
    assert "habilitation_told" in logged.out
    for word in ("IMAGINAIRE", "imaginaire", "Alix", "Sacha", "cantine", "0100000000", SIRET):
        assert word not in logged.out + logged.err


# ── Who is entitled ──────────────────────────────────────────────────────────────────────────────────────────────────


def request_of(kind: ApplicantType, **changes: Any) -> Request:
    return Request(**{"kind": kind, "organisation": "VILLE", "siret": SIRET, "justification": "Simplifie"} | changes)


@pytest.mark.parametrize("kind", [ApplicantType.COLLECTIVITE, ApplicantType.ADMINISTRATION])
def test_administrations_are_entitled(kind: ApplicantType) -> None:
    assert request_of(kind).refusal is None


@pytest.mark.parametrize("kind", [ApplicantType.PARTICULIER, ApplicantType.ENTREPRISE])
def test_people_and_companies_are_not_and_are_told_why(kind: ApplicantType) -> None:
    assert request_of(kind).refusal == "Seules les administrations sont habilitées à utiliser API Particulier."


def test_a_vendor_is_for_the_entity_that_it_names_if_it_says_why() -> None:
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
    served = town.repository.of_vendor(VENDOR_SIRET)
    assert [(one.id, one.request and one.request.siret, one.request and one.request.kind) for one in served] == [
        ("1", SIRET, ApplicantType.EDITEUR),
        ("2", OTHER_SIRET, ApplicantType.EDITEUR),
    ]
    assert len({one.token_id for one in served}) == 2
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
def test_a_siret_is_checked_la_postes_too(number: str, valid: bool) -> None:  # noqa: FBT001 - a table
    try:
        made = request_of(ApplicantType.ADMINISTRATION, siret=number)
    except ValueError:
        assert not valid
    else:
        assert valid
        assert made.siret == "".join(number.split())


# ── Whatever the order ───────────────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.sampled_from([*HabilitationEventType, "unheard_of"]), min_size=1, max_size=6, unique=True), st.randoms()
)
def test_what_ended_stays_ended_whatever_comes_after(events: list[str], random: Any) -> None:
    standing: Habilitation | None = None
    for at, name in enumerate(random.sample(events, len(events))):
        change = HabilitationEvent(
            "1", name, at, "DataPass", str(at), request_of(ApplicantType.COLLECTIVITE, scopes=SCOPES)
        )
        before = standing
        try:
            standing = apply_event(standing, change) or standing
        except UnprocessableEvent:
            assert standing is not None
            assert standing.state in FINAL_STATES
        if before is not None and before.state in FINAL_STATES:
            assert standing == before


def test_the_answer_is_of_the_kind_of_all_others(town: Town) -> None:
    answer: Response = town.notify()
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_the_secret_is_read_anew_within_a_minute(town: Town) -> None:
    town.notify("create")
    boto3.client("secretsmanager").put_secret_value(SecretId="datapass", SecretString="changed")
    new_environment()
    assert invoke(signed_request(datapass_event(at=FIRED_AT + 1), "changed"), "datapass_webhook").status == 200
