"""What a deployment lacks: each check reads AWS, changes nothing, and returns its findings.

The content of a secret is read, to know whether a function could use it, and is never part of a finding. What a check
cannot read is "unchecked", with the reason: on AWS it is a right that the operator lacks, on the local stack a service
that the embedded cloud does not have.
"""

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import requests
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, ValidationError

from api_particulier.providers import api_secu
from api_particulier.providers.caf import Identity
from api_particulier.providers.health import BENEFITS
from api_particulier.providers.impot_particulier import OAuthClient
from functions.provider_probes.app import Identities
from ops.deployment import Deployment
from ops.template import template

type State = Literal["ok", "wrong", "unchecked"]


@dataclass(frozen=True)
class Finding:
    """A line of the report; ``text`` holds what to do when something is wrong."""

    check: str
    state: State
    text: str

    @classmethod
    def of(cls, check: str, wrong: str | None, ok: str) -> "Finding":
        """Return what is wrong or, without anything wrong, what is right."""
        return cls(check, "wrong", wrong) if wrong else cls(check, "ok", ok)


type Check = Callable[[Deployment], Iterator[Finding]]

_LAMBDA_KEEPS: Final = 100
"""Calls at once that Lambda keeps for the functions without a share."""
_CERTIFICATE: Final = timedelta(days=30)
_RECENT: Final = timedelta(minutes=15)
_LAG: Final = timedelta(minutes=1)
"""How long a record may wait in the audit's stream."""
_FILL: Final = "aws secretsmanager put-secret-value --secret-id {id} --secret-string file://{file}"
_SECONDS: Final = 30.0
_NOT_FILLED: Final = frozenset({"ResourceNotFoundException", "InvalidRequestException"})
_ON_AWS: Final = "AWS alone has it"


def examine(deployment: Deployment) -> Iterator[Finding]:
    """Yield the findings of every check, in order; raise ``DeploymentError`` when there is no such stack."""
    for name, check in CHECKS.items():
        try:
            yield from check(deployment)
        except (BotoCoreError, ClientError, requests.RequestException) as error:
            reason = "the embedded cloud does not have it" if deployment.is_local else str(error)
            yield Finding(name, "unchecked", f"not checked here: {reason}")


def is_healthy(findings: list[Finding], *, local: bool) -> bool:
    """Return whether nothing is wrong and, on AWS, everything could be checked."""
    bad: set[State] = {"wrong"} if local else {"wrong", "unchecked"}
    return not any(finding.state in bad for finding in findings)


