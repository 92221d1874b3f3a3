"""What of the template the local stack leaves out, and what it bridges: ``docs/local-stack.md`` is written from here.

A bridge is a function of ``BRIDGES``, applied after each deployment. Its docstring has what it does and, in its second
paragraph, the difference between MiniStack and AWS.
"""

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import boto3
import yaml
from botocore.config import Config

from ops.template import template as declaration
from sandbox import cloud

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_iam import IAMClient

_UNSUPPORTED: Final = {
    "AWS::CloudWatch::CompositeAlarm": "MiniStack has no composite alarm",
    "AWS::CloudWatch::Dashboard": "it refers to these",
}
"""Types of resources that are not deployed, with the reason."""
_DEPLOYMENTS: Final = ("DeploymentPreference", "MiniStack has no CodeDeploy: the alias moves at once")
_METHODS: Final = ("get", "head", "options")
_ANY: Final = ("Method: any", f"written as {', '.join(_METHODS)}", "MiniStack does not import the method ANY")
_APIS: Final = ("Api", "ApiV3")
_TABLES: Final = ("TokensTable", "AuditTable", "StatsTable", "HabilitationsTable")
_BUCKET: Final = "SealsBucket"
_LINKS: Final = "DatapassWebhook"
"""The function that writes addresses in mails."""


