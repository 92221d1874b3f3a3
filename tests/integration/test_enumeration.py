"""Slow, then suspend, a token that walks through numbers in any order; leave the calls of a town alone."""

import json
import random
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from typing import Any

import boto3
import pytest
import time_machine
from cachetools import LRUCache
from flask import Response as FlaskResponse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api_particulier.api import enumeration
from api_particulier.audit import mac
from api_particulier.aws import dynamodb
from api_particulier.errors import EnumerationSuspected
from api_particulier.habilitations import email
from functions.token_suspension.app import lambda_handler as suspend
from tests.support import caf as family
from tests.support.caf import Caf
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, new_environment
from tests.support.tax_service import NOT_FOUND_PAGE, TaxService
from tests.support.template import ROOT, template

SLOWED = template()["Parameters"]["EnumerationSlowedAt"]["Default"]
ANSWERED = {200, 404}
ENDED = 100
"""The number of answers that a walk must not reach."""


# The tax service knows every number.
pytestmark = [pytest.mark.usefixtures("dgfip"), pytest.mark.slow]


class Environments:
    """Several environments of the functions; each remembers its own calls only."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._all: list[LRUCache[str, Any]] = [LRUCache(maxsize=256) for _ in range(count)]
        self._chance = random.Random(count)  # noqa: S311 - a choice of environment, no secret
        monkeypatch.setattr(enumeration, "_histories", lambda: self._now)
        self.next()

    def next(self) -> None:
        self._now = self._chance.choice(self._all)


def of_tax(key: str, number: int, door: str = "revenu_fiscal_reference/v2") -> Response:
    return call_api(door, key=key, numeroFiscal=f"{number:013}", referenceAvis="2690000000022")


def of_family(key: str, number: int, door: str = "quotient_familial/v2") -> Response:
    return call_api(door, key=key, numeroAllocataire=f"{number:07}", codePostal="75011")


def walk(
    send: Callable[[str, int], Response], key: str, numbers: Iterable[int], environments: Environments | None = None
) -> list[int]:
    """Call about each number, and return the statuses."""
    statuses = []
    for number in numbers:
        if environments:
            environments.next()
        statuses.append(send(key, number).status)
    return statuses


def everything(cloud: Cloud) -> str:
    return cloud.issue_key("dgfip_avis_imposition", "cnaf_attestation_droits", id="jeton-1")


def suspicions() -> list[dict[str, Any]]:
    """Return the messages of the suspension queue."""
    sqs, (queue,) = boto3.client("sqs"), boto3.client("sqs").list_queues()["QueueUrls"]
    found: list[dict[str, Any]] = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found += [{"body": message["Body"]} for message in messages]
    return found


# ── Walks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

START = 2_690_000_123_456
WALKS = {
    "up": range(START, START + 130),
    "down": range(START, START - 130, -1),
    "by two": range(START, START + 260, 2),
    "by seven": range(START, START + 910, 7),
    "by valid numbers": range(START, START + 130 * 1001, 1001),
    "by far": range(START, START + 130 * 123_456_789, 123_456_789),
    "down by far": range(START, START - 130 * 123_456_789, -123_456_789),
    "shuffled valid numbers": random.Random(6).sample(range(START, START + 130 * 1001, 1001), 130),  # noqa: S311 - an order
    "shuffled": random.Random(1).sample(range(START, START + 130), 130),  # noqa: S311 - an order
    "over a limit": range(2_690_000_000_000 - 50, 2_690_000_000_080),
}


@pytest.mark.parametrize("how", WALKS)
def test_a_walk_through_existing_tax_numbers_stops_before_the_100th(cloud: Cloud, how: str) -> None:
    statuses = walk(of_tax, everything(cloud), WALKS[how])
    assert statuses.count(200) < ENDED
    assert set(statuses) == {200, 429}
    assert set(statuses[ENDED:]) == {429}


@pytest.mark.parametrize("how", ["up", "shuffled"])
@pytest.mark.parametrize("environments", [2, 8])
def test_a_walk_served_by_several_environments_stops_before_the_100th(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, how: str, environments: int
) -> None:
    statuses = walk(of_tax, everything(cloud), WALKS[how], Environments(environments, monkeypatch))
    assert statuses.count(200) < ENDED
    assert set(statuses[ENDED + environments :]) == {429}


def test_a_walk_through_several_datasets_stops_before_the_100th(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    doors = cycle(["revenu_fiscal_reference/v2", "declarants/v2", "avis_imposition/v1", "avis_imposition/v2"])
    environments = Environments(4, monkeypatch)
    statuses = walk(lambda key, number: of_tax(key, number, next(doors)), everything(cloud), WALKS["up"], environments)
    assert statuses.count(200) < ENDED


@pytest.mark.parametrize("how", ["up", "by two"])
@pytest.mark.parametrize("known", [True, False])
def test_a_walk_through_families_stops_before_the_100th(cloud: Cloud, caf: Caf, how: str, known: bool) -> None:  # noqa: FBT001 - a table of cases
    numbers = [number - START + 2_600_000 for number in WALKS[how]]
    if known:
        caf.families = [family.FAMILY.model_copy(update={"numero_allocataire": f"{number:07}"}) for number in numbers]
    statuses = walk(of_family, everything(cloud), numbers)
    answered = [status for status in statuses if status in ANSWERED]
    assert set(answered) <= ({200} if known else ANSWERED)
    assert len(answered) < ENDED
    assert set(statuses[ENDED:]) == {429}


def test_unknown_numbers_far_from_each_other_stop_before_the_100th(cloud: Cloud, dgfip: TaxService) -> None:
    dgfip.page = NOT_FOUND_PAGE
    numbers = random.Random(2).sample(range(10**12, 10**13), 120)  # noqa: S311 - which numbers is no secret
    statuses = walk(of_tax, everything(cloud), numbers)
    assert statuses.count(404) < ENDED
    assert set(statuses[ENDED:]) == {429}


def test_unknown_references_tried_for_one_tax_number_stop_before_the_100th(cloud: Cloud, dgfip: TaxService) -> None:
    dgfip.page = NOT_FOUND_PAGE
    key, references = everything(cloud), [f"26{number:011}" for number in range(120)]
    statuses = [
        call_api("declarants/v2", key=key, numeroFiscal="2690000000011", referenceAvis=reference).status
        for reference in references
    ]
    assert statuses.count(404) < ENDED


@pytest.mark.usefixtures("caf")
def test_postcodes_tried_for_one_family_number_stop_before_the_100th(cloud: Cloud) -> None:
    key = everything(cloud)
    tried = [
        call_api("adresse_caf/v2", key=key, numeroAllocataire="2600009", codePostal=f"75{postcode:03}")
        for postcode in range(120)
    ]
    assert len([answer for answer in tried if answer.status == 404]) < ENDED


# ── Slowed, then suspended ───────────────────────────────────────────────────────────────────────────────────────────

FEW, MORE = 10, 20


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the thresholds, so that a test makes fewer calls."""
    monkeypatch.setenv("ENUMERATION_SLOWED_AT", f"{FEW}")
    monkeypatch.setenv("ENUMERATION_SUSPENDED_AT", f"{MORE}")


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("boundary", [2_690_000_000_000, 2_690_000_500_000])
def test_neighbours_on_both_sides_of_a_boundary_are_counted_together(cloud: Cloud, boundary: int) -> None:
    chance = random.Random(boundary)  # noqa: S311 - which numbers is no secret
    below = chance.sample(range(boundary - 400_000, boundary), FEW // 2 + 1)
    above = chance.sample(range(boundary, boundary + 400_000), FEW // 2 + 1)
    numbers = chance.sample([*below, *above], FEW + 2)
    assert walk(of_tax, everything(cloud), numbers)[-1] == 429


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("boundary", [2_601_000, 2_600_500])
def test_families_on_both_sides_of_a_boundary_are_counted_together(cloud: Cloud, caf: Caf, boundary: int) -> None:
    chance = random.Random(boundary)  # noqa: S311 - which numbers is no secret
    below = chance.sample(range(boundary - 400, boundary), FEW // 2 + 1)
    above = chance.sample(range(boundary, boundary + 400), FEW // 2 + 1)
    numbers = chance.sample([*below, *above], FEW + 2)
    caf.families = [family.FAMILY.model_copy(update={"numero_allocataire": f"{number:07}"}) for number in numbers]
    assert set(walk(of_family, everything(cloud), numbers)) == {200, 429}


@pytest.mark.usefixtures("few")
def test_numbers_a_million_apart_are_not_counted_together(cloud: Cloud) -> None:
    chance = random.Random(7)  # noqa: S311 - which numbers is no secret
    start = 2_690_000_000_000
    near = chance.sample(range(start + 100_000, start + 400_000), FEW - 1)
    far = chance.sample(range(start + 1_400_000, start + 1_700_000), FEW - 1)
    numbers = chance.sample([*near, *far], 2 * (FEW - 1))
    assert set(walk(of_tax, everything(cloud), numbers)) == {200}


@pytest.mark.usefixtures("few")
def test_numbers_of_different_days_are_not_counted_together(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_nombre_parts", expires=None)
    for day in (3, 4, 5):
        with time_machine.travel(datetime(2026, 11, day, 12, tzinfo=UTC), tick=True):
            numbers = [START + 1000 * day + number**2 for number in range(FEW - 1)]
            assert set(walk(of_tax, key, numbers)) == {200}


@pytest.mark.usefixtures("few")
def test_unknown_numbers_of_different_hours_are_not_counted_together(cloud: Cloud, dgfip: TaxService) -> None:
    dgfip.page = NOT_FOUND_PAGE
    key = cloud.issue_key("dgfip_nombre_parts", expires=None)
    for hour in (9, 10, 11):
        with time_machine.travel(datetime(2026, 11, 3, hour, 5, tzinfo=UTC), tick=True):
            numbers = random.Random(hour).sample(range(10**12, 10**13), FEW - 1)  # noqa: S311 - no secret
            assert set(walk(of_tax, key, numbers)) == {404}


def anywhere(count: int, seed: int) -> list[int]:
    """Return tax numbers that are not neighbours."""
    return random.Random(seed).sample(range(10**12, 10**13), count)  # noqa: S311 - which numbers is no secret


@pytest.mark.usefixtures("few")
def test_strangers_numbers_in_a_towns_form_do_not_stop_the_towns_families(cloud: Cloud, dgfip: TaxService) -> None:
    """Unknown numbers become 429 and suspend no token; known ones are still answered."""
    key, found = everything(cloud), dgfip.page
    dgfip.page = NOT_FOUND_PAGE
    assert set(walk(of_tax, key, anywhere(3 * MORE, 8))[FEW:]) == {429}
    dgfip.page = found
    assert set(walk(of_tax, key, anywhere(FEW, 9))) == {200}
    assert [json.loads(message["body"]) for message in suspicions()] == []


def test_guesses_hidden_among_known_calls_are_refused_before_the_300th(cloud: Cloud, dgfip: TaxService) -> None:
    key, found, guesses = everything(cloud), dgfip.page, []
    for known, guess in zip(anywhere(300, 10), anywhere(300, 11), strict=True):
        dgfip.page = NOT_FOUND_PAGE
        guesses.append(of_tax(key, guess).status)
        dgfip.page = found
        of_tax(key, known)
    assert guesses[:280] == [404] * 280
    assert set(guesses[280:]) == {429}
    (warning,) = (json.loads(message["body"]) for message in suspicions())
    assert (warning["token"], warning["sanction"]) == ("jeton-1", "warn")


@pytest.mark.parametrize("environments", [1, 3])
def test_a_token_reads_no_more_people_in_a_day_than_its_bound(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, environments: int
) -> None:
    key = cloud.issue_key("dgfip_avis_imposition", id="jeton-1", people_a_day=30, expires=None)
    many = Environments(environments, monkeypatch)
    statuses = walk(of_tax, key, anywhere(60, 12), many)
    assert statuses.count(200) == 30
    assert set(statuses[30:]) == {429}
    assert cloud.audit_records()[-1]["suspicion"] == "bounded"
    with time_machine.travel(datetime.now(UTC) + timedelta(days=1), tick=True):
        new_environment()
        assert of_tax(key, START).status == 200


def test_at_the_bound_people_that_were_asked_about_are_still_answered(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition", id="jeton-1", people_a_day=5)
    numbers = anywhere(8, 13)
    assert walk(of_tax, key, numbers) == [200] * 5 + [429] * 3
    assert walk(of_tax, key, numbers) == [200] * 5 + [429] * 3


def test_an_unreadable_bound_is_not_no_bound(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_avis_imposition", people_a_day=0)
    assert of_tax(key, START).status == 500


def test_an_end_user_that_a_caller_names_is_refused_alone(cloud: Cloud, dgfip: TaxService) -> None:
    key, found = everything(cloud), dgfip.page

    def ask(number: int, end_user: str) -> int:
        numbers = {"numeroFiscal": f"{number}", "referenceAvis": "2690000000022"}
        return call_api("declarants/v2", key=key, headers={"X-End-User": end_user}, **numbers).status

    dgfip.page = NOT_FOUND_PAGE
    assert [ask(number, "usager-1") for number in anywhere(25, 14)] == [404] * 19 + [429] * 6
    asked = len(dgfip.requests)
    dgfip.page = found
    assert ask(START, "usager-1") == 429
    assert len(dgfip.requests) == asked
    assert ask(START, "usager-2") == 200
    assert "usager" not in repr(cloud.audit_records()) + repr(watched(cloud))


@pytest.mark.usefixtures("few")
def test_a_slowed_call_is_429_and_its_audit_record_gives_the_suspicion(cloud: Cloud, dgfip: TaxService) -> None:
    key = everything(cloud)
    walk(of_tax, key, range(START, START + FEW - 1))
    asked = len(dgfip.requests)
    answer = of_tax(key, START + FEW)
    assert (answer.status, answer.body) == (429, EnumerationSuspected().body)
    assert answer.headers["Retry-After"] == "60"
    assert len(dgfip.requests) == asked
    entry = cloud.audit_records()[-1]
    assert (entry["status"], entry["error"], entry["suspicion"]) == (429, "rate_limited", "slowed")
    assert len(entry["citizen"]) == 64
    assert "suspicion" not in cloud.audit_records()[-2]


@pytest.mark.usefixtures("few")
def test_calls_outside_the_walk_are_still_answered(cloud: Cloud) -> None:
    key = everything(cloud)
    assert walk(of_tax, key, islice(WALKS["up"], MORE))[-1] == 429
    assert of_tax(key, 1_230_000_000_000).status == 200


@pytest.mark.usefixtures("few")
def test_another_token_is_not_slowed(cloud: Cloud) -> None:
    assert walk(of_tax, everything(cloud), islice(WALKS["up"], MORE))[-1] == 429
    assert of_tax(cloud.issue_key("dgfip_nombre_parts"), START).status == 200


@pytest.mark.usefixtures("few")
def test_waiting_for_retry_after_does_not_help_a_walk(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(enumeration, "monotonic", lambda: now)
    key, answered = everything(cloud), 0
    for number in islice(WALKS["up"], 2 * MORE):
        status = of_tax(key, number).status
        answered += status == 200
        now += 0 if status == 200 else 61
    assert answered == FEW - 1
    assert suspicions()


@pytest.mark.usefixtures("few")
def test_a_walk_that_goes_on_sends_its_token_to_the_suspension_queue(cloud: Cloud) -> None:
    key = everything(cloud)
    walk(of_tax, key, islice(WALKS["up"], MORE - 1))
    assert suspicions() == []
    of_tax(key, WALKS["up"][MORE - 1])
    (message,) = (json.loads(message["body"]) for message in suspicions())
    assert (message["token"], message["sanction"]) == ("jeton-1", "suspend")
    assert cloud.audit_records()[-1]["suspicion"] == "suspended"


@pytest.mark.usefixtures("few")
def test_a_walk_is_refused_even_when_the_queue_cannot_be_reached(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SUSPICIONS_QUEUE", "http://127.0.0.1:9/nowhere")
    assert walk(of_tax, everything(cloud), islice(WALKS["up"], MORE + 5))[-1] == 429
    assert '"event":"enumeration_unknown"' in capfd.readouterr().out


def test_neighbours_that_cannot_be_counted_are_refused_before_the_provider_is_called(
    cloud: Cloud, dgfip: TaxService
) -> None:
    key = everything(cloud)
    assert of_tax(key, START).status == 200
    cloud.stats.delete()
    asked = len(dgfip.requests)
    answer = of_tax(key, START + 1)
    assert (answer.status, answer.body["error"]) == (503, "audit_unavailable")
    assert len(dgfip.requests) == asked
    assert of_tax(key, 1_230_000_000_000).status == 200  # it has no neighbour to be counted with


def test_a_group_of_neighbours_expires_from_the_table_within_three_days(cloud: Cloud) -> None:
    walk(of_tax, everything(cloud), range(START, START + 5))
    kept = [item for item in cloud.stats.scan()["Items"] if item["pk"] == "watch#jeton-1"]
    assert kept
    for item in kept:
        life = datetime.fromtimestamp(int(str(item["expires_at"])), UTC) - datetime.now(UTC)
        assert timedelta(days=1) < life < timedelta(days=3)


def test_the_table_holds_no_number_and_no_group_name_in_clear(cloud: Cloud, dgfip: TaxService) -> None:
    key = everything(cloud)
    walk(of_tax, key, range(START, START + 5))
    walk(of_tax, key, range(START, START + 6 * 123_456_789, 123_456_789))
    dgfip.page = NOT_FOUND_PAGE
    walk(of_tax, key, [1_230_000_000_000, 4_560_000_000_000])
    kept = watched(cloud)
    assert len(kept) == 6  # two ranges, two steps, the unknown people of the hour and of the day
    for item in kept:
        assert item.keys() <= {"pk", "sk", "people", "found", "strangers", "calls", "expires_at"}
        assert re.fullmatch(r"[0-9a-f]{32}", str(item["sk"]))
        people = set().union(*(item.get(name, ()) for name in ("people", "found", "strangers")))
        assert all(re.fullmatch(r"[0-9a-f]{8}", person) for person in people)
    records = repr(cloud.audit_records())
    assert str(START)[:7] not in records
    assert "123456789" not in repr(kept) + records


# ── What a town does ─────────────────────────────────────────────────────────────────────────────────────────────────


def watched(cloud: Cloud) -> list[dict[str, Any]]:
    return [item for item in cloud.stats.scan()["Items"] if str(item["pk"]).startswith("watch#")]


def test_an_ordinary_call_writes_nothing(cloud: Cloud) -> None:
    key = everything(cloud)
    numbers = random.Random(3).sample(range(10**12, 10**13), 30)  # noqa: S311 - which numbers is no secret
    assert set(walk(of_tax, key, [*numbers, *numbers])) == {200}
    assert watched(cloud) == []


def test_software_that_comes_back_to_the_same_people_is_not_slowed(cloud: Cloud) -> None:
    key = everything(cloud)
    doors = ("avis_imposition/v1", "avis_imposition/v2")
    statuses = [of_tax(key, START + number, door).status for number in range(100) for door in doors]
    assert set(statuses) == {200}


@pytest.mark.usefixtures("few")
def test_coming_back_to_each_person_does_not_hide_a_long_walk(cloud: Cloud) -> None:
    key = everything(cloud)
    statuses = [of_tax(key, START + number).status for number in range(4 * FEW + 5) for _ in range(2)]
    assert 429 in statuses


@pytest.mark.usefixtures("few")
def test_calling_twice_about_each_person_does_not_hide_a_walk_by_a_wide_step(cloud: Cloud) -> None:
    key = everything(cloud)
    numbers = (number for number in WALKS["by far"] for _ in range(2))
    assert 429 in walk(of_tax, key, islice(numbers, 2 * (4 * FEW + 5)))


@pytest.mark.usefixtures("few")
def test_coming_back_to_the_same_people_while_refused_does_not_end_the_refusal(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(enumeration, "monotonic", lambda: now)
    key = everything(cloud)
    assert walk(of_tax, key, range(START, START + FEW))[-1] == 429
    for _ in range(5):
        assert set(walk(of_tax, key, range(START, START + FEW))) == {429}
    now += 61
    assert of_tax(key, START + FEW).status == 429


def test_many_typing_mistakes_among_good_calls_are_not_slowed(cloud: Cloud, dgfip: TaxService) -> None:
    key, found = everything(cloud), dgfip.page
    numbers = random.Random(4).sample(range(10**12, 10**13), 220)  # noqa: S311 - which numbers is no secret
    statuses = []
    for position, number in enumerate(numbers):  # two of five are mistyped
        dgfip.page = NOT_FOUND_PAGE if position % 5 < 2 else found
        statuses.append(of_tax(key, number).status)
    assert statuses.count(404) == 88 > SLOWED
    assert set(statuses) == ANSWERED


def test_one_mistake_repeated_is_counted_once(cloud: Cloud, dgfip: TaxService) -> None:
    dgfip.page = NOT_FOUND_PAGE
    assert set(walk(of_tax, everything(cloud), [START] * 100)) == {404}


@pytest.mark.parametrize("code", ["101", "141", "151", "161"])
def test_known_families_without_data_are_not_counted_as_unknown_people(cloud: Cloud, caf: Caf, code: str) -> None:
    """A yearly refresh of 200 families whose file gives no quotient."""
    key = everything(cloud)
    caf.override = FlaskResponse(family.multipart(family.envelope("", code=code)), content_type="multipart/related")
    numbers = random.Random(int(code)).sample(range(10_000_000), 200)  # noqa: S311 - an order
    assert set(walk(of_family, key, numbers)) == {404}
    assert suspicions() == []


def test_notices_of_unavailable_years_are_not_counted_as_unknown_people(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "1")
    key = everything(cloud)
    numbers = random.Random(5).sample(range(10**12, 10**13), 100)  # noqa: S311 - which numbers is no secret
    answers = [
        call_api("declarants/v2", key=key, numeroFiscal=f"{number}", referenceAvis="1290000000022").status
        for number in numbers
    ]
    assert set(answers) == {404}
    assert [item for item in watched(cloud) if "people" in item or "strangers" in item] == []


@given(
    people=st.integers(0, 1000),
    calls=st.integers(0, 5000),
    found=st.integers(0, 1000),
    name=st.sampled_from(["2026-11-03T09", "2026-11-03#numeroFiscal#2690", "2026-11-03T09@usager"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_suspicion_never_decreases_with_more_people(people: int, calls: int, found: int, name: str) -> None:
    calls, found = max(people, calls), min(people, found)
    order = [None, "slowed", "suspended"]
    now, then = (
        enumeration.classify(name, count, calls + more, found) for count, more in ((people, 0), (people + 1, 1))
    )
    assert order.index(then) >= order.index(now)
    if people < (20 if "@" in name else SLOWED):
        assert now is None
    if found == 0:
        assert then != "suspended"


# ── Suspension ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def gateway_key(cloud: Cloud) -> tuple[str, str]:
    """A key that exists in the gateway too, and its id there."""
    made = boto3.client("apigateway").create_api_key(name="api-particulier-jeton-1", enabled=True)
    return cloud.issue_key("dgfip_avis_imposition", id="jeton-1", gateway_key_id=made["id"]), made["id"]


def state(cloud: Cloud) -> str:
    (item,) = cloud.tokens.scan()["Items"]
    return str(item["state"])


def is_enabled(gateway_id: str) -> bool:
    return boto3.client("apigateway").get_api_key(apiKey=gateway_id)["enabled"]


def suspicion(at: datetime | None = None, token: str = "jeton-1", sanction: str = "suspend") -> dict[str, Any]:  # noqa: S107 - an id
    """Return the event of a message, with the MAC of a dataset's function."""
    made: dict[str, Any] = json.loads((ROOT / "events/token_suspension/suspicion.json").read_text())
    at = at or datetime.now(UTC)
    sent = {"token": token, "at": at.isoformat(), "sanction": sanction}
    made["Records"][0]["body"] = json.dumps(sent | {"mac": mac.sign(sent, at)})
    return made


@pytest.mark.usefixtures("few")
def test_a_walk_ends_with_a_suspended_token_an_alert_and_an_audit_record(
    cloud: Cloud, gateway_key: tuple[str, str], capfd: pytest.CaptureFixture[str]
) -> None:
    key, gateway_id = gateway_key
    walk(of_tax, key, islice(WALKS["up"], MORE + 2))
    suspend({"Records": suspicions()}, None)
    assert (state(cloud), is_enabled(gateway_id)) == ("suspended", False)
    (entry,) = (entry for entry in cloud.audit_records() if entry.get("kind") == "suspension")
    assert (entry["token"], entry["organisation"], entry["suspicion"]) == ("jeton-1", "VILLE EXEMPLE", "suspended")
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "token_suspended" in line]
    assert [line["token"] for line in lines if "event" in line] == ["jeton-1"]
    assert [line["Alerts"] for line in lines if "_aws" in line] == [[1.0]]
    new_environment()
    assert of_tax(key, 1_230_000_000_000).status == 401


@pytest.mark.parametrize("changed", [{"mac": "0" * 64}, {"token": "jeton-1"}, {"sanction": "suspend"}, {"mac": None}])
def test_a_message_that_no_function_sent_suspends_no_token_and_raises_the_alarm(
    cloud: Cloud, gateway_key: tuple[str, str], capfd: pytest.CaptureFixture[str], changed: dict[str, Any]
) -> None:
    assert gateway_key
    forged = suspicion(token="jeton-2", sanction="warn")
    body = json.loads(forged["Records"][0]["body"]) | {"token": "jeton-1", "sanction": "suspend"} | changed
    forged["Records"][0]["body"] = json.dumps({name: value for name, value in body.items() if value is not None})
    suspend(forged, None)
    assert state(cloud) == "active"
    assert "mac" not in body or body["mac"] is None or '"event":"suspicion_forged"' in capfd.readouterr().out


def test_the_contacts_of_a_watched_key_have_one_message_a_day(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_SENDER", "api@exemple.fr")
    sent: list[Any] = []
    monkeypatch.setattr(email, "send", lambda *message: sent.append(message))
    cloud.issue_key("dgfip_nombre_parts", id="jeton-1", habilitation="9")
    contact = {"role": "applicant", "email": "agent@ville.exemple.fr"}
    request = {"kind": "collectivite", "organisation": "V", "siret": "13002526500013", "contacts": [contact]}
    item: dict[str, Any] = {"habilitation": "9", "item": "state", "id": "9", "state": "validated", "request": request}
    cloud.habilitations.put_item(Item=item)
    for sanction in ("warn", "warn", "suspend", "suspend"):
        suspend(suspicion(sanction=sanction), None)
    assert [(recipients, "suspendue" in subject) for recipients, subject, _ in sent] == [
        (("agent@ville.exemple.fr",), False),
        (("agent@ville.exemple.fr",), True),
    ]
    assert state(cloud) == "suspended"


def test_a_message_delivered_three_times_suspends_once(cloud: Cloud, gateway_key: tuple[str, str]) -> None:
    assert gateway_key
    for _ in range(3):
        suspend(suspicion(), None)
    assert len(cloud.audit_records()) == 1


@pytest.mark.parametrize("place", ["before it is written", "once it is written"])
def test_a_suspension_interrupted_and_retried_leaves_each_record_once(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    cloud.issue_key("dgfip_nombre_parts", id="jeton-1", habilitation="habilitation-9")
    write = dynamodb().transact_write_items

    def die(**asked: Any) -> None:
        if place == "once it is written":
            write(**asked)
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(dynamodb(), "transact_write_items", die)
        assert suspend(suspicion(), None)["batchItemFailures"] != []
    suspend(suspicion(), None)
    assert state(cloud) == "suspended"
    assert [entry["kind"] for entry in cloud.audit_records()] == ["suspension", "habilitation"]
    assert len(cloud.habilitations.scan()["Items"]) == 1


def test_a_message_older_than_the_resumption_of_the_token_is_ignored(
    cloud: Cloud, gateway_key: tuple[str, str]
) -> None:
    assert gateway_key
    (item,) = cloud.tokens.scan()["Items"]
    cloud.tokens.put_item(Item=item | {"resumed": datetime.now(UTC).isoformat()})
    suspend(suspicion(datetime.now(UTC) - timedelta(minutes=1)), None)
    assert state(cloud) == "active"
    suspend(suspicion(), None)
    assert state(cloud) == "suspended"


@pytest.mark.parametrize("gone", ["revoked", "suspended"])
def test_a_token_that_is_not_active_is_left_as_it_is(cloud: Cloud, gone: str) -> None:
    cloud.issue_key("dgfip_nombre_parts", id="jeton-1", state=gone)
    suspend(suspicion(), None)
    suspend(suspicion(token="unknown"), None)
    assert state(cloud) == gone
    assert cloud.audit_records() == []


def test_a_suspension_that_cannot_be_audited_fails_and_leaves_the_token_active(
    cloud: Cloud, gateway_key: tuple[str, str]
) -> None:
    assert gateway_key
    cloud.audit.delete()
    assert suspend(suspicion(), None)["batchItemFailures"] != []
    assert state(cloud) == "active"


def test_a_suspension_is_added_to_the_history_of_the_habilitation(cloud: Cloud) -> None:
    cloud.issue_key("dgfip_nombre_parts", id="jeton-1", habilitation="habilitation-9")
    suspend(suspicion(), None)
    (event,) = cloud.habilitations.scan()["Items"]
    assert (event["habilitation"], event["event"]) == ("habilitation-9", "key_suspended")
