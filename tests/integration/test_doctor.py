"""``api-particulier doctor``: each thing that can be wrong with a deployment is named, and nothing secret is shown."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from click.testing import CliRunner, Result

from ops.cli.main import main
from ops.deployment import Deployment, Resource
from sandbox.certificates import Certificates
from tests.support.cloud import Cloud
from tests.support.doctor import Account, PlayedDeployment, healthy_deployment
from tests.support.template import resources
from tests.support.wire import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

IDENTITIES = {
    "numeroFiscal": "2690000000001",
    "referenceAvis": "2690000000001",
    "numeroAllocataire": "2600001",
    "codePostal": "75011",
}
ANSWERS = {
    "/api/v2/revenu-fiscal-reference": (401, {"error": "access_denied"}),
    "/api/nulle-part": (404, {"error": "not_found"}),
}
pytestmark = pytest.mark.slow


class Gateway:
    """What answers the calls that need neither a key nor a citizen."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = dict(ANSWERS)

    def __call__(self, environ: "WSGIEnvironment", start: "StartResponse") -> list[bytes]:
        """Respond, as a WSGI application."""
        status, body = self.answers.get(environ["PATH_INFO"], (200, "pong"))
        start(f"{status} Status", [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def account(gateway: Gateway) -> Iterator[Account]:
    with serve(gateway) as url:
        yield Account(api_url=f"{url}/api")


@pytest.fixture
def secrets(cloud: Cloud, certificates: Certificates) -> dict[str, str]:  # noqa: ARG001 - moto
    """Fill the template's secrets, and return their ids by name."""
    values = {
        "CafCertificate": certificates.secret(),
        "DatapassSecret": "very-secret",
        "ProbeIdentities": json.dumps(IDENTITIES),
        "ImpotParticulierClient": json.dumps({"client_id": "a", "client_secret": "very-secret", "id_teleservice": "b"}),
    }
    client = boto3.client("secretsmanager")
    ids = {name: client.create_secret(Name=name, SecretString=value)["ARN"] for name, value in values.items()}
    api_secu = json.dumps({"client_id": "a", "client_secret": "very-secret", "scope": "b"})
    names = [name for name in resources("AWS::SecretsManager::Secret") if name.startswith("ApiSecu")]
    return ids | {
        "ApiSecuClients": ",".join(client.create_secret(Name=name, SecretString=api_secu)["ARN"] for name in names)
    }


class Doctor:
    """The command, on a deployment that a test made ill."""

    def __init__(self, account: Account, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.account = account
        self._secrets = secrets
        self._monkeypatch = monkeypatch
        self.change: Callable[[PlayedDeployment], None] = lambda _: None

    def run(self, *options: str) -> Result:
        deployment = healthy_deployment(self.account, self._secrets)
        self.change(deployment)
        self._monkeypatch.setattr(Deployment, "on_aws", lambda *_: deployment)
        return CliRunner().invoke(main, ["doctor", *options])

    def findings(self) -> list[str]:
        """Return what is not right, and check the exit code and that no secret is shown."""
        result = self.run("--json")
        report = json.loads(result.output)
        assert result.exit_code == (0 if report["healthy"] else 1)
        assert "very-secret" not in result.output
        assert "PRIVATE KEY" not in result.output
        return [f"{each['check']}: {each['text']}" for each in report["findings"] if each["state"] != "ok"]

    def only_finding(self) -> str:
        (finding,) = self.findings()
        return finding


@pytest.fixture
def doctor(account: Account, secrets: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Doctor:
    return Doctor(account, secrets, monkeypatch)


def test_a_healthy_deployment_has_nothing_to_mend(doctor: Doctor) -> None:
    assert doctor.findings() == []
    result = doctor.run()
    assert result.exit_code == 0
    assert result.output.splitlines()[-1].endswith("checks: 0 wrong, 0 not checked.")


def test_every_secret_of_the_template_is_read(doctor: Doctor) -> None:
    findings = json.loads(doctor.run("--json").output)["findings"]
    read = {each["text"].partition(" ")[0] for each in findings if each["check"] == "secrets"}
    assert read == resources("AWS::SecretsManager::Secret").keys()


def empty(name: str) -> None:
    client = boto3.client("secretsmanager")
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    client.create_secret(Name=name)


@pytest.mark.parametrize("name", ["CafCertificate", "DatapassSecret", "ProbeIdentities", "ApiSecuPrimeActivite"])
def test_an_empty_secret_is_named_with_the_command_that_fills_it(doctor: Doctor, name: str) -> None:
    empty(name)
    finding = doctor.only_finding()
    assert finding.startswith(
        f"secrets: {name} is empty; fill it: aws secretsmanager put-secret-value --secret-id arn:"
    )


@pytest.mark.parametrize("provider", ["svair", "impot_particulier"])
def test_the_client_of_the_json_api_is_needed_by_that_interface_alone(doctor: Doctor, provider: str) -> None:
    empty("ImpotParticulierClient")
    doctor.account.parameters = {"DgfipProvider": provider}
    assert len(doctor.findings()) == (provider == "impot_particulier")


@pytest.mark.parametrize("name", ["CafCertificate", "ProbeIdentities", "ImpotParticulierClient"])
@pytest.mark.parametrize("value", ["very-secret", "[]", '{"certificate": "very-secret", "key": "", "authority": ""}'])
def test_a_malformed_secret_is_named_and_not_shown(doctor: Doctor, name: str, value: str) -> None:
    boto3.client("secretsmanager").put_secret_value(SecretId=name, SecretString=value)
    assert doctor.only_finding().startswith(f"secrets: {name} is malformed: ")


def test_a_certificate_that_ends_soon_is_named(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.doctor._CERTIFICATE", datetime(2100, 1, 1, tzinfo=UTC) - datetime.now(UTC))
    assert doctor.only_finding().startswith("certificate: our certificate at the CAF ends on 20")


def test_what_was_not_built_and_a_stack_that_failed_are_named(doctor: Doctor) -> None:
    doctor.account.release, doctor.account.status = "unbuilt", "UPDATE_ROLLBACK_FAILED"
    failed, unbuilt = doctor.findings()
    assert "UPDATE_ROLLBACK_FAILED" in failed
    assert "make deploy" in unbuilt


def test_parameters_that_differ_from_the_template_are_named(doctor: Doctor) -> None:
    doctor.account.parameters = {"Architecture": "riscv", "Environment": "In Capitals", "FromAnotherTime": "x"}
    assert doctor.findings() == [
        "parameters: FromAnotherTime: the stack has it and the template does not; deploy this version",
        "parameters: Architecture: the template refuses this value (one of arm64, x86_64)",
        "parameters: Environment: the template refuses this value (of the form ^[a-z][a-z0-9-]{1,20}$)",
    ]


@pytest.mark.parametrize(
    ("quota", "share", "advice"), [(10, "0", "ask for "), (1000, "0", "deploy DatasetConcurrency=45")]
)
def test_datasets_without_a_share_of_the_concurrency_are_named(
    doctor: Doctor, quota: int, share: str, advice: str
) -> None:
    doctor.account.concurrency = quota
    doctor.account.parameters = {"DatasetConcurrency": share}
    assert advice in doctor.only_finding()


def test_a_sender_that_is_not_verified_is_named(doctor: Doctor) -> None:
    doctor.account.parameters = {"MailSender": "inconnu@ailleurs.exemple.fr"}
    assert [finding.partition(":")[0] for finding in doctor.findings()] == ["mail", "mail"]  # nor signed


def test_no_sender_and_the_sandbox_of_ses_are_named(doctor: Doctor) -> None:
    doctor.account.in_production = False
    assert "sandbox" in doctor.only_finding()
    doctor.account.parameters = {"MailSender": ""}
    assert "MailSender is empty" in doctor.only_finding()


def test_topics_without_a_confirmed_subscriber_are_named(doctor: Doctor) -> None:
    def change(deployment: PlayedDeployment) -> None:
        lonely = boto3.client("sns").create_topic(Name="lonely")["TopicArn"]
        vars(deployment)["resources"] |= {"PageTopic": Resource("AWS::SNS::Topic", lonely)}

    doctor.change = change
    assert doctor.only_finding() == "subscriptions: PageTopic has no subscriber: deploy with AlarmMail and PageUrl"


def test_subscribers_that_have_not_confirmed_are_named(doctor: Doctor) -> None:
    doctor.account.scripted |= {"sns"}
    doctor.account.subscriptions = ("PendingConfirmation", "arn:aws:sns:eu-west-3:123456789012:topic:1")
    assert {finding.partition(": ")[2].partition(":")[2] for finding in doctor.findings()} == {
        " 1 of 2 subscribers have not opened the link of confirmation"
    }


def test_a_disabled_event_source_and_a_disabled_schedule_are_named(doctor: Doctor) -> None:
    doctor.account.mapping_state = "Disabled"
    doctor.change = lambda _: boto3.client("events").disable_rule(Name="probes") and None
    source, schedule = doctor.findings()
    assert source == (
        "event sources: AuditSealsAudit is Disabled: aws lambda update-event-source-mapping --uuid 0000-1 --enabled"
    )
    assert schedule == ("schedules: ProviderProbesEveryFiveMinutes is DISABLED: aws events enable-rule --name probes")


def test_a_late_stream_is_named(doctor: Doctor) -> None:
    def change(_: PlayedDeployment) -> None:
        boto3.client("cloudwatch").put_metric_data(
            Namespace="AWS/Lambda",
            MetricData=[
                {
                    "MetricName": "IteratorAge",
                    "Dimensions": [{"Name": "FunctionName", "Value": "seals"}],
                    "Value": 95_000,
                    "Timestamp": datetime.now(UTC) - timedelta(minutes=5),
                }
            ],
        )

    doctor.change = change
    assert doctor.only_finding().startswith("stream: AuditSeals is 95 s behind the audit's stream")


def test_a_gateway_without_logs_is_named(doctor: Doctor) -> None:
    doctor.account.stage, doctor.account.gateway_role = {}, None
    assert [finding.partition(":")[0] for finding in doctor.findings()] == ["gateway", "gateway"]


def test_an_alarm_that_rings_is_named_with_its_runbook(doctor: Doctor) -> None:
    def change(_: PlayedDeployment) -> None:
        boto3.client("cloudwatch").set_alarm_state(AlarmName="internal-errors", StateValue="ALARM", StateReason="test")

    doctor.change = change
    assert doctor.only_finding() == "alarms: InternalErrorsAlarm rings: docs/runbooks.md#internalerrorsalarm"


def test_calls_that_do_not_answer_as_promised_are_named(doctor: Doctor, gateway: Gateway) -> None:
    gateway.answers |= {
        "/api/caf/ping": (503, {"error": "not_configured"}),
        "/api/v2/revenu-fiscal-reference": (403, {"message": "Forbidden"}),
    }
    assert doctor.findings() == [
        "calls: /api/caf/ping answers 503 not_configured",
        "calls: /api/v2/revenu-fiscal-reference answers 403",
    ]


def test_what_cannot_be_read_on_aws_is_not_right_and_has_its_reason(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    doctor.account.api_url = "http://127.0.0.1:9/api"
    finding = doctor.only_finding()
    assert finding.startswith("calls: not checked here: ")
    monkeypatch.setattr(Account, "get_stage", lambda *_, **__: boto3.client("sqs").get_queue_url(QueueName="nowhere"))
    assert [finding.partition(":")[0] for finding in doctor.findings()] == ["gateway", "calls"]
