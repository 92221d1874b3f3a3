"""A deployment on AWS for ``api-particulier doctor``: moto plays what it can, the rest is scripted by a test."""

from dataclasses import dataclass, field
from typing import Any, override

import boto3

from ops.deployment import Deployment, Resource
from ops.template import template


@dataclass
class Account:
    """What a test may change of the account and of the stack, which is healthy to begin with."""

    concurrency: int = 1000
    release: str = "2026-11-27T03:00:00"
    mapping_state: str = "Enabled"
    stage: dict[str, Any] = field(default_factory=lambda: {"accessLogSettings": {"destinationArn": "arn:aws:logs:::g"}})
    gateway_role: str | None = "arn:aws:iam::123456789012:role/logs"
    in_production: bool = True
    status: str = "UPDATE_COMPLETE"
    parameters: dict[str, str] = field(default_factory=dict)
    api_url: str = "http://127.0.0.1:9/api"

    scripted: set[str] = field(default_factory=lambda: {"lambda", "apigateway", "sesv2"})
    """The services that are not moto's."""
    subscriptions: tuple[str, ...] = ()

    # The names of boto3's functions.
    def list_subscriptions_by_topic(self, **_: Any) -> dict[str, Any]:
        return {"Subscriptions": [{"SubscriptionArn": arn} for arn in self.subscriptions]}

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": self.concurrency}}

    def get_function_configuration(self, **_: Any) -> dict[str, Any]:
        return {"Environment": {"Variables": {"RELEASE": self.release}}}

    def get_event_source_mapping(self, **_: Any) -> dict[str, Any]:
        return {"State": self.mapping_state}

    def get_stage(self, **_: Any) -> dict[str, Any]:
        return self.stage

    def get_account(self) -> dict[str, Any]:
        return {"cloudwatchRoleArn": self.gateway_role, "ProductionAccessEnabled": self.in_production}


class PlayedDeployment(Deployment):
    """A deployment whose Lambda, gateway and SES's account are scripted."""

    account: Account

    @override
    def client(self, service: Any) -> Any:
        return self.account if service in self.account.scripted else super().client(service)


def healthy_deployment(account: Account, secrets: dict[str, str]) -> PlayedDeployment:
    """Return a deployment without anything to mend, once ``secrets`` hold what functions need."""
    deployment = PlayedDeployment(boto3.Session(), "api-particulier", local_api_url=account.api_url)
    sns, events, cloudwatch = (boto3.client(name) for name in ("sns", "events", "cloudwatch"))
    topics = {name: sns.create_topic(Name=name)["TopicArn"] for name in ("MailTopic", "PageTopic")}
    for arn in topics.values():
        sns.subscribe(TopicArn=arn, Protocol="sms", Endpoint="+33639980001")
    events.put_rule(Name="probes", ScheduleExpression="rate(5 minutes)")
    cloudwatch.put_metric_alarm(
        AlarmName="internal-errors",
        ComparisonOperator="GreaterThanThreshold",
        EvaluationPeriods=1,
        MetricName="InternalErrors",
        Namespace="test",
        Period=60,
        Statistic="Sum",
        Threshold=0,
    )
    boto3.client("ses").verify_email_identity(EmailAddress="ne-pas-repondre@exemple.fr")
    boto3.client("ses").verify_domain_identity(Domain="exemple.fr")
    boto3.client("ses").verify_domain_dkim(Domain="exemple.fr")
    declared = {name: str(each.get("Default", "")) for name, each in template()["Parameters"].items()}
    values = declared | {"CafUrl": "https://caf.exemple.fr", "MailSender": "ne-pas-repondre@exemple.fr"}
    values |= account.parameters
    vars(deployment).update(
        account=account,
        stack={
            "StackStatus": account.status,
            "Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in values.items()],
        },
        outputs=secrets,
        resources={
            "Api": Resource("AWS::ApiGateway::RestApi", "api"),
            "RevenuFiscalReference": Resource("AWS::Lambda::Function", "rfr"),
            "AuditSeals": Resource("AWS::Lambda::Function", "seals"),
            "AuditSealsAudit": Resource("AWS::Lambda::EventSourceMapping", "0000-1"),
            "ProviderProbesEveryFiveMinutes": Resource("AWS::Events::Rule", "probes"),
            "InternalErrorsAlarm": Resource("AWS::CloudWatch::Alarm", "internal-errors"),
            **{name: Resource("AWS::SNS::Topic", arn) for name, arn in topics.items()},
        },
    )
    return deployment
