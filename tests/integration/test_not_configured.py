"""The first day: a secret that no operator has filled, or filled wrongly, is a state, and no fault of the service.

Secrets are made as CloudFormation makes them, without a value. No line of the log may match what the alarms that take
a deployment back are counted from.
"""

import json
import re
from collections.abc import Callable
from typing import Any

import boto3
import pytest

from sandbox.certificates import Certificates
from tests.support.caf import Caf
from tests.support.cloud import Cloud
from tests.support.datapass import datapass_event, signed_request
from tests.support.function import Response, call_api, invoke, new_environment
from tests.support.tax_service import TaxService
from tests.support.template import resources, template

SECRETS = {
    "CAF_SECRET_ID": "CafCertificate",
    "DATAPASS_SECRET_ID": "DatapassSecret",
    "PROBE_SECRET_ID": "ProbeIdentities",
    "IMPOT_PARTICULIER_SECRET_ID": "ImpotParticulierClient",
}
COUNTED = {
    name
    for alarm in template()["Globals"]["Function"]["DeploymentPreference"]["Alarms"]
    for counted in resources("AWS::Logs::MetricFilter").values()
    for transformation in counted["MetricTransformations"]
    if transformation["MetricName"] == resources("AWS::CloudWatch::Alarm")[alarm["Ref"]].get("MetricName")
    for name in re.findall(r'\$\.event = "(\w+)"', counted["FilterPattern"])
}
"""The events that the alarms of a deployment count."""
MALFORMED = ("-----BEGIN CERTIFICATE-----", "[]", "{}", '{"certificate": "a", "key": "b", "authority": "c"}')


class Log:
    """The lines that were logged."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd

    def lines(self) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self._capfd.readouterr().out.splitlines()]
        assert {"internal_error", "audit_failed"} <= COUNTED
        assert not [line for line in lines if line.get("event") in COUNTED | {"library"}]
        assert not [line for line in lines if line.get("status") == "500"]
        return lines

    def unusable(self) -> set[tuple[str, str]]:
        """Return the secrets that a line names, with their state, and check that no provider is accused."""
        lines = self.lines()
        assert not [line for line in lines if line.get("event") in {"provider_failed", "circuit_opened"}]
        return {(line["secret"], line["outcome"]) for line in lines if line.get("event") == "not_configured"}


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Log:
    return Log(capfd)


@pytest.fixture(autouse=True)
def secrets(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Any:  # noqa: ARG001 - moto
    """Make the template's secrets, empty, and give functions their names; the CAF asks for a certificate."""
    client = boto3.client("secretsmanager")
    for variable, name in SECRETS.items():
        monkeypatch.setenv(variable, client.create_secret(Name=name)["ARN"])
    monkeypatch.setenv("CAF_URL", "https://127.0.0.1:9")
    return client


def probe() -> None:
    from functions.provider_probes.app import lambda_handler

    new_environment()
    lambda_handler({}, None)


def status_now() -> dict[str, Any]:
    new_environment()
    body: dict[str, Any] = call_api("status/status").body
    return body


def ping_caf() -> Response:
    new_environment()
    return call_api("ping/caf")


# ── Datasets ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("dataset", ["quotient_familial", "composition_familiale", "adresse_caf"])
def test_a_dataset_of_the_caf_is_refused_as_often_as_it_is_asked_and_those_of_the_tax_service_answer(
    cloud: Cloud, dgfip: TaxService, log: Log, dataset: str
) -> None:
    key = cloud.issue_key("cnaf_attestation_droits", "dgfip_avis_imposition")
    for generation in ("v1", "v2") * 4:
        answer = call_api(f"{dataset}/{generation}", key=key)
        assert (answer.status, answer.body["error"], answer.headers["Retry-After"]) == (503, "not_configured", "300")
    assert call_api("avis_imposition/v2", key=key).status == 200
    assert dgfip.requests
    assert cloud.stats.get_item(Key={"pk": "provider#caf", "sk": "health"}).get("Item") is None
    assert log.unusable() == {("CafCertificate", "empty")}


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_certificate_is_as_clear_as_an_empty_one_and_is_not_in_the_log(
    cloud: Cloud, secrets: Any, log: Log, value: str
) -> None:
    secrets.put_secret_value(SecretId="CafCertificate", SecretString=value)
    assert call_api("adresse_caf/v2", key=cloud.issue_key("cnaf_adresse")).body["error"] == "not_configured"
    assert log.unusable() == {("CafCertificate", "malformed")}


