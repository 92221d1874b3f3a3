"""The life of a key, from the layer's functions to the front door of a function that the key opens."""

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
from api_particulier.keys.store import LEASE, KeyStore
from api_particulier.keys.token import Token, hash_key
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
def gateway(cloud: Cloud) -> KeyStore:
    api = boto3.client("apigateway")
    plan = api.create_usage_plan(name="api-particulier-local")["id"]
    return KeyStore(api, boto3.client("dynamodb"), plan, cloud.tokens.name)


def whole(gateway: KeyStore, cloud: Cloud) -> Counter[str]:
    """Return the ids of the tokens; each has its one gateway key, in the plan, and nothing else is anywhere."""
    items = cloud.tokens.scan()["Items"]
    made = gateway.api.get_api_keys(includeValues=True, limit=500)["items"]
    planned = gateway.api.get_usage_plan_keys(usagePlanId=gateway.usage_plan, limit=500)["items"]
    assert Counter(f"api-particulier-{item['id']!s}" for item in items) == Counter(one["name"] for one in made)
    # AWS takes a key that is deleted out of its plans; moto leaves it there.
    ids = {one["id"] for one in made}
    assert {item["gateway_key_id"] for item in items} == ids == ids & {one["id"] for one in planned}
    assert {item["key_hash"] for item in items} == {hash_key(one["value"]) for one in made}
    return Counter(str(item["id"]) for item in items)


def opens(gateway: KeyStore, token: Token) -> int:
    """Return what a caller with the token's key gets, of an environment that remembers nothing."""
    new_environment()
    return call_api("introspect/introspect", key=lifecycle.reveal(gateway, token)).status


# ── Issuing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_key_opens_its_scopes_and_only_the_gateway_knows_it(gateway: KeyStore, cloud: Cloud) -> None:
    token = lifecycle.issue(gateway, new(), NOW)
    key = lifecycle.reveal(gateway, token)
    assert (len(key), int(key, 16) > 0) == (64, True)
    assert call_api("introspect/introspect", key=key).body["scopes"] == sorted(SCOPES)
    assert key not in str(cloud.tokens.scan()["Items"])
    assert lifecycle.find(gateway, token.id) == token


def test_issuing_twice_makes_one_key(gateway: KeyStore, cloud: Cloud) -> None:
    asked = new()
    assert lifecycle.issue(gateway, asked, NOW) == lifecycle.issue(gateway, asked, LATER)
    assert whole(gateway, cloud) == Counter([asked.id])


def test_issuing_again_a_key_that_was_taken_away_makes_none(gateway: KeyStore) -> None:
    asked = new()
    lifecycle.revoke(gateway, lifecycle.issue(gateway, asked, NOW))
    assert lifecycle.issue(gateway, asked, LATER).state == "revoked"
    assert gateway.api.get_api_keys()["items"] == []


class Killed(BaseException):
    """The process is no more."""


class Process:
    """A process with clients of its own, killed once its n-th call has taken effect: it does nothing more."""

    def __init__(self, gateway: KeyStore, calls: float) -> None:
        self.made: list[str] = []
        self._left = calls
        self.gateway = replace(gateway, api=boto3.client("apigateway"), dynamodb=boto3.client("dynamodb"))
        for client in (self.gateway.api, self.gateway.dynamodb):
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


def kill_at_each_step(gateway: KeyStore, act: Callable[[KeyStore, datetime], Token]) -> list[str]:
    """Kill ``act`` after one call more each time, then let it be done again; return the calls of the last, unharmed."""
    for calls in range(1, 100):
        process = Process(gateway, calls)
        try:
            act(process.gateway, NOW)
        except Killed:
            assert act(gateway, LATER) == act(gateway, LATER + LEASE)
        else:
            return process.made
    pytest.fail("it never ends")


