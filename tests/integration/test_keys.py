"""Issue, rotate, change and revoke keys, and call a function with them."""

import secrets
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any

import boto3
import pytest

from api_particulier.keys import lifecycle
from api_particulier.keys.lookup import find_usage_key
from api_particulier.keys.store import KEY_TAG, LEASE, KeyStore
from api_particulier.keys.token import Token
from ops.keys import Moved, move_secrets
from tests.support.cloud import Cloud
from tests.support.function import call_api, new_environment

NOW = datetime.now(UTC).replace(microsecond=0)
LATER = NOW + LEASE
SCOPES = frozenset({"dgfip_adresse", "dgfip_nombre_parts"})


def new(**changes: Any) -> lifecycle.NewToken:
    made = lifecycle.NewToken(
        id=lifecycle.NewToken.new_id(),
        organisation="VILLE EXEMPLE",
        siret="13002526500013",
        scopes=SCOPES,
        expires=NOW + lifecycle.LIFETIME,
    )
    return replace(made, **changes)


@pytest.fixture
def store(cloud: Cloud) -> KeyStore:  # noqa: ARG001 - its tables are used
    api = boto3.client("apigateway")
    plan = api.create_usage_plan(name="api-particulier-local")["id"]
    own = KeyStore.from_environment()
    return replace(own, api=api, dynamodb=boto3.client("dynamodb"), usage_plan=plan, environment="essai")


def assert_complete(store: KeyStore, cloud: Cloud) -> Counter[str]:
    """Assert that each token has one gateway key, in the plan, and nothing else is left; return the ids."""
    items = cloud.tokens.scan()["Items"]
    made = store.api.get_api_keys(includeValues=True, limit=500)["items"]
    planned = store.api.get_usage_plan_keys(usagePlanId=store.usage_plan, limit=500)["items"]
    assert Counter(f"api-particulier-{item['id']!s}" for item in items) == Counter(key["name"] for key in made)
    # AWS takes a key that is deleted out of its plans; moto leaves it there.
    ids = {key["id"] for key in made}
    assert {item["gateway_key_id"] for item in items} == ids == ids & {key["id"] for key in planned}
    assert {item["key_hash"] for item in items} == {f"token#{item['id']!s}" for item in items}
    assert {key["value"] for key in made} == {item["usage_key"] for item in items}
    return Counter(str(item["id"]) for item in items)


def status_of_call(token: Token) -> int:
    """Return the status of a call with the token's key, in an environment that has cached nothing."""
    new_environment()
    return call_api("introspect/introspect", key=KEYS[token.id]).status


KEYS: dict[str, str] = {}
"""The keys drawn by tests, by the ids of their tokens: no place of the service keeps one."""


def show(store: KeyStore, token: Token) -> Token:
    """Draw the key of a token, and return the token as it is then."""
    KEYS[token.id] = lifecycle.draw(store, token, NOW)
    return lifecycle.find(store, token.id)


def issue(store: KeyStore, new_token: lifecycle.NewToken) -> Token:
    """Issue a key and draw it."""
    return show(store, lifecycle.issue(store, new_token, NOW))


# ── Issuing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_opens_its_scopes_and_no_place_keeps_it(store: KeyStore, cloud: Cloud) -> None:
    token = issue(store, new())
    key = KEYS[token.id]
    assert (len(key), int(key, 16) > 0) == (64, True)
    assert set(call_api("introspect/introspect", key=key).body["scopes"]) >= SCOPES
    gateway = store.api.get_api_keys(includeValues=True)["items"]
    assert key not in str(cloud.tokens.scan()["Items"]) + str(gateway)
    assert [made["value"] for made in gateway] == [token.usage_key]


def test_nothing_opens_a_token_whose_key_was_not_drawn(store: KeyStore) -> None:
    token = lifecycle.issue(store, new(), NOW)
    for guess in (token.key_hash, token.id, str(token.usage_key)):
        new_environment()
        assert call_api("introspect/introspect", key=guess).status == 401


def test_a_key_lost_on_its_way_is_drawn_again_for_a_few_minutes_and_opens_nothing_more(store: KeyStore) -> None:
    token = issue(store, new())
    lost = KEYS[token.id]
    KEYS[token.id] = lifecycle.draw(store, token, NOW + lifecycle.AGAIN)
    assert status_of_call(token) == 200
    new_environment()
    assert call_api("introspect/introspect", key=lost).status == 401
    with pytest.raises(lifecycle.KeyShown, match=token.id):
        lifecycle.draw(store, token, NOW + 2 * lifecycle.AGAIN + timedelta(seconds=1))
    assert status_of_call(token) == 200