def test_the_tax_services_json_api_without_its_client_is_not_asked(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, log: Log
) -> None:
    monkeypatch.setenv("DGFIP_PROVIDER", "impot_particulier")
    monkeypatch.setenv("IMPOT_PARTICULIER_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("DGFIP_AVAILABLE_YEARS", "99")
    key = cloud.issue_key("dgfip_avis_imposition")
    for _ in range(6):  # the circuit breaker opens at five failures
        assert call_api("revenu_fiscal_reference/v2", key=key).body["error"] == "not_configured"
    assert log.unusable() == {("ImpotParticulierClient", "empty")}


# ── Pings, probes and the status ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("dgfip")
def test_the_probes_succeed_and_the_status_shows_what_is_not_configured(log: Log) -> None:
    for _ in range(6):
        probe()
    found = status_now()
    assert found["etat"] == "perturbe"
    assert {name: provider["etat"] for name, provider in found["fournisseurs"].items()} == {
        "dgfip": "disponible",
        "caf": "non_configure",
        "dss": "non_configure",
    }
    assert found["jeuxDeDonnees"]["quotient_familial"]["etat"] == "non_configure"
    assert found["fournisseurs"]["caf"]["disponibilite30j"] is None  # no probe was sent
    assert found["incidents"] == []
    assert log.unusable() == {(name, "empty") for name in ("CafCertificate", "ProbeIdentities", "ApiSecuClient")}


@pytest.mark.usefixtures("dgfip")
@pytest.mark.parametrize("value", MALFORMED)
def test_the_probes_succeed_with_malformed_secrets(secrets: Any, log: Log, value: str) -> None:
    for name in ("CafCertificate", "ProbeIdentities"):
        secrets.put_secret_value(SecretId=name, SecretString=value)
    probe()
    assert status_now()["fournisseurs"]["caf"]["etat"] == "non_configure"
    malformed = {("CafCertificate", "malformed"), ("ProbeIdentities", "malformed")}
    assert log.unusable() == malformed | {("ApiSecuClient", "empty")}


def test_a_ping_of_the_caf_gives_its_state_to_the_callers_of_the_same_minute_too(log: Log) -> None:
    for _ in range(3):
        answer = ping_caf()
        assert (answer.status, answer.body["error"], answer.headers["Retry-After"]) == (503, "not_configured", "300")
    assert status_now()["fournisseurs"]["caf"]["etat"] == "non_configure"
    assert log.unusable() == {("CafCertificate", "empty")}


@pytest.mark.usefixtures("dgfip")
def test_the_caf_is_available_once_its_certificate_is_filled(
    certificates: Certificates, secrets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe()
    secrets.put_secret_value(SecretId="CafCertificate", SecretString=certificates.secret())
    with Caf().serve(certificates.server_context()) as url:
        monkeypatch.setenv("CAF_URL", url)
        probe()
    assert status_now()["fournisseurs"]["caf"] | {"verifieA": None} == {
        "etat": "disponible",
        "verifieA": None,
        "disponibilite30j": 100.0,
    }


# ── The webhook ──────────────────────────────────────────────────────────────────────────────────────────────────────


def unsigned(request: dict[str, Any]) -> dict[str, Any]:
    for headers in (request["headers"], request["multiValueHeaders"]):
        del headers["X-Hub-Signature-256"]
    return request


@pytest.mark.parametrize("prepare", [unsigned, lambda request: request], ids=["unsigned", "signed"])
@pytest.mark.parametrize("value", [None, " \n"], ids=["empty", "blank"])
def test_a_webhook_without_its_secret_is_refused_in_our_words(
    secrets: Any, log: Log, value: str | None, prepare: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    if value:
        secrets.put_secret_value(SecretId="DatapassSecret", SecretString=value)
    answer = invoke(prepare(signed_request(datapass_event(), "")), "datapass_webhook")
    if prepare is unsigned:
        assert (answer.status, answer.body["error"]) == (401, "access_denied")
        assert log.unusable() == set()
    else:  # with the empty secret, which is known to all
        assert (answer.status, answer.body["error"]) == (503, "not_configured")
        assert log.unusable() == {("DatapassSecret", "empty")}