def test_killed_after_any_step_and_run_again_it_leaves_one_whole_key(gateway: KeyStore, cloud: Cloud) -> None:
    asked = [new() for _ in range(100)]
    rest = iter(asked)
    current: dict[datetime, lifecycle.NewToken] = {}

    def act(on: KeyStore, now: datetime) -> Token:
        if now == NOW:
            current[NOW] = next(rest)
        return lifecycle.issue(on, current[NOW], now)

    made = kill_at_each_step(gateway, act)
    assert {"PutItem", "CreateApiKey", "CreateUsagePlanKey", "TransactWriteItems"} <= set(made)
    assert whole(gateway, cloud) == Counter(one.id for one in asked[: len(made) + 1])


def test_a_rotation_killed_after_any_step_and_run_again_leaves_two_whole_keys(gateway: KeyStore, cloud: Cloud) -> None:
    olds: list[Token] = []

    def act(on: KeyStore, now: datetime) -> Token:
        if now == NOW:
            olds.append(lifecycle.issue(gateway, new(), NOW))
        try:
            return lifecycle.rotate(on, olds[-1], timedelta(days=7), now)
        except lifecycle.TooManyActiveKeys:  # what was killed, or run before, had done all
            return lifecycle.find(gateway, str(lifecycle.find(gateway, olds[-1].id).successor))

    made = kill_at_each_step(gateway, act)
    assert {"UpdateItem", "CreateApiKey", "TransactWriteItems"} <= set(made)
    assert set(whole(gateway, cloud).values()) == {1}
    for old in olds:
        after = lifecycle.find(gateway, old.id)
        made_of_it = lifecycle.find(gateway, str(after.successor))
        assert after.expires in {NOW + timedelta(days=7), LATER + timedelta(days=7)}
        assert (made_of_it.replaces, made_of_it.scopes) == (old.id, old.scopes)
    assert len(lifecycle.list_all(gateway)) == 2 * len(olds)


def test_what_died_can_be_undone_instead(gateway: KeyStore, cloud: Cloud) -> None:
    kept = lifecycle.issue(gateway, new(), NOW)
    for calls in range(1, 100):
        process = Process(gateway, calls)
        try:
            lifecycle.issue(process.gateway, new(), NOW)
        except Killed:
            assert lifecycle.stale_issuances(gateway, NOW) == []  # for all that one knows, it is being issued
            for dead in lifecycle.stale_issuances(gateway, LATER):
                lifecycle.cancel_issuance(gateway, dead)
            assert lifecycle.stale_issuances(gateway, LATER) == []
        else:
            break
        whole(gateway, cloud)
    lifecycle.cancel_issuance(gateway, kept.id)
    assert opens(gateway, kept) == 200


