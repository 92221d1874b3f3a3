"""The circuit breaker of a provider: open in every environment while it is down, closed once it is back."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from api_particulier.dynamodb import serialize
from api_particulier.providers import circuit_breaker
from api_particulier.providers.health import Maintenance, key_of
from api_particulier.settings import Settings, settings
from tests.support import wire
from tests.support.aws_requests import Request, before_each, record
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, new_environment
from tests.support.tax_service import NOT_FOUND_PAGE, REFUSED_PAGE, TaxService

pytestmark = pytest.mark.slow


PEOPLE = random.Random(1)  # noqa: S311 - people who are no neighbours
REFUSALS = {404: NOT_FOUND_PAGE, 503: REFUSED_PAGE, 502: "<p>?</p>"}
PERIOD = Settings.model_fields["circuit_seconds"].default


class Clock:
    """The time as the circuit breaker reads it; a test moves it on."""

    def __init__(self) -> None:
        self.now = float(round(datetime.now(UTC).timestamp()))

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(circuit_breaker, "time", clock)
    monkeypatch.setattr(circuit_breaker, "monotonic", clock)
    return clock


class Callers:
    """Keys that call by turns."""

    def __init__(self, *keys: str) -> None:
        self._turns = itertools.cycle(keys)

    def __next__(self) -> str:
        return next(self._turns)


@pytest.fixture
def key(cloud: Cloud) -> Callers:
    return Callers(*(cloud.issue_key("dgfip_avis_imposition", "cnaf_attestation_droits") for _ in range(2)))


def call(key: Callers, event: str = "avis_imposition/v2", person: int | None = None) -> Response:
    """Call about a person, or about one that no call was about."""
    return call_api(
        event,
        key=next(key),
        numeroFiscal=f"{person or PEOPLE.randrange(10**12, 3 * 10**12)}",
        referenceAvis="2690000000096",
    )


def call_from_another_environment(
    key: Callers, event: str = "avis_imposition/v2", person: int | None = None
) -> Response:
    new_environment()
    return call(key, event, person)


def open_circuit(key: Callers, dgfip: TaxService, failures: int = circuit_breaker.FAILURES) -> None:
    """Make the tax service fail until it is no longer called."""
    dgfip.status = 503
    for _ in range(failures):
        assert call_from_another_environment(key).status == 503
    dgfip.requests.clear()


def known(cloud: Cloud, provider: str = "dgfip") -> dict[str, Any]:
    """Return the attributes of a circuit breaker in the table; empty when the provider is healthy."""
    client: Any = boto3.client("dynamodb")
    item = client.get_item(TableName=cloud.stats.name, Key=serialize(key_of(provider))).get("Item", {})
    return {name: value for name, value in item.items() if name in {"failed", "open_until"}}


def verdict(cloud: Cloud) -> str:
    """Return the last verdict on the tax service, which the status page shows."""
    return str(cloud.stats.get_item(Key={"pk": "provider#dgfip", "sk": "health"})["Item"]["verdict"])


def test_the_open_period_is_longer_than_the_deadline_of_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROVIDER_DEADLINE", "PROVIDER_CONNECT_TIMEOUT", "PROVIDER_READ_TIMEOUT"):
        monkeypatch.delenv(name)
    assert settings().circuit_seconds > settings().provider_deadline
    assert circuit_breaker.REMEMBERED <= 1


def test_a_provider_that_is_down_is_called_five_times_by_all_environments_together(
    key: Callers, dgfip: TaxService
) -> None:
    dgfip.status = 503
    answers = [call_from_another_environment(key) for _ in range(60)]
    assert len(dgfip.requests) == circuit_breaker.FAILURES == 5
    assert {(answer.status, answer.body["error"]) for answer in answers} == {(503, "network_error")}


def test_a_call_refused_by_an_open_circuit_breaker_has_a_retry_after_and_an_audit_record(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock
) -> None:
    open_circuit(key, dgfip)
    clock.now += 5
    answer = call_from_another_environment(key)
    assert (answer.status, answer.body["error"]) == (503, "network_error")
    assert answer.body["message"] == "Le fournisseur de données ne répond pas, veuillez réessayer plus tard"
    assert int(answer.headers["Retry-After"]) == pytest.approx(PERIOD - 5, abs=1)
    entry = cloud.audit_records()[-1]
    assert (entry["status"], entry["error"], entry["provider"]) == (503, "network_error", "dgfip")
    assert dgfip.requests == []


def test_an_opened_circuit_breaker_raises_one_alert(
    key: Callers, dgfip: TaxService, capfd: pytest.CaptureFixture[str]
) -> None:
    open_circuit(key, dgfip)
    for _ in range(3):
        call_from_another_environment(key)
    written = capfd.readouterr().out
    assert written.count('"event":"circuit_opened"') == 1
    assert written.count('"alert":"circuit_opened"') == 1


def test_one_call_probes_while_others_are_refused_and_its_success_closes_the_circuit_breaker(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    open_circuit(key, dgfip)
    assert verdict(cloud) == "down"
    dgfip.status = 200
    clock.now += PERIOD
    others: list[int] = []

    def meanwhile() -> None:
        dgfip.before_response = lambda: None
        others.extend(call_from_another_environment(key).status for _ in range(5))

    dgfip.before_response = meanwhile
    assert call_from_another_environment(key).status == 200
    assert others == [503] * 5
    assert [method for method, _ in dgfip.requests] == ["GET", "POST"]
    assert known(cloud) == {}
    assert verdict(cloud) == "up"
    assert [call_from_another_environment(key).status for _ in range(3)] == [200] * 3
    assert capfd.readouterr().out.count('"event":"circuit_closed"') == 1


@pytest.mark.parametrize("back", [True, False], ids=["back", "still down"])
def test_one_environment_probes_when_all_of_them_find_the_circuit_breaker_half_open(
    key: Callers, dgfip: TaxService, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, back: bool
) -> None:
    open_circuit(key, dgfip)
    dgfip.status = 200 if back else 503
    clock.now += PERIOD
    waiting, answers = 4, list[Response]()

    def interrupt(request: Request) -> None:
        """Start another environment's call between the read and the write of this one."""
        nonlocal waiting
        if request == ("UpdateItem", "stats") and waiting:
            waiting -= 1
            answers.append(call_from_another_environment(key))

    before_each(monkeypatch, interrupt)
    answers.append(call_from_another_environment(key))
    assert (waiting, len(answers)) == (0, 5)
    assert [answer.status for answer in answers] == [200 if back else 503] + [503] * 4
    assert [method for method, _ in dgfip.requests] == (["GET", "POST"] if back else ["GET"])
    # The others do not know how long the probe lasts: they give a whole period.
    assert {answer.headers["Retry-After"] for answer in answers[1:]} == {f"{PERIOD:.0f}"}