def test_ten_simultaneous_drawings_leave_one_key_that_opens(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    token = lifecycle.issue(store, new(), NOW)
    lock = RLock()
    client: Any = store.dynamodb
    call = client._make_api_call  # noqa: SLF001 - the one way of every call

    def alone(operation: str, arguments: Any) -> Any:
        with lock:
            return call(operation, arguments)

    monkeypatch.setattr(client, "_make_api_call", alone)
    monkeypatch.setattr(lifecycle, "_ATTEMPTS", 100)
    with ThreadPoolExecutor(10) as pool:
        keys = list(pool.map(lambda _: lifecycle.draw(store, token, NOW), range(10)))
    statuses = []
    for key in keys:
        new_environment()
        statuses.append(call_api("introspect/introspect", key=key).status)
    assert sorted(statuses) == [200] + [401] * 9


def test_a_key_at_the_gateway_has_the_tag_by_which_functions_may_use_it(store: KeyStore) -> None:
    token = lifecycle.issue(store, new(), NOW)
    assert store.api.get_api_key(apiKey=token.gateway_key_id or "")["tags"] == {KEY_TAG: store.environment}


def test_issuing_twice_makes_one_key(store: KeyStore, cloud: Cloud) -> None:
    asked = new()
    assert lifecycle.issue(store, asked, NOW) == lifecycle.issue(store, asked, LATER)
    assert assert_complete(store, cloud) == Counter([asked.id])


def test_issuing_a_revoked_key_again_makes_no_key(store: KeyStore) -> None:
    asked = new()
    lifecycle.revoke(store, lifecycle.issue(store, asked, NOW))
    assert lifecycle.issue(store, asked, LATER).state == "revoked"
    assert store.api.get_api_keys()["items"] == []


class Killed(BaseException):
    """The process is killed."""


class Process:
    """A process with clients of its own, killed once its n-th call has taken effect."""

    def __init__(self, store: KeyStore, calls: float) -> None:
        self.made: list[str] = []
        self._left = calls
        self.store = replace(store, api=boto3.client("apigateway"), dynamodb=boto3.client("dynamodb"))
        for client in (self.store.api, self.store.dynamodb):
            client.meta.events.register("before-call", self._before)
            client.meta.events.register("after-call", self._after)

    def _before(self, **_: Any) -> None:
        if self._left < 1:
            raise Killed

    def _after(self, model: Any, **_: Any) -> None:
        self.made.append(model.name)
        self._left -= 1
        if self._left < 1:
            raise Killed


def kill_at_each_step(store: KeyStore, act: Callable[[KeyStore, datetime], Token]) -> list[str]:
    """Run ``act`` killed after its 1st call, its 2nd…, and again unharmed; return the calls of a run that ends."""
    for calls in range(1, 100):
        process = Process(store, calls)
        try:
            act(process.store, NOW)
        except Killed:
            assert act(store, LATER) == act(store, LATER + LEASE)
        else:
            return process.made
    pytest.fail("it never ends")


def test_an_issue_killed_at_any_step_and_run_again_leaves_one_complete_key(store: KeyStore, cloud: Cloud) -> None:
    asked = [new() for _ in range(100)]
    rest = iter(asked)
    current: dict[datetime, lifecycle.NewToken] = {}

    def act(on: KeyStore, now: datetime) -> Token:
        if now == NOW:
            current[NOW] = next(rest)
        return lifecycle.issue(on, current[NOW], now)

    made = kill_at_each_step(store, act)
    assert {"PutItem", "CreateApiKey", "CreateUsagePlanKey", "TransactWriteItems"} <= set(made)
    assert assert_complete(store, cloud) == Counter(asked_token.id for asked_token in asked[: len(made) + 1])


@pytest.mark.slow
def test_a_rotation_killed_at_any_step_and_run_again_leaves_two_complete_keys(store: KeyStore, cloud: Cloud) -> None:
    olds: list[Token] = []

    def act(on: KeyStore, now: datetime) -> Token:
        if now == NOW:
            olds.append(lifecycle.issue(store, new(), NOW))
        try:
            return lifecycle.rotate(on, olds[-1], timedelta(days=7), now)
        except lifecycle.TooManyActiveKeys:  # the run that was killed had finished
            return lifecycle.find(store, str(lifecycle.find(store, olds[-1].id).successor))

    made = kill_at_each_step(store, act)
    assert {"UpdateItem", "CreateApiKey", "TransactWriteItems"} <= set(made)
    assert set(assert_complete(store, cloud).values()) == {1}
    for old in olds:
        after = lifecycle.find(store, old.id)
        made_of_it = lifecycle.find(store, str(after.successor))
        assert after.expires in {NOW + timedelta(days=7), LATER + timedelta(days=7)}
        assert (made_of_it.replaces, made_of_it.scopes) == (old.id, old.scopes)
    assert len(lifecycle.list_all(store)) == 2 * len(olds)


def test_a_killed_issue_can_be_undone(store: KeyStore, cloud: Cloud) -> None:
    kept = lifecycle.issue(store, new(), NOW)
    for calls in range(1, 100):
        process = Process(store, calls)
        try:
            lifecycle.issue(process.store, new(), NOW)
        except Killed:
            assert lifecycle.stale_issuances(store, NOW) == []  # its lease has not ended
            for dead in lifecycle.stale_issuances(store, LATER):
                lifecycle.cancel_issuance(store, dead)
            assert lifecycle.stale_issuances(store, LATER) == []
        else:
            break
        assert_complete(store, cloud)
    lifecycle.cancel_issuance(store, kept.id)
    assert status_of_call(show(store, kept)) == 200


def test_ten_simultaneous_issues_of_an_id_make_one_key(
    store: KeyStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A call to AWS is atomic; moto's are so only one at a time.
    lock = RLock()
    monkeypatch.setattr(lifecycle, "_PATIENCE", 60)
    processes = [Process(store, float("inf")) for _ in range(10)]
    for process in processes:
        clients: list[Any] = [process.store.api, process.store.dynamodb]
        for client in clients:
            made = client._make_api_call  # noqa: SLF001 - the one way of every call

            def alone(operation: str, arguments: Any, made: Any = made) -> Any:
                with lock:
                    return made(operation, arguments)

            monkeypatch.setattr(client, "_make_api_call", alone)
    asked = new()
    with ThreadPoolExecutor(10) as pool:
        issued = list(pool.map(lambda process: lifecycle.issue(process.store, asked, NOW), processes))
    assert len(set(issued)) == 1
    assert assert_complete(store, cloud) == Counter([asked.id])
    assert sum(process.made.count("CreateApiKey") for process in processes) == 1


def test_an_id_that_another_process_is_issuing_is_refused_after_a_wait(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = new()
    with pytest.raises(Killed):
        lifecycle.issue(Process(store, 3).store, asked, NOW)
    monkeypatch.setattr(lifecycle, "_PATIENCE", 0)
    with pytest.raises(lifecycle.IssuanceInProgress, match=asked.id):
        lifecycle.issue(store, asked, NOW)
    assert lifecycle.issue(store, asked, LATER).id == asked.id


def test_a_process_that_lost_its_lease_does_not_end_the_lease_of_the_next(store: KeyStore) -> None:
    asked = new()
    assert store.acquire_lease(asked.id, "slow", NOW)
    assert not store.acquire_lease(asked.id, "next", LATER - timedelta(seconds=1))
    assert store.acquire_lease(asked.id, "next", LATER)
    store.expire_lease(asked.id, "slow")
    store.release_lease(asked.id, "slow")
    assert not store.acquire_lease(asked.id, "third", LATER + timedelta(seconds=1))
    assert store.expired_leases(LATER + timedelta(seconds=1)) == []


def test_a_duplicate_gateway_key_is_removed(store: KeyStore, cloud: Cloud) -> None:
    asked = new()
    for _ in range(2):  # two issuers, each killed as the gateway made its key
        store.api.create_api_key(name=f"api-particulier-{asked.id}", value=secrets.token_hex(32))
    lifecycle.issue(store, asked, NOW)
    assert assert_complete(store, cloud) == Counter([asked.id])


def test_a_function_finds_its_usage_plan_by_its_name(store: KeyStore) -> None:
    assert KeyStore.from_environment().plan == store.usage_plan
    assert status_of_call(issue(KeyStore.from_environment(), new())) == 200


# ── Rotating ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_keys_of_a_rotation_work_until_the_end_of_the_overlap(store: KeyStore) -> None:
    old = issue(store, new(allowed=("203.0.113.0/24",), habilitation="42"))
    fresh = show(store, lifecycle.rotate(store, old, timedelta(days=7), NOW))
    assert (status_of_call(old), status_of_call(fresh)) == (200, 200)
    assert (fresh.scopes, fresh.allowed, fresh.habilitation) == (old.scopes, old.allowed, "42")
    assert fresh.expires == NOW + lifecycle.LIFETIME
    old = lifecycle.find(store, old.id)
    assert old.is_active(NOW + timedelta(days=7, seconds=-1))
    assert not old.is_active(NOW + timedelta(days=7))


def test_a_rotation_does_not_extend_the_old_key(store: KeyStore) -> None:
    old = issue(store, new(expires=NOW + timedelta(days=2)))
    lifecycle.rotate(store, old, timedelta(days=7), NOW)
    assert lifecycle.find(store, old.id).expires == old.expires


@pytest.mark.parametrize("habilitation", [None, "42"])
def test_a_habilitation_has_two_active_keys_at_most(store: KeyStore, habilitation: str | None) -> None:
    first = issue(store, new(habilitation=habilitation))
    second = lifecycle.rotate(store, first, timedelta(days=7), NOW)
    assert lifecycle.rotate(store, first, timedelta(days=7), NOW) == second  # not shown yet: it may have been lost
    show(store, second)
    for token in (first, second):
        with pytest.raises(lifecycle.TooManyActiveKeys, match=f"{first.id} and {second.id}"):
            lifecycle.rotate(store, token, timedelta(days=7), NOW)

    after = NOW + timedelta(days=7)
    third = lifecycle.rotate(store, second, timedelta(days=7), after)
    with pytest.raises(lifecycle.KeyNotActive, match=first.id):
        lifecycle.rotate(store, first, timedelta(days=7), after)
    if habilitation:
        with pytest.raises(lifecycle.TooManyActiveKeys):
            lifecycle.extend(store, first, after + timedelta(days=90), after)
        assert {token.id for token in lifecycle.list_for_habilitation(store, "42")} == {first.id, second.id, third.id}


def test_a_rotation_can_be_done_again_after_its_new_key_is_revoked(store: KeyStore) -> None:
    old = issue(store, new())
    lost = lifecycle.rotate(store, old, timedelta(days=7), NOW)
    lifecycle.revoke(store, lost)
    again = show(store, lifecycle.rotate(store, old, timedelta(days=7), NOW))
    assert again.id != lost.id
    assert status_of_call(again) == 200


def test_a_key_revoked_during_its_rotation_gets_no_successor(store: KeyStore) -> None:
    old = issue(store, new())
    process = Process(store, float("inf"))

    def revoke(model: Any, **_: Any) -> None:
        if model.name == "CreateUsagePlanKey":
            lifecycle.revoke(store, old)

    process.store.api.meta.events.register("after-call", revoke)
    with pytest.raises(lifecycle.KeyNotActive):
        lifecycle.rotate(process.store, old, timedelta(days=7), NOW)
    assert store.api.get_api_keys()["items"] == []
    assert [token.state for token in lifecycle.list_all(store)] == ["revoked"]
    assert lifecycle.stale_issuances(store, LATER) == []


# ── Changing and revoking ────────────────────────────────────────────────────────────────────────────────────────────


def test_an_expired_key_that_is_extended_works_again(store: KeyStore) -> None:
    token = issue(store, new(expires=NOW - timedelta(days=1)))
    assert status_of_call(token) == 401
    token = lifecycle.extend(store, token, NOW + timedelta(days=1), NOW)
    assert status_of_call(token) == 200


def test_the_scopes_of_a_key_can_only_be_reduced(store: KeyStore) -> None:
    token = issue(store, new())
    reduced = lifecycle.reduce_scopes(store, token, frozenset({"dgfip_declarant1_nom", "dgfip_nombre_parts"}))
    assert call_api("introspect/introspect", key=KEYS[token.id]).body["scopes"] == sorted(reduced.scopes)
    for wider in ("dgfip_declarant1_prenoms", "dgfip_adresse", "dgfip_avis_imposition", "cnaf_enfants", "unknown"):
        with pytest.raises(lifecycle.ScopesNotReduced, match=wider):
            lifecycle.reduce_scopes(store, token, frozenset({"dgfip_nombre_parts", wider}))
    with pytest.raises(lifecycle.ScopesNotReduced):
        lifecycle.reduce_scopes(store, token, frozenset())
    assert lifecycle.find(store, token.id) == reduced


def test_a_bundle_can_be_reduced_to_a_smaller_bundle(store: KeyStore) -> None:
    token = issue(store, new(scopes=frozenset({"dgfip_avis_imposition"})))
    assert lifecycle.reduce_scopes(store, token, frozenset({"dgfip_adresse"})).scopes == {"dgfip_adresse"}


def test_a_key_works_from_its_ranges_of_addresses_only(store: KeyStore) -> None:
    token = issue(store, new())
    lifecycle.set_allowed_ips(store, token, ["192.0.2.0/24"])
    assert status_of_call(token) == 403
    lifecycle.set_allowed_ips(store, token, ["192.0.2.0/24", "203.0.113.0/24"])
    assert status_of_call(token) == 200
    lifecycle.set_allowed_ips(store, token, [])
    assert status_of_call(token) == 200


def test_a_revoked_key_is_deleted_at_the_gateway_and_cannot_be_changed(store: KeyStore) -> None:
    token = issue(store, new())
    key = KEYS[token.id]
    assert lifecycle.revoke(store, token) == lifecycle.revoke(store, token)
    assert store.api.get_api_keys()["items"] == []
    assert call_api("introspect/introspect", key=key).status == 401
    for change in (
        lambda: lifecycle.draw(store, token, NOW),
        lambda: lifecycle.extend(store, token, NOW + timedelta(days=900), NOW),
        lambda: lifecycle.reduce_scopes(store, token, frozenset({"dgfip_nombre_parts"})),
        lambda: lifecycle.set_allowed_ips(store, token, []),
        lambda: lifecycle.rotate(store, token, timedelta(days=7), NOW),
    ):
        with pytest.raises(lifecycle.KeyNotActive, match=token.id):
            change()


def test_a_key_can_be_extended_for_90_days_before_its_place_is_taken_back(store: KeyStore) -> None:
    ended, _ = issue(store, new(expires=NOW)), issue(store, new())
    assert lifecycle.long_expired(store, NOW + lifecycle.KEPT - timedelta(seconds=1)) == []
    assert lifecycle.long_expired(store, NOW + lifecycle.KEPT) == [ended]
    lifecycle.revoke(store, ended)
    assert lifecycle.long_expired(store, NOW + lifecycle.KEPT) == []


def test_an_unknown_id_is_refused_by_name(store: KeyStore) -> None:
    with pytest.raises(lifecycle.UnknownToken, match="unknown-id"):
        lifecycle.find(store, "unknown-id")


# ── Keys issued before the authoriser ────────────────────────────────────────────────────────────────────────────────


def issue_as_before(store: KeyStore) -> Token:
    """Issue a key whose value at the gateway is the key itself, which nothing shows again."""
    token = issue(store, new())
    made = store.api.create_api_key(name=f"api-particulier-{token.id}", value=KEYS[token.id], enabled=True)
    store.add_to_plan(made["id"])
    store.delete_gateway_key(str(token.gateway_key_id))
    changed = store.change(token, gateway_key_id=made["id"], usage_key=None, shown=None)
    assert changed is not None
    return changed


def usage_key_of(token: Token) -> str | None:
    new_environment()
    return find_usage_key(KEYS[token.id])


def gateway_values(store: KeyStore) -> set[str]:
    return {key["value"] for key in store.api.get_api_keys(includeValues=True)["items"]}


def finish(store: KeyStore, moved: Moved) -> None:
    for gateway_key in (each for ids in moved.former.values() for each in ids):
        store.delete_gateway_key(gateway_key)


def test_a_secret_leaves_the_gateway_and_its_key_still_opens(store: KeyStore) -> None:
    token, recent = issue_as_before(store), issue(store, new())
    assert usage_key_of(token) == KEYS[token.id]
    moved = move_secrets(store)
    assert (list(moved.former), moved.left) == ([token.id], ())
    # Both count calls while the former value is remembered.
    assert {KEYS[token.id], f"api-particulier-{token.id}"} <= gateway_values(store)
    finish(store, moved)
    assert gateway_values(store) == {f"api-particulier-{each.id}" for each in (token, recent)}
    assert (usage_key_of(token), status_of_call(token)) == (f"api-particulier-{token.id}", 200)
    assert move_secrets(store).former == {}


def test_a_move_that_was_interrupted_is_finished_and_a_suspended_key_waits(store: KeyStore) -> None:
    token, suspended = issue_as_before(store), issue_as_before(store)
    lifecycle.suspend(store, suspended)
    interrupted, again = move_secrets(store), move_secrets(store)
    assert interrupted == again
    assert (list(again.former), again.left) == ([token.id], (suspended.id,))
    finish(store, again)
    assert status_of_call(token) == 200
    assert KEYS[token.id] not in gateway_values(store)
    assert usage_key_of(suspended) == KEYS[suspended.id]