def test_ten_at_once_make_one_key(gateway: KeyStore, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    # A call to AWS is atomic; moto's are so only one at a time.
    lock = RLock()
    monkeypatch.setattr(lifecycle, "_PATIENCE", 60)
    processes = [Process(gateway, float("inf")) for _ in range(10)]
    for process in processes:
        clients: list[Any] = [process.gateway.api, process.gateway.dynamodb]
        for client in clients:
            made = client._make_api_call  # noqa: SLF001 - the one way of every call

            def alone(operation: str, arguments: Any, made: Any = made) -> Any:
                with lock:
                    return made(operation, arguments)

            monkeypatch.setattr(client, "_make_api_call", alone)
    asked = new()
    with ThreadPoolExecutor(10) as pool:
        issued = list(pool.map(lambda process: lifecycle.issue(process.gateway, asked, NOW), processes))
    assert len(set(issued)) == 1
    assert whole(gateway, cloud) == Counter([asked.id])
    assert sum(process.made.count("CreateApiKey") for process in processes) == 1


def test_an_id_that_somebody_is_issuing_is_waited_for_then_refused(
    gateway: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = new()
    with pytest.raises(Killed):
        lifecycle.issue(Process(gateway, 3).gateway, asked, NOW)
    monkeypatch.setattr(lifecycle, "_PATIENCE", 0)
    with pytest.raises(lifecycle.IssuanceInProgress, match=asked.id):
        lifecycle.issue(gateway, asked, NOW)
    assert lifecycle.issue(gateway, asked, LATER).id == asked.id


def test_a_key_that_came_through_late_is_removed(gateway: KeyStore, cloud: Cloud) -> None:
    asked = new()
    for _ in range(2):  # two issuers, each killed as the gateway made its key
        gateway.api.create_api_key(name=f"api-particulier-{asked.id}", value=secrets.token_hex(32))
    lifecycle.issue(gateway, asked, NOW)
    assert whole(gateway, cloud) == Counter([asked.id])


def test_a_function_finds_its_usage_plan_by_its_name(gateway: KeyStore) -> None:
    assert KeyStore.of_function().plan == gateway.usage_plan
    assert opens(gateway, lifecycle.issue(KeyStore.of_function(), new(), NOW)) == 200


# ── Rotating ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_both_keys_of_a_rotation_work_until_the_overlaps_end(gateway: KeyStore) -> None:
    old = lifecycle.issue(gateway, new(allowed=("203.0.113.0/24",), habilitation="42"), NOW)
    fresh = lifecycle.rotate(gateway, old, timedelta(days=7), NOW)
    assert (opens(gateway, old), opens(gateway, fresh)) == (200, 200)
    assert (fresh.scopes, fresh.allowed, fresh.habilitation) == (old.scopes, old.allowed, "42")
    assert fresh.expires == NOW + lifecycle.LIFETIME
    old = lifecycle.find(gateway, old.id)
    assert old.is_active(NOW + timedelta(days=7, seconds=-1))
    assert not old.is_active(NOW + timedelta(days=7))


def test_an_old_key_is_not_made_to_live_longer(gateway: KeyStore) -> None:
    old = lifecycle.issue(gateway, new(expires=NOW + timedelta(days=2)), NOW)
    lifecycle.rotate(gateway, old, timedelta(days=7), NOW)
    assert lifecycle.find(gateway, old.id).expires == old.expires


@pytest.mark.parametrize("habilitation", [None, "42"])
def test_two_keys_live_at_most(gateway: KeyStore, cloud: Cloud, habilitation: str | None) -> None:
    first = lifecycle.issue(gateway, new(habilitation=habilitation), NOW)
    second = lifecycle.rotate(gateway, first, timedelta(days=7), NOW)
    for one in (first, second):
        with pytest.raises(lifecycle.TooManyActiveKeys, match=f"{first.id} and {second.id}"):
            lifecycle.rotate(gateway, one, timedelta(days=7), NOW)
    assert len(whole(gateway, cloud)) == 2
    after = NOW + timedelta(days=7)
    third = lifecycle.rotate(gateway, second, timedelta(days=7), after)
    with pytest.raises(lifecycle.KeyNotActive, match=first.id):
        lifecycle.rotate(gateway, first, timedelta(days=7), after)
    if habilitation:
        with pytest.raises(lifecycle.TooManyActiveKeys):
            lifecycle.extend(gateway, first, after + timedelta(days=90), after)
        assert {one.id for one in lifecycle.list_for_habilitation(gateway, "42")} == {first.id, second.id, third.id}


def test_a_new_key_that_was_taken_away_can_be_made_again(gateway: KeyStore) -> None:
    old = lifecycle.issue(gateway, new(), NOW)
    lost = lifecycle.rotate(gateway, old, timedelta(days=7), NOW)
    lifecycle.revoke(gateway, lost)
    again = lifecycle.rotate(gateway, old, timedelta(days=7), NOW)
    assert again.id != lost.id
    assert opens(gateway, again) == 200


def test_a_key_revoked_amid_its_rotation_gets_no_successor(gateway: KeyStore) -> None:
    old = lifecycle.issue(gateway, new(), NOW)
    process = Process(gateway, float("inf"))

    def revoke(model: Any, **_: Any) -> None:
        if model.name == "CreateUsagePlanKey":
            lifecycle.revoke(gateway, old)

    process.gateway.api.meta.events.register("after-call", revoke)
    with pytest.raises(lifecycle.KeyNotActive):
        lifecycle.rotate(process.gateway, old, timedelta(days=7), NOW)
    assert gateway.api.get_api_keys()["items"] == []
    assert [one.state for one in lifecycle.list_all(gateway)] == ["revoked"]
    assert lifecycle.stale_issuances(gateway, LATER) == []


# ── Changing, and taking away ────────────────────────────────────────────────────────────────────────────────────────


def test_a_prolonged_key_works_again(gateway: KeyStore) -> None:
    token = lifecycle.issue(gateway, new(expires=NOW - timedelta(days=1)), NOW)
    assert opens(gateway, token) == 401
    token = lifecycle.extend(gateway, token, NOW + timedelta(days=1), NOW)
    assert opens(gateway, token) == 200


def test_a_narrowed_key_opens_less_and_never_more(gateway: KeyStore) -> None:
    token = lifecycle.issue(gateway, new(), NOW)
    narrowed = lifecycle.reduce_scopes(gateway, token, frozenset({"dgfip_declarant1_nom", "dgfip_nombre_parts"}))
    assert call_api("introspect/introspect", key=lifecycle.reveal(gateway, token)).body["scopes"] == sorted(
        narrowed.scopes
    )
    for wider in ("dgfip_declarant1_prenoms", "dgfip_adresse", "dgfip_avis_imposition", "cnaf_enfants", "unknown"):
        with pytest.raises(lifecycle.ScopesNotReduced, match=wider):
            lifecycle.reduce_scopes(gateway, token, frozenset({"dgfip_nombre_parts", wider}))
    with pytest.raises(lifecycle.ScopesNotReduced):
        lifecycle.reduce_scopes(gateway, token, frozenset())
    assert lifecycle.find(gateway, token.id) == narrowed


def test_a_bundle_may_become_the_smaller_one_that_it_holds(gateway: KeyStore) -> None:
    token = lifecycle.issue(gateway, new(scopes=frozenset({"dgfip_avis_imposition"})), NOW)
    assert lifecycle.reduce_scopes(gateway, token, frozenset({"dgfip_adresse"})).scopes == {"dgfip_adresse"}


def test_a_key_is_used_from_its_ranges_only(gateway: KeyStore) -> None:
    token = lifecycle.issue(gateway, new(), NOW)
    lifecycle.set_allowed_ips(gateway, token, ["192.0.2.0/24"])
    assert opens(gateway, token) == 403
    lifecycle.set_allowed_ips(gateway, token, ["192.0.2.0/24", "203.0.113.0/24"])
    assert opens(gateway, token) == 200
    lifecycle.set_allowed_ips(gateway, token, [])
    assert opens(gateway, token) == 200


def test_a_key_taken_away_is_nowhere_at_the_gateway_and_never_comes_back(gateway: KeyStore) -> None:
    token = lifecycle.issue(gateway, new(), NOW)
    key = lifecycle.reveal(gateway, token)
    assert lifecycle.revoke(gateway, token) == lifecycle.revoke(gateway, token)
    assert gateway.api.get_api_keys()["items"] == []
    assert call_api("introspect/introspect", key=key).status == 401
    for change in (
        lambda: lifecycle.reveal(gateway, token),
        lambda: lifecycle.extend(gateway, token, NOW + timedelta(days=900), NOW),
        lambda: lifecycle.reduce_scopes(gateway, token, frozenset({"dgfip_nombre_parts"})),
        lambda: lifecycle.set_allowed_ips(gateway, token, []),
        lambda: lifecycle.rotate(gateway, token, timedelta(days=7), NOW),
    ):
        with pytest.raises(lifecycle.KeyNotActive, match=token.id):
            change()


def test_a_key_that_ended_gives_its_place_back_after_the_time_to_prolong_it(gateway: KeyStore) -> None:
    ended, _ = lifecycle.issue(gateway, new(expires=NOW), NOW), lifecycle.issue(gateway, new(), NOW)
    assert lifecycle.long_expired(gateway, NOW + lifecycle.KEPT - timedelta(seconds=1)) == []
    assert lifecycle.long_expired(gateway, NOW + lifecycle.KEPT) == [ended]
    lifecycle.revoke(gateway, ended)
    assert lifecycle.long_expired(gateway, NOW + lifecycle.KEPT) == []


def test_an_unknown_id_is_said_to_be(gateway: KeyStore) -> None:
    with pytest.raises(lifecycle.UnknownToken, match="nobody"):
        lifecycle.find(gateway, "nobody")