# ── The stack ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stack(deployment: Deployment) -> Iterator[Finding]:
    status = deployment.stack["StackStatus"]
    broken = status not in {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS"}
    wrong = f"CloudFormation left the stack in {status}: see its events, then deploy again" if broken else None
    yield Finding.of("stack", wrong, f"{deployment.stack_name} is {status}")
    name = deployment.resources["RevenuFiscalReference"].id
    function = deployment.client("lambda").get_function_configuration(FunctionName=name)
    release = function.get("Environment", {}).get("Variables", {}).get("RELEASE", "unbuilt")
    wrong = "what runs was not built by `make build`: run `make deploy`" if release == "unbuilt" else None
    yield Finding.of("stack", wrong, f"what runs was built at {release}")


def _parameters(deployment: Deployment) -> Iterator[Finding]:
    """Compare the stack's parameters with the template's: names, accepted values, defaults."""
    declared: dict[str, Any] = template()["Parameters"]
    given = {each["ParameterKey"]: each["ParameterValue"] for each in deployment.stack.get("Parameters", [])}
    for name in sorted(declared.keys() ^ given.keys()):
        missing = name in declared
        text = "the template has it and the stack does not" if missing else "the stack has it and the template does not"
        yield Finding("parameters", "wrong", f"{name}: {text}; deploy this version")
    for name in sorted(declared.keys() & given.keys()):
        value, default = given[name], str(declared[name].get("Default", ""))
        if refused := _refused(declared[name], value):
            yield Finding("parameters", "wrong", f"{name}: the template refuses this value ({refused})")
        elif value != default:
            yield Finding("parameters", "ok", f"{name} is {value or 'empty'} ({default or 'no'} default)")


def _refused(parameter: Mapping[str, Any], value: str) -> str | None:
    """Return the rule of the template that a value breaks."""
    allowed = [str(each) for each in parameter.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"one of {', '.join(allowed)}"
    pattern = parameter.get("AllowedPattern")
    return f"of the form {pattern}" if pattern and not re.fullmatch(pattern, value) else None


def _parameter(deployment: Deployment, name: str) -> str:
    given = {each["ParameterKey"]: each["ParameterValue"] for each in deployment.stack.get("Parameters", [])}
    return str(given.get(name, template()["Parameters"][name].get("Default", "")))


# ── Quotas ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _quotas(deployment: Deployment) -> Iterator[Finding]:
    """Compare the account's concurrency with the shares of the functions."""
    if deployment.is_local:
        yield Finding("quotas", "unchecked", f"not checked here: {_ON_AWS}")
        return
    limit = deployment.client("lambda").get_account_settings()["AccountLimit"]["ConcurrentExecutions"]
    share = int(_parameter(deployment, "DatasetConcurrency"))
    usual = int(template()["Parameters"]["DatasetConcurrency"]["Default"])
    needed = sum(_reserved(function, share or usual) for function in template()["Resources"].values()) + _LAMBDA_KEEPS
    wrong = None
    if not share and limit < needed:
        wrong = (
            f"Lambda may run {limit} functions at once, and none has a share: ask for {needed} (Service Quotas,"
            " Concurrent executions), then deploy without DatasetConcurrency=0"
        )
    elif not share:
        wrong = f"no function has a share, and Lambda may run {limit} at once: deploy DatasetConcurrency={usual}"
    text = f"Lambda may run {limit} functions at once, of the {needed} that the shares need; a dataset has {share}"
    yield Finding.of("quotas", wrong, text)


def _reserved(resource: Mapping[str, Any], share: int) -> int:
    """Return how many calls at once a resource of the template reserves when a dataset has ``share``."""
    condition = resource.get("Properties", {}).get("ReservedConcurrentExecutions")
    if condition is None:
        return 0
    reserved = condition["Fn::If"][1]  # if concurrency is shared at all
    return share if reserved == {"Ref": "DatasetConcurrency"} else int(reserved)


# ── Secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _secrets(deployment: Deployment) -> Iterator[Finding]:
    """Read each secret as the function does that uses it."""
    for name, read in _SECRETS.items():
        value = _value(deployment, name)
        if value is None and name == "ImpotParticulierClient" and not _asks_impot_particulier(deployment):
            yield Finding("secrets", "ok", f"{name} is empty, and the tax service is asked by its other interface")
            continue
        state = "is empty" if value is None else read(value)
        fill = _FILL.format(id=_secret_id(deployment, name), file=_FILES[name])
        yield Finding.of("secrets", f"{name} {state}; fill it: {fill}" if state else None, f"{name} is filled")


def _secret_id(deployment: Deployment, name: str) -> str:
    """Return the id of a secret; one output has those of API-SECU, in the order of the benefits."""
    if name in _API_SECU:
        return deployment.outputs["ApiSecuClients"].split(",")[_API_SECU.index(name)]
    return deployment.outputs[name]


def _value(deployment: Deployment, name: str) -> str | None:
    """Return the value of a secret; None while it has none."""
    try:
        secrets = deployment.client("secretsmanager")
        value: str = secrets.get_secret_value(SecretId=_secret_id(deployment, name)).get("SecretString", "")
    except ClientError as error:
        if error.response["Error"]["Code"] not in _NOT_FILLED:
            raise
        return None
    return value.strip() or None


def _asks_impot_particulier(deployment: Deployment) -> bool:
    return _parameter(deployment, "DgfipProvider") == "impot_particulier"


def _json_of(model: type[BaseModel]) -> Callable[[str], str | None]:
    def read(value: str) -> str | None:
        try:
            model.model_validate_json(value)
        except ValidationError:
            return f"is malformed: it is not a JSON object of {', '.join(model.model_fields)}"
        return None

    return read


def _certificate(value: str) -> str | None:
    if wrong := _json_of(Identity)(value):
        return wrong
    try:
        identity = Identity.model_validate_json(value)
        identity.context()
        identity.end()
    except (ssl.SSLError, ValueError):
        return "is malformed: certificate, key and authority are not three PEM texts that go together, the key unlocked"
    return None


_API_SECU: Final = tuple(f"ApiSecu{benefit.title().replace('_', '')}" for benefit in BENEFITS)
"""The secrets of API-SECU, by their names in the template."""
_SECRETS: Final[Mapping[str, Callable[[str], str | None]]] = {
    "CafCertificate": _certificate,
    "DatapassSecret": lambda _: None,
    "ImpotParticulierClient": _json_of(OAuthClient),
    "ProbeIdentities": _json_of(Identities),
    **dict.fromkeys(_API_SECU, _json_of(api_secu.OAuthClient)),
}
"""How a value is read: what is wrong with it, if anything."""
_FILES: Final = {
    "CafCertificate": "caf.json",
    "DatapassSecret": "datapass.txt",
    "ImpotParticulierClient": "dgfip.json",
    "ProbeIdentities": "probes.json",
    **{name: f"{name}.json" for name in _API_SECU},
}


def _certificate_end(deployment: Deployment) -> Iterator[Finding]:
    value = _value(deployment, "CafCertificate")
    if value is None or _certificate(value):
        return  # the secrets' own finding
    end = Identity.model_validate_json(value).end()
    wrong = end - datetime.now(UTC) < _CERTIFICATE
    text = f"our certificate at the CAF ends on {end:%Y-%m-%d}"
    yield Finding.of("certificate", f"{text}: ask the CAF for another (docs/runbooks.md)" if wrong else None, text)


# ── Mail, and who is warned ──────────────────────────────────────────────────────────────────────────────────────────


def _mail(deployment: Deployment) -> Iterator[Finding]:
    sender = _parameter(deployment, "MailSender")
    if not sender:
        yield Finding("mail", "wrong", "MailSender is empty: neither links nor reminders are sent")
        return
    ses, identities = deployment.client("ses"), [sender, sender.partition("@")[2]]
    states = ses.get_identity_verification_attributes(Identities=identities)["VerificationAttributes"].values()
    verified = any(state["VerificationStatus"] == "Success" for state in states)
    wrong = None if verified else f"SES has not verified {sender}, nor its domain, in this region"
    yield Finding.of("mail", wrong, f"SES has verified {sender}, or its domain")
    if deployment.is_local:
        return
    account = deployment.client("sesv2").get_account()
    wrong = None if account.get("ProductionAccessEnabled") else "SES is in its sandbox here: ask for production access"
    yield Finding.of("mail", wrong, "SES sends to any address")
    signed = ses.get_identity_dkim_attributes(Identities=identities)["DkimAttributes"].values()
    signs = any(state["DkimEnabled"] and state["DkimVerificationStatus"] == "Success" for state in signed)
    wrong = None if signs else "DKIM is not set up for the sender's domain: mails may be taken for spam"
    yield Finding.of("mail", wrong, "mails are signed (DKIM)")


def _subscriptions(deployment: Deployment) -> Iterator[Finding]:
    if deployment.is_local:
        yield Finding("subscriptions", "unchecked", "not checked here: no alarm leaves this machine")
        return
    sns = deployment.client("sns")
    for topic in ("MailTopic", "PageTopic"):
        arn = deployment.resources[topic].id
        arns = [each["SubscriptionArn"] for each in sns.list_subscriptions_by_topic(TopicArn=arn)["Subscriptions"]]
        pending = [each for each in arns if not each.startswith("arn:")]
        wrong = f"{topic} has no subscriber: deploy with AlarmMail and PageUrl" if not arns else None
        if pending:
            wrong = f"{topic}: {len(pending)} of {len(arns)} subscribers have not opened the link of confirmation"
        yield Finding.of("subscriptions", wrong, f"{topic} has {len(arns)} confirmed")


# ── Streams and schedules ────────────────────────────────────────────────────────────────────────────────────────────


def _event_sources(deployment: Deployment) -> Iterator[Finding]:
    functions = deployment.client("lambda")
    for name, resource in deployment.resources.items():
        if resource.kind == "AWS::Lambda::EventSourceMapping":
            state = functions.get_event_source_mapping(UUID=resource.id)["State"]
            enable = f"aws lambda update-event-source-mapping --uuid {resource.id} --enabled"
            wrong = None if state == "Enabled" else f"{name} is {state}: {enable}"
            yield Finding.of("event sources", wrong, f"{name} is enabled")


def _schedules(deployment: Deployment) -> Iterator[Finding]:
    events = deployment.client("events")
    for name, resource in deployment.resources.items():
        if resource.kind == "AWS::Events::Rule":
            rule = resource.id.rpartition("/")[2].rpartition("|")[2]
            state = events.describe_rule(Name=rule)["State"]
            wrong = None if state == "ENABLED" else f"{name} is {state}: aws events enable-rule --name {rule}"
            yield Finding.of("schedules", wrong, f"{name} is enabled")


def _stream_lag(deployment: Deployment) -> Iterator[Finding]:
    metrics, now = deployment.client("cloudwatch"), datetime.now(UTC)
    for name in ("AuditSeals",):
        measured = metrics.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="IteratorAge",
            Dimensions=[{"Name": "FunctionName", "Value": deployment.resources[name].id}],
            StartTime=now - _RECENT,
            EndTime=now,
            Period=60,
            Statistics=["Maximum"],
        )["Datapoints"]
        if not measured:
            yield (
                Finding("stream", "unchecked", f"{name}: not checked here: the embedded cloud does not measure it")
                if deployment.is_local
                else Finding("stream", "ok", f"{name} has had nothing to read in the last 15 minutes")
            )
            continue
        latest = max(measured, key=lambda point: point["Timestamp"])["Maximum"] / 1000
        late = latest > _LAG.total_seconds()
        text = f"{name} is {latest:.0f} s behind the audit's stream"
        yield Finding.of("stream", f"{text} (docs/runbooks.md#sealdelayalarm)" if late else None, text)


# ── The gateway, and alarms ──────────────────────────────────────────────────────────────────────────────────────────


def _gateway(deployment: Deployment) -> Iterator[Finding]:
    if deployment.is_local:
        yield Finding("gateway", "unchecked", "not checked here: the embedded cloud writes no access log")
        return
    gateway = deployment.client("apigateway")
    for name, resource in deployment.resources.items():
        if resource.kind == "AWS::ApiGateway::RestApi":
            stage = gateway.get_stage(restApiId=resource.id, stageName="live")
            logs = stage.get("accessLogSettings", {}).get("destinationArn")
            wrong = None if logs else f"the stage of {name} has no access log: deploy again"
            yield Finding.of("gateway", wrong, f"{name} has an access log")
    role = gateway.get_account().get("cloudwatchRoleArn")
    wrong = (
        None if role else "no role lets API Gateway write logs in this region (AWS::ApiGateway::Account): deploy again"
    )
    yield Finding.of("gateway", wrong, "a role lets it write its logs")


def _alarms(deployment: Deployment) -> Iterator[Finding]:
    cloudwatch = deployment.client("cloudwatch")
    names = {each.id: name for name, each in deployment.resources.items() if each.kind in _ALARMS}
    pages = cloudwatch.get_paginator("describe_alarms").paginate(StateValue="ALARM", AlarmTypes=list(_ALARMS.values()))
    ringing = [
        names[alarm["AlarmName"]]
        for page in pages
        for alarm in (*page.get("MetricAlarms", ()), *page.get("CompositeAlarms", ()))
        if alarm["AlarmName"] in names
    ]
    for name in ringing:
        yield Finding("alarms", "wrong", f"{name} rings: docs/runbooks.md#{name.lower()}")
    if not ringing:
        yield Finding("alarms", "ok", f"none of {len(names)} rings")


_ALARMS: Final = {"AWS::CloudWatch::Alarm": "MetricAlarm", "AWS::CloudWatch::CompositeAlarm": "CompositeAlarm"}


# ── A few calls that need neither a key nor a citizen ────────────────────────────────────────────────────────────────


def _smoke(deployment: Deployment) -> Iterator[Finding]:
    for path, expected, error in _CALLS:
        response = requests.get(
            f"{deployment.base_url}{path}", timeout=_SECONDS, headers={"Accept": "application/json"}
        )
        body = _json(response)
        refused = body.get("error") if isinstance(body, dict) else None
        if (response.status_code, refused) == (expected, error):
            yield Finding("calls", "ok", f"{path} answers {expected}")
        else:
            yield Finding("calls", "wrong", f"{path} answers {response.status_code} {refused or ''}".rstrip())


def _json(response: requests.Response) -> Any:
    try:
        return response.json()
    except requests.JSONDecodeError:
        return None


_CALLS: Final = (
    ("/api/ping", 200, None),
    ("/api/impots/ping", 200, None),
    ("/api/caf/ping", 200, None),
    ("/api/status", 200, None),
    ("/api/stats", 200, None),
    ("/api/open-api.yml", 200, None),
    ("/api/v2/revenu-fiscal-reference", 401, "access_denied"),
    ("/api/nulle-part", 404, "not_found"),
)
"""A path, the status that it must have, and the code of its error."""

CHECKS: Final[Mapping[str, Check]] = {
    "stack": _stack,
    "parameters": _parameters,
    "quotas": _quotas,
    "secrets": _secrets,
    "certificate": _certificate_end,
    "mail": _mail,
    "subscriptions": _subscriptions,
    "event sources": _event_sources,
    "schedules": _schedules,
    "stream": _stream_lag,
    "gateway": _gateway,
    "alarms": _alarms,
    "calls": _smoke,
}