def test_an_environment_that_lost_the_race_to_probe_reads_the_table_again(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_circuit(key, dgfip)
    dgfip.status = 200
    clock.now += PERIOD
    new_environment()

    is_closed = False

    def close(request: Request) -> None:
        """Write what a successful probe of another environment writes."""
        nonlocal is_closed
        if request == ("UpdateItem", "stats") and not is_closed:
            is_closed = True
            cloud.stats.update_item(
                Key={"pk": "provider#dgfip", "sk": "health"}, UpdateExpression="REMOVE open_until, failed"
            )

    before_each(monkeypatch, close)
    assert call(key).status == 503
    assert call(key).status == 200


def test_a_failed_probe_keeps_the_circuit_breaker_open_for_another_period(
    key: Callers, dgfip: TaxService, clock: Clock
) -> None:
    open_circuit(key, dgfip)
    for probes in (1, 2, 3):
        clock.now += PERIOD
        assert [call_from_another_environment(key).status for _ in range(4)] == [503] * 4
        assert len(dgfip.requests) == probes


def test_a_failed_probe_writes_once(
    key: Callers, dgfip: TaxService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_circuit(key, dgfip)
    clock.now += PERIOD
    new_environment()
    requests = record(monkeypatch)
    assert call(key).status == 503
    assert requests.count(("UpdateItem", "stats")) == 1


def test_a_failed_probe_keeps_the_circuit_breaker_open_for_the_whole_period(
    key: Callers, dgfip: TaxService, clock: Clock
) -> None:
    open_circuit(key, dgfip)
    clock.now += PERIOD
    assert call_from_another_environment(key).status == 503
    dgfip.status = 200
    clock.now += PERIOD - 1
    assert call_from_another_environment(key).status == 503
    clock.now += 1
    assert call_from_another_environment(key).status == 200


def test_our_own_error_during_a_probe_does_not_close_the_circuit_breaker(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_circuit(key, dgfip)
    clock.now += PERIOD
    with monkeypatch.context() as patched:
        patched.setenv("DGFIP_PROVIDER", "impot_particulier")
        patched.setenv("IMPOT_PARTICULIER_URL", dgfip.url)
        patched.setenv("IMPOT_PARTICULIER_SECRET_ID", "missing")
        assert call_from_another_environment(key).body["error"] == "not_configured"
    assert "open_until" in known(cloud)
    dgfip.status = 200
    assert call_from_another_environment(key).status == 503
    assert dgfip.requests == []


def test_a_success_that_ends_after_the_circuit_breaker_opened_does_not_change_it(
    key: Callers, dgfip: TaxService, cloud: Cloud
) -> None:
    dgfip.status = 503
    assert call_from_another_environment(key).status == 503
    dgfip.status = 200
    found: list[dict[str, Any]] = []

    def meanwhile() -> None:
        dgfip.before_response = lambda: None
        open_circuit(key, dgfip, failures=circuit_breaker.FAILURES - 1)
        found.append(known(cloud))
        dgfip.status = 200

    dgfip.before_response = meanwhile
    assert call_from_another_environment(key).status == 200
    assert known(cloud) == found[0]
    assert "open_until" in found[0]


def test_after_a_probe_that_never_reports_another_probe_follows_a_period_later(
    key: Callers, dgfip: TaxService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_circuit(key, dgfip)
    dgfip.status = 200
    clock.now += PERIOD
    writes = 0

    def lose(request: Request) -> None:
        """Let the environment take its turn, and lose the write of the result."""
        nonlocal writes
        writes += request == ("UpdateItem", "stats")
        if writes > 1:
            raise EndpointConnectionError(endpoint_url="https://dynamodb")

    with monkeypatch.context() as patched:
        before_each(patched, lose)
        call_from_another_environment(key)
    assert call_from_another_environment(key).status == 503
    clock.now += PERIOD
    assert [call_from_another_environment(key).status for _ in range(2)] == [200, 200]


def test_the_environment_that_opens_or_closes_a_circuit_breaker_applies_it_at_once(
    key: Callers, dgfip: TaxService, clock: Clock
) -> None:
    dgfip.status = 503
    assert [call(key).status for _ in range(10)] == [503] * 10
    assert len(dgfip.requests) == 5
    dgfip.status = 200
    clock.now += PERIOD
    assert [call(key).status for _ in range(10)] == [200] * 10


def test_a_success_resets_the_count_of_failures(key: Callers, dgfip: TaxService, cloud: Cloud) -> None:
    for _ in range(3):
        dgfip.status = 503
        assert [call_from_another_environment(key).status for _ in range(4)] == [503] * 4
        dgfip.status = 200
        assert call_from_another_environment(key).status == 200
        assert known(cloud) == {}


@pytest.mark.parametrize("status", REFUSALS)
def test_a_refusal_by_the_provider_closes_the_circuit_breaker(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock, status: int
) -> None:
    open_circuit(key, dgfip)
    dgfip.status, dgfip.page = 200, REFUSALS[status]
    clock.now += PERIOD
    assert [call_from_another_environment(key).status for _ in range(7)] == [status] * 7
    assert known(cloud) == {}


def test_a_failure_that_ends_after_the_circuit_breaker_opened_does_not_extend_it(
    key: Callers, dgfip: TaxService, cloud: Cloud
) -> None:
    dgfip.status = 503

    def meanwhile() -> None:
        dgfip.before_response = lambda: None
        open_circuit(key, dgfip)
        until.append(known(cloud)["open_until"])

    until: list[Any] = []
    dgfip.before_response = meanwhile
    new_environment()
    call(key)
    assert known(cloud)["open_until"] == until[0]


def test_a_healthy_provider_costs_one_read_a_second_and_no_write(
    key: Callers, dgfip: TaxService, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = record(monkeypatch)
    for _ in range(30):
        assert call(key).status == 200
        clock.now += 0.1
    assert len(dgfip.requests) == 31
    assert {operation for operation, _ in requests} == {"GetItem", "PutItem", "GenerateMac", "VerifyMac"}
    assert requests.count(("GetItem", "stats")) == 3


def test_each_provider_has_its_own_circuit_breaker(key: Callers, dgfip: TaxService, cloud: Cloud) -> None:
    open_circuit(key, dgfip)
    caf = call_api("quotient_familial/v2", key=next(key), numeroAllocataire="2600095", codePostal="75096")
    assert (caf.status, caf.body["error"]) == (503, "network_error")  # no server listens there
    assert len(known(cloud, "caf")["failed"]["SS"]) == 1


def test_a_silent_geocoder_is_called_five_times_and_no_more(
    key: Callers, dgfip: TaxService, monkeypatch: pytest.MonkeyPatch, cloud: Cloud
) -> None:
    held: list[object] = []

    def hold(connection: Any, over: Any) -> None:
        held.append(connection)
        over.wait()

    monkeypatch.setenv("BAN_DEADLINE", "0.1")
    with wire.converse(hold) as url:
        monkeypatch.setenv("BAN_URL", url)
        answers = [call_from_another_environment(key, "adresse_fiscale/v2") for _ in range(12)]
    assert [answer.status for answer in answers] == [200] * 12
    assert {answer.body["adresseStructuree"] for answer in answers} == {None}
    assert {tuple(entry["notes"]) for entry in cloud.audit_records()} == {("ban: network_error",)}
    assert len(held) == 5
    assert dgfip.requests


# ── What one caller meets ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def broken_files(dgfip: TaxService) -> set[str]:
    """The tax numbers that the tax service fails on; it answers about every other."""
    broken: set[str] = set()

    def fail_on_them() -> None:
        _, form = dgfip.requests[-1]
        dgfip.status = 503 if form.get("j_id_7:spi") in broken else 200

    dgfip.before_response = fail_on_them
    return broken


BROKEN = 2690000999999


def test_one_broken_file_asked_60_times_leaves_the_other_callers_their_answers(
    cloud: Cloud, broken_files: set[str], dgfip: TaxService
) -> None:
    first, other = (Callers(cloud.issue_key("dgfip_avis_imposition")) for _ in range(2))
    broken_files.add(f"{BROKEN}")
    answers = []
    for turn in range(60):
        assert call_from_another_environment(first, person=BROKEN).status == 503
        if turn % 10 == 9:
            answers.append(call_from_another_environment(other).status)
            answers.append(call_from_another_environment(first).status)
    assert answers == [200] * 12
    asked = [form["j_id_7:spi"] for method, form in dgfip.requests if method == "POST"]
    assert 5 <= asked.count(f"{BROKEN}") <= 30  # five in a row, until an answer


def test_one_broken_file_asked_by_many_callers_does_not_open_the_circuit_breaker(
    cloud: Cloud, broken_files: set[str]
) -> None:
    broken_files.add(f"{BROKEN}")
    keys = Callers(*(cloud.issue_key("dgfip_avis_imposition") for _ in range(12)))
    assert {call_from_another_environment(keys, person=BROKEN).status for _ in range(12)} == {503}
    assert call_from_another_environment(keys).status == 200


def test_a_caller_that_fails_about_many_people_waits_alone(
    cloud: Cloud, broken_files: set[str], dgfip: TaxService, clock: Clock
) -> None:
    first, other = (Callers(cloud.issue_key("dgfip_avis_imposition")) for _ in range(2))
    broken = range(BROKEN, BROKEN + 40)
    broken_files |= set(map(str, broken))
    assert {call_from_another_environment(first, person=person).status for person in broken} == {503}
    asked = [form for method, form in dgfip.requests if method == "POST"]
    assert len(asked) == circuit_breaker.FAILURES
    assert "open_until" not in known(cloud)
    refused = call_from_another_environment(first)
    assert (refused.status, refused.body["error"]) == (503, "network_error")
    assert 0 < int(refused.headers["Retry-After"]) <= PERIOD
    clock.now += PERIOD
    assert call_from_another_environment(first).status == 200
    assert call_from_another_environment(other).status == 200


def test_a_broken_file_does_not_take_the_turns_of_the_question_that_tests_the_provider(
    key: Callers, dgfip: TaxService, broken_files: set[str], clock: Clock
) -> None:
    before, dgfip.before_response = dgfip.before_response, lambda: None
    broken_files.add(f"{BROKEN}")
    dgfip.status = 503
    for _ in range(2):
        call_from_another_environment(key, person=BROKEN)
    open_circuit(key, dgfip)
    dgfip.before_response = before
    clock.now += PERIOD
    assert call_from_another_environment(key, person=BROKEN).status == 503
    assert dgfip.requests == []
    assert call_from_another_environment(key).status == 200


def test_what_is_kept_of_failures_is_bounded_and_names_no_one(
    cloud: Cloud, broken_files: set[str], clock: Clock
) -> None:
    first = Callers(cloud.issue_key("dgfip_avis_imposition"))
    for person in range(BROKEN, BROKEN + 90):
        broken_files.add(f"{person}")
        call_from_another_environment(first, person=person)
        clock.now += PERIOD
    kept = known(cloud)["failed"]["SS"]
    assert len(kept) == 64
    assert not [question for question in kept if str(BROKEN)[:10] in question]


# ── The table cannot be read ────────────────────────────────────────────────────────────────────────────────────────


def test_without_the_table_calls_go_on_and_the_table_is_read_once_a_second(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud.stats.delete()
    assert [call(key).status for _ in range(5)] == [200] * 5
    assert capfd.readouterr().out.count('"event":"circuit_unknown"') == 1
    dgfip.status = 503
    assert [call(key).status for _ in range(9)] == [503] * 9
    assert len(dgfip.requests) == 6 + 9
    clock.now += 1
    call(key)
    assert '"exception":"ResourceNotFoundException"' in capfd.readouterr().out


def test_failures_are_not_written_while_the_table_cannot_be_read(
    key: Callers, dgfip: TaxService, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.stats.delete()
    dgfip.status = 503
    requests = record(monkeypatch)
    assert [call(key).status for _ in range(3)] == [503] * 3
    assert [operation for operation, table in requests if table == "stats"] == ["GetItem"]


def test_calls_go_on_when_the_table_is_lost_while_the_circuit_breaker_is_open(
    key: Callers, dgfip: TaxService, cloud: Cloud, clock: Clock
) -> None:
    open_circuit(key, dgfip)
    dgfip.status = 200
    assert call(key).status == 503
    cloud.stats.delete()
    clock.now += 1
    assert call(key).status == 200


@pytest.mark.parametrize("ahead", [3600, 10**9])
def test_an_open_time_written_by_a_wrong_clock_is_ignored(
    key: Callers, dgfip: TaxService, clock: Clock, cloud: Cloud, ahead: float
) -> None:
    clock.now += ahead
    open_circuit(key, dgfip)
    clock.now -= ahead
    dgfip.status = 200
    assert call_from_another_environment(key).status == 200
    assert known(cloud) == {}


# ── Announced maintenance ────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def maintenance(cloud: Cloud) -> Maintenance:
    now = datetime.now(UTC).replace(microsecond=0)
    announced = Maintenance(now - timedelta(hours=1), now + timedelta(hours=1), "mise à jour annuelle")
    later = Maintenance(now + timedelta(days=1), now + timedelta(days=2), "")
    boto3.client("dynamodb").put_item(
        TableName=cloud.stats.name,
        Item=serialize(key_of("dgfip") | {"maintenances": [window.to_item() for window in (later, announced)]}),
    )
    return announced


def test_a_provider_in_maintenance_is_not_called_and_the_response_gives_its_end(
    key: Callers, dgfip: TaxService, maintenance: Maintenance, cloud: Cloud
) -> None:
    answer = call(key)
    assert (answer.status, answer.body["error"]) == (503, "network_error")
    assert 3590 <= int(answer.headers["Retry-After"]) <= 3600
    assert f"{maintenance.end:%Y-%m-%dT%H:%M:%SZ}" in answer.body["reason"]
    assert answer.body["message"].startswith("Le fournisseur de données est en maintenance jusqu'au ")
    assert answer.body["message"].endswith(", heure de Paris : mise à jour annuelle")
    assert dgfip.requests == []
    assert cloud.audit_records()[-1]["error"] == "network_error"


@pytest.mark.usefixtures("maintenance")
def test_a_ping_during_a_maintenance_gives_its_end_too(dgfip: TaxService) -> None:
    answer = call_api("ping/dgfip")
    assert answer.status == 503
    assert "maintenance" in answer.body["message"]
    assert 3590 <= int(answer.headers["Retry-After"]) <= 3600
    assert dgfip.requests == []


def test_before_and_after_a_maintenance_the_provider_is_called(
    key: Callers, dgfip: TaxService, cloud: Cloud, maintenance: Maintenance
) -> None:
    for start, end in ((-2, -1), (1, 2)):
        moved = Maintenance(
            maintenance.start + timedelta(hours=1 + start), maintenance.start + timedelta(hours=1 + end), ""
        )
        boto3.client("dynamodb").put_item(
            TableName=cloud.stats.name, Item=serialize(key_of("dgfip") | {"maintenances": [moved.to_item()]})
        )
        assert call_from_another_environment(key).status == 200
    assert dgfip.requests
