"""Status: the history of probes, and the uptime and incidents computed from it."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import boto3
import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from api_particulier.dynamodb import Table
from api_particulier.paris_time import today
from api_particulier.providers import uptime
from api_particulier.providers.health import Health, Maintenance, key_of
from api_particulier.providers.uptime import PROBE_INTERVAL, Day, incidents, percentage
from api_particulier.public import status
from ops.functions import datasets
from sandbox.certificates import Certificates
from tests.support.api_secu import play_gate
from tests.support.caf import Caf
from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, new_environment
from tests.support.tax_service import NOT_FOUND_PAGE, TaxService
from tests.support.template import resources

IDENTITIES = {
    "numeroFiscal": "2690000000001",
    "referenceAvis": "2390000000001",  # of a year refused to callers
    "numeroAllocataire": "2600001",
    "codePostal": "75011",
}


def status_now() -> dict[str, Any]:
    answer = status_answer()
    assert answer.status == 200
    found: dict[str, Any] = answer.body
    return found


def status_answer() -> Response:
    new_environment()
    return call_api("status/status")


@pytest.fixture(autouse=True)
def _gate(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001 - moto
    """Serve API-SECU, which is up in all these tests, and give the probes the client of the quotient."""
    with play_gate(monkeypatch):
        monkeypatch.setenv("API_SECU_SECRET_ID", "quotient_familial")
        yield


@pytest.fixture
def identities(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - moto
    boto3.client("secretsmanager").create_secret(Name="identities", SecretString=json.dumps(IDENTITIES))
    monkeypatch.setenv("PROBE_SECRET_ID", "identities")


def probe() -> None:
    """Invoke the probes as the schedule does, in a new environment."""
    from functions.provider_probes.app import lambda_handler

    new_environment()
    lambda_handler({}, None)


# ── Probes ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("identities")
def test_a_probe_asks_each_provider_for_the_data_of_the_test_identity(
    dgfip: TaxService, caf: Caf, cloud: Cloud
) -> None:
    probe()
    (_, form) = dgfip.requests[-1]
    assert (form["j_id_7:spi"], form["j_id_7:num_facture"]) == (
        IDENTITIES["numeroFiscal"],
        IDENTITIES["referenceAvis"],
    )
    assert IDENTITIES["numeroAllocataire"] in caf.requests[-1].decode()
    found = status_now()
    assert {provider["etat"] for provider in found["fournisseurs"].values()} == {"disponible"}
    assert found["historique"]["caf"][-1] == {"date": f"{today()}", "sondes": 1, "reussies": 1}
    assert cloud.audit_records() == []  # no administration asked


@pytest.mark.usefixtures("cloud", "caf")
def test_providers_are_pinged_while_there_is_no_test_identity(
    dgfip: TaxService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_SECRET_ID", "nowhere")
    probe()
    assert dgfip.requests == [("GET", {})]
    assert status_now()["fournisseurs"]["dgfip"]["etat"] == "disponible"


@pytest.mark.usefixtures("identities", "caf")
def test_an_unknown_identity_is_logged_and_the_provider_is_up(
    dgfip: TaxService, capfd: pytest.CaptureFixture[str]
) -> None:
    dgfip.page = NOT_FOUND_PAGE
    probe()
    assert status_now()["fournisseurs"]["dgfip"]["etat"] == "disponible"
    written = capfd.readouterr().out
    assert '"event":"probe_unknown"' in written
    assert not [value for value in IDENTITIES.values() if value in written]


@pytest.mark.usefixtures("identities")
def test_the_data_of_a_probe_is_not_kept(
    dgfip: TaxService, caf: Caf, cloud: Cloud, capfd: pytest.CaptureFixture[str]
) -> None:
    probe()
    assert dgfip.requests
    assert caf.requests
    written = capfd.readouterr().out + str(cloud.stats.scan()["Items"])
    assert not [value for value in ("TILLEUL", "DELMAS", "39119", *IDENTITIES.values()) if value in written]


@pytest.mark.parametrize(("days", "measured"), [(0, []), (800, [[24]])])
@pytest.mark.usefixtures("caf_secret", "identities", "dgfip")
def test_the_days_left_of_the_client_certificate_are_measured_when_they_are_few(
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    days: int,
    measured: list[list[int]],
) -> None:
    later = datetime.now(UTC) + timedelta(days=days)
    with Caf().serve(certificates.server_context()) as url, time_machine.travel(later):
        monkeypatch.setenv("CAF_URL", url)
        probe()
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["CertificateDaysLeft"] for line in lines if "CertificateDaysLeft" in line] == measured


def test_the_schedule_of_probes_is_that_of_the_incidents() -> None:
    schedule = resources("AWS::Serverless::Function")["ProviderProbes"]["Events"]["EveryFiveMinutes"]["Properties"][
        "Schedule"
    ]
    assert schedule == f"rate({PROBE_INTERVAL.seconds // 60} minutes)"
    assert resources("AWS::Serverless::Function")["ProviderProbes"]["EventInvokeConfig"] == {"MaximumRetryAttempts": 0}


# ── The status ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("cloud")
def test_before_any_probe_the_service_is_up_and_its_providers_unknown() -> None:
    found = status_now()
    assert list(found) == [
        *("genereA", "etat", "fournisseurs", "engagement", "jeuxDeDonnees", "historique", "incidents", "maintenances"),
    ]
    assert found["etat"] == "disponible"
    assert found["fournisseurs"]["dgfip"] == {"etat": "inconnu", "verifieA": None, "disponibilite30j": None}
    assert found["engagement"] == {"seuil": 95, "tenu": None}
    assert [len(days) for days in found["historique"].values()] == [30, 30, 30]
    assert found["incidents"] == found["maintenances"] == []


@pytest.mark.usefixtures("identities")
def test_the_status_follows_an_outage_and_back(dgfip: TaxService, caf: Caf) -> None:
    probe()
    assert caf.requests
    assert status_now()["etat"] == "disponible"
    dgfip.status = 503
    for _ in range(2):
        probe()
    found = status_now()
    assert found["etat"] == "perturbe"
    states = {"dgfip": "indisponible", "caf": "disponible", "dss": "disponible"}
    assert {name: dataset["etat"] for name, dataset in found["jeuxDeDonnees"].items()} == {
        dataset.name: states[dataset.provider] for dataset in datasets()
    }
    assert [(incident["fournisseur"], incident["fin"]) for incident in found["incidents"]] == [("dgfip", None)]
    assert found["fournisseurs"]["dgfip"]["disponibilite30j"] == 33.333
    dgfip.status = 200
    probe()
    found = status_now()
    assert found["etat"] == "disponible"
    assert found["incidents"][0]["fin"] is not None
    assert found["historique"]["dgfip"][-1] == {"date": f"{today()}", "sondes": 4, "reussies": 2}
    assert found["fournisseurs"]["dgfip"]["disponibilite30j"] == 50.0
    assert found["engagement"]["tenu"] is False


@given(
    dgfip=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), min_size=30, max_size=30),
    caf=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20)), min_size=30, max_size=30),
)
def test_the_promise_is_kept_when_each_provider_answered_95_probes_of_100(
    dgfip: list[tuple[int, int]], caf: list[tuple[int, int]]
) -> None:
    days = {
        provider: [Day(today(), answered + failed, answered, ()) for answered, failed in counts]
        for provider, counts in (("dgfip", dgfip), ("caf", caf))
    }
    promise = status.promise(days)
    rates = [percentage(history) for history in days.values()]
    if None in rates:
        assert promise["tenu"] is None
    elif min(rate for rate in rates if rate is not None) >= 95.001:
        assert promise["tenu"] is True
    elif min(rate for rate in rates if rate is not None) < 94.999:
        assert promise["tenu"] is False


@pytest.mark.usefixtures("dgfip", "caf")
def test_a_benefit_whose_fund_fails_is_down_alone_while_calls_try_it(cloud: Cloud) -> None:
    probe()
    key = key_of("dss#prime_activite")
    for asked_ago, states in ((60, ("indisponible", "perturbe")), (600, ("disponible", "disponible"))):
        cloud.stats.put_item(Item={**key, "open_until": Decimal(int(datetime.now(UTC).timestamp() - asked_ago))})
        found = status_now()
        assert (found["jeuxDeDonnees"]["dss_prime_activite"]["etat"], found["etat"]) == states
        assert found["jeuxDeDonnees"]["dss_quotient_familial"]["etat"] == "disponible"
        assert found["fournisseurs"]["dss"]["etat"] == "disponible"


@pytest.mark.usefixtures("caf")
def test_calls_reveal_an_outage_before_the_next_probe(dgfip: TaxService, cloud: Cloud) -> None:
    keys = [cloud.issue_key("dgfip_avis_imposition") for _ in range(2)]
    dgfip.status = 503
    for person in range(5):
        number = f"26900000001{person:02}"
        call_api("avis_imposition/v2", key=keys[person % 2], numeroFiscal=number, referenceAvis="2690000000096")
    assert status_now()["fournisseurs"]["dgfip"]["etat"] == "indisponible"


@pytest.mark.usefixtures("identities")
def test_a_maintenance_is_announced_and_neither_probed_nor_counted(dgfip: TaxService, caf: Caf, cloud: Cloud) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    announced = Maintenance(now, now + timedelta(hours=1), "mise à jour")
    past = Maintenance(now - timedelta(days=2), now - timedelta(days=1), "")
    cloud.stats.put_item(Item=key_of("caf") | {"maintenances": [past.to_item(), announced.to_item()]})
    probe()
    found = status_now()
    assert (found["etat"], found["fournisseurs"]["caf"]["etat"]) == ("maintenance", "maintenance")
    assert found["fournisseurs"]["caf"]["disponibilite30j"] is None
    assert found["maintenances"] == [
        {"fournisseur": "caf", "debut": now.isoformat(), "fin": announced.end.isoformat(), "message": "mise à jour"}
    ]
    assert caf.requests == []
    assert dgfip.requests


@pytest.mark.usefixtures("cloud")
def test_any_page_may_read_the_status_and_keep_it_five_seconds() -> None:
    answer = status_answer()
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cache-Control"] == "max-age=5"


def test_a_status_that_cannot_be_read_is_an_error_that_no_cache_keeps(cloud: Cloud) -> None:
    cloud.stats.delete()
    answer = status_answer()
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("states", "whole"),
    [
        (("disponible", "disponible"), "disponible"),
        (("disponible", "inconnu"), "disponible"),
        (("disponible", "indisponible"), "perturbe"),
        (("disponible", "non_configure"), "perturbe"),
        (("non_configure", "non_configure"), "indisponible"),
        (("indisponible", "indisponible"), "indisponible"),
        (("indisponible", "maintenance"), "indisponible"),
        (("maintenance", "disponible"), "maintenance"),
        (("maintenance", "maintenance"), "maintenance"),
    ],
)
def test_the_state_of_the_service_follows_its_providers(states: tuple[status.State, ...], whole: status.State) -> None:
    assert status.overall(states) == whole


def test_a_provider_is_down_while_its_circuit_breaker_is_open() -> None:
    now = datetime.now(UTC)
    assert status.state_of(Health(open_until=now.timestamp() - 60, verdict="up"), now) == "indisponible"


# ── Arithmetic ───────────────────────────────────────────────────────────────────────────────────────────────────────

START = datetime(2026, 11, 1, tzinfo=UTC)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=30))
def test_uptime_is_the_share_of_probes_that_were_answered(counts: list[tuple[int, int]]) -> None:
    days = [Day(date(2026, 11, 1), max(pair), min(pair)) for pair in counts]
    probes, answered = sum(max(pair) for pair in counts), sum(min(pair) for pair in counts)
    assert percentage(days) == (round(100 * answered / probes, 3) if probes else None)


@given(st.lists(st.booleans(), max_size=200))
def test_an_incident_is_a_run_of_failed_probes(answers: list[bool]) -> None:
    times = [START + number * PROBE_INTERVAL for number in range(len(answers))]
    failed = tuple(at for at, answered in zip(times, answers, strict=True) if not answered)
    over = times[-1] if answers and answers[-1] else None
    found = incidents([Day(START.date(), failures=failed)], up_since=over)
    expected: list[tuple[datetime, datetime | None]] = []
    for at, answered, before in zip(times, answers, [True, *answers], strict=False):
        if not answered and before:
            expected.append((at, None))
        elif answered and not before:
            expected[-1] = (expected[-1][0], at)
    assert [(incident.start, incident.end) for incident in found] == expected[::-1]


def test_probes_of_a_day_are_added_up(cloud: Cloud) -> None:
    table = Table(boto3.client("dynamodb"), cloud.stats.name)
    at = datetime.now(UTC)
    for number in range(6):
        uptime.record(table, "caf", at, answered=number != 3)
    day = uptime.history(table, "caf", today())[-1]
    assert (day.probes, day.answered, len(day.failures)) == (6, 5, 1)


@pytest.mark.parametrize(
    ("moment", "day"), [("2026-07-15T21:59", date(2026, 7, 15)), ("2026-07-15T22:00", date(2026, 7, 16))]
)
def test_a_probe_counts_for_its_day_in_paris(cloud: Cloud, moment: str, day: date) -> None:
    table, at = Table(boto3.client("dynamodb"), cloud.stats.name), datetime.fromisoformat(f"{moment}+00:00")
    uptime.record(table, "caf", at, answered=True)
    days = uptime.history(table, "caf", date(2026, 7, 20))
    assert [found.day for found in days if found.probes] == [day]
    (item,) = cloud.stats.scan()["Items"]
    assert datetime.fromtimestamp(int(str(item["expires_at"])), UTC) == at + timedelta(days=40)


def test_two_failures_around_a_missing_probe_are_two_incidents() -> None:
    failures = (START, START + PROBE_INTERVAL, START + 3 * PROBE_INTERVAL)
    found = incidents([Day(START.date(), failures=failures)], up_since=None)
    assert [(incident.start, incident.end) for incident in found] == [
        (failures[2], None),
        (START, START + 2 * PROBE_INTERVAL),
    ]