def left_out(template: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of the template's resources that are not deployed, each with the reason."""
    found = {}
    for name, resource in template["Resources"].items():
        if resource["Type"] in _UNSUPPORTED:
            found[name] = _UNSUPPORTED[resource["Type"]]
        elif "Metrics" in resource.get("Properties", {}):
            found[name] = "MiniStack has no metric math"
    return found


def deployable(built: Path) -> Path:
    """Write the part of a built template that MiniStack can deploy; return its path."""
    template = yaml.load(built.read_text(), yaml.CSafeLoader)
    del template["Globals"]["Function"][_DEPLOYMENTS[0]]
    for name in left_out(template):
        del template["Resources"][name]
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function" and "Events" in resource["Properties"]:
            resource["Properties"]["Events"] = dict(_events(resource["Properties"]["Events"]))
    written = built.with_name("local.json")  # which tools read a hundred times faster than YAML
    written.write_text(json.dumps(template))
    return written


def _events(declared: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the events of a function, with one for each method of a route that takes any."""
    for name, event in declared.items():
        if event["Properties"].get("Method") != "any":
            yield name, event
            continue
        for method in _METHODS:
            yield f"{name}{method.title()}", event | {"Properties": event["Properties"] | {"Method": method}}


# ── After a deployment ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Deployed:
    """The stack in MiniStack, as it was just deployed."""

    url: str
    stack_name: str
    outputs: Mapping[str, str]

    def client(self, service: Any) -> Any:
        return cloud.client(service, self.url)

    def base_url(self, api_id: str) -> str:
        """Return the address that callers of an API put before a route."""
        return f"{self.url}/restapis/{api_id}/{cloud.STAGE}/_user_request_"

    @cached_property
    def resources(self) -> dict[str, Any]:
        """Resources of the template that was deployed, after SAM's transform."""
        read = self.client("cloudformation").get_template(StackName=self.stack_name, TemplateStage="Processed")
        template = read["TemplateBody"]
        resources: dict[str, Any] = (json.loads(template) if isinstance(template, str) else template)["Resources"]
        return resources

    def physical_id(self, logical_id: str) -> str:
        cloudformation = self.client("cloudformation")
        resource = cloudformation.describe_stack_resource(StackName=self.stack_name, LogicalResourceId=logical_id)
        physical_id: str = resource["StackResourceDetail"]["PhysicalResourceId"]
        return physical_id

    @property
    def api_ids(self) -> dict[str, str]:
        return {logical_id: self.outputs[f"{logical_id}Id"] for logical_id in _APIS}


def pass_binary_responses(deployed: Deployed) -> None:
    """Set the binary media types of the API to ``*/*``.

    MiniStack does not read the template's ``*~1*``.
    """
    lax = Config(parameter_validation=False)  # MiniStack takes the whole list, where AWS takes an operation a type
    session = boto3.Session("test", "test", region_name=cloud.REGION)
    gateway = session.client("apigateway", endpoint_url=deployed.url, config=lax)
    operation: Any = {"op": "replace", "path": "/binaryMediaTypes", "value": ["*/*"]}
    gateway.update_rest_api(restApiId=deployed.outputs["ApiId"], patchOperations=[operation])


def find_keys_by_authorizer(deployed: Deployed) -> None:
    """Set the source of the keys of both APIs.

    MiniStack's CloudFormation ignores ``ApiKeySourceType`` when it creates an API.
    """
    gateway: APIGatewayClient = deployed.client("apigateway")
    operation: Any = {"op": "replace", "path": "/apiKeySource", "value": "AUTHORIZER"}
    for api_id in deployed.api_ids.values():
        gateway.update_rest_api(restApiId=api_id, patchOperations=[operation])


def put_gateway_responses(deployed: Deployed) -> None:
    """Set the own responses of both gateways.

    MiniStack ignores those that SAM puts in the OpenAPI body of an API.
    """
    gateway: APIGatewayClient = deployed.client("apigateway")
    for logical_id, api_id in deployed.api_ids.items():
        body = deployed.resources[logical_id]["Properties"]["Body"]
        for response_type, response in body["x-amazon-apigateway-gateway-responses"].items():
            gateway.put_gateway_response(
                restApiId=api_id,
                responseType=response_type,
                responseParameters=response.get("responseParameters", {}),
                responseTemplates=response.get("responseTemplates", {}),
                **({"statusCode": str(response["statusCode"])} if "statusCode" in response else {}),
            )
        gateway.create_deployment(restApiId=api_id, stageName=cloud.STAGE)  # they take effect only with a deployment


def set_public_url(deployed: Deployed) -> None:
    """Give the webhook the public address of the API, for the links that it sends.

    MiniStack's events have no domain name from which to build it.
    """
    public_url = deployed.base_url(deployed.outputs["ApiId"])
    name = deployed.physical_id(_LINKS)
    functions = deployed.client("lambda")
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    if variables.get("PUBLIC_URL") != public_url:
        cloud.reconfigure(functions, name, Environment={"Variables": variables | {"PUBLIC_URL": public_url}})


def verify_sender(deployed: Deployed) -> None:
    """Verify the address of the sender of mails.

    An operator does it once on AWS, in SES.
    """
    deployed.client("ses").verify_email_identity(EmailAddress=cloud.MAIL_SENDER)


def widen_rights(deployed: Deployed) -> None:
    """Widen the rights to send mail and to use the gateway's keys, in the roles that have them.

    MiniStack checks the first on ``*``, where AWS checks it on the sender's identity, and knows no tag of the second.
    """
    iam: IAMClient = deployed.client("iam")
    pages = deployed.client("cloudformation").get_paginator("list_stack_resources")
    roles = [
        resource["PhysicalResourceId"]
        for page in pages.paginate(StackName=deployed.stack_name)
        for resource in page["StackResourceSummaries"]
        if resource["ResourceType"] == "AWS::IAM::Role"
    ]
    for role in roles:
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            sending = [statement for statement in document["Statement"] if statement["Action"] == "ses:SendEmail"]
            tagged = [statement for statement in document["Statement"] if "Tag/" in str(statement.get("Condition"))]
            for statement in sending:
                statement["Resource"] = "*"
            for statement in tagged:
                del statement["Condition"]
            if sending or tagged:
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def lock_bucket(deployed: Deployed) -> None:
    """Apply the template's Object Lock to the bucket of the seals, in GOVERNANCE mode.

    MiniStack's CloudFormation ignores it.
    """
    bucket = deployed.resources[_BUCKET]["Properties"]
    retention = dict(bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"])
    deployed.client("s3").put_object_lock_configuration(
        Bucket=deployed.physical_id(_BUCKET),
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": retention | {"Mode": cloud.LOCK_MODE}},
        },
    )


def enable_point_in_time_recovery(deployed: Deployed) -> None:
    """Enable the point-in-time recovery of the tables.

    MiniStack's CloudFormation ignores it.
    """
    dynamodb: DynamoDBClient = deployed.client("dynamodb")
    for table in _TABLES:
        dynamodb.update_continuous_backups(
            TableName=deployed.outputs[table], PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


BRIDGES: Final[tuple[Callable[[Deployed], None], ...]] = (
    pass_binary_responses,
    find_keys_by_authorizer,
    put_gateway_responses,
    set_public_url,
    verify_sender,
    widen_rights,
    lock_bucket,
    enable_point_in_time_recovery,
)


ONLY_ON_AWS: Final = (
    "the role that lets the gateway write its access log, and the log itself",
    "the memory and the concurrency of a function, and SnapStart",
    "metric filters, metrics of AWS's services, and so alarms that ring",
    "the several shards of a stream: consumers of a table that is written to much run side by side",
    "who may use an alias, a topic or a key, unless `AUTH=true`; conditions on DynamoDB's leading keys, even so",
    "the limits of routes and stages; a web ACL, a domain and its certificate; a mail that leaves",
    "a budget, a trail, and the rules that watch what a trail shows",
)
"""What MiniStack accepts and does nothing with."""


def bridge(deployed: Deployed) -> None:
    """Apply every bridge, in order."""
    for apply in BRIDGES:
        apply(deployed)


# ── The list ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def listed() -> list[tuple[str, str, str]]:
    """Return each difference: what of the template or of AWS, what the local stack does, and the reason."""
    absent = [(name, "left out", reason) for name, reason in left_out(declaration()).items()]
    bridges = [(apply.__name__, apply.__doc__ or "") for apply in BRIDGES]
    bridges.append((cloud.BRIDGED.stem, ast.get_docstring(ast.parse(cloud.BRIDGED.read_text())) or ""))
    return [
        (_DEPLOYMENTS[0], "left out", _DEPLOYMENTS[1]),
        _ANY,
        *absent,
        *((name, *_parts(text)) for name, text in bridges),
    ]


def _parts(docstring: str) -> tuple[str, str]:
    """Return the first two paragraphs of a docstring: what is done, and the difference."""
    done, difference = docstring.split("\n\n")[:2]
    return done.strip(), " ".join(difference.split())


def summary() -> str:
    """Return the line that `make up` prints."""
    rows = listed()
    absent = [name for name, how, _ in rows if how == "left out"]
    return (
        f"Not as on AWS: left out {', '.join(absent)}; {len(rows) - len(absent)} differences of the embedded cloud"
        " are bridged (docs/local-stack.md)."
    )
