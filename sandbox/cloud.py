"""Run the embedded cloud, MiniStack, and bridge its differences with AWS.

It listens on loopback only, with a Python 3.13 of its own, which also runs the Lambda functions.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import requests
import yaml
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_apigateway import APIGatewayClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_iam import IAMClient

REGION = "eu-west-3"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""Credentials of the embedded cloud's root user, the only one until another is created."""
STAGE = "live"
MAIL_SENDER = "ne-pas-repondre@api-particulier.exemple.fr"
_UNSUPPORTED = {"AWS::CloudWatch::CompositeAlarm", "AWS::CloudWatch::InsightRule", "AWS::CloudWatch::Dashboard"}
BRIDGED = Path(__file__).parent / "emulator/bridged.py"
"""MiniStack, with the ``usageIdentifierKey`` of authorisers, which it lacks."""
LOCK_MODE = "GOVERNANCE"
"""Object Lock mode of the local stack's seals: a test that tampers with a seal can put it back."""


def command(python: Path, port: int) -> list[str]:
    # MiniStack's own command binds every interface; hypercorn binds loopback.
    return [str(python.parent / "hypercorn"), f"{BRIDGED}:app", "--bind", f"127.0.0.1:{port}"]


def environment(folder: Path, port: int, *, enforce_iam: bool) -> dict[str, str]:
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POWERTOOLS_"))}
    return kept | {
        **CREDENTIALS,
        "AUTH": "true" if enforce_iam else "false",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_PORT": "0",  # else its MQTT listener binds every interface
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(scratch / "s3"),
        "TMPDIR": str(scratch),
    }


def deployable(built: Path) -> Path:
    """Write the part of a built template that MiniStack can deploy; return its path.

    MiniStack has no CodeDeploy, metric math, composite alarm or insight rule; the dashboard refers to these.
    """
    template = yaml.safe_load(built.read_text())
    del template["Globals"]["Function"]["DeploymentPreference"]
    template["Resources"] = {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] not in _UNSUPPORTED and "Metrics" not in resource.get("Properties", {})
    }
    written = built.with_name("local.yaml")
    written.write_text(yaml.safe_dump(template, sort_keys=False))
    return written


def client(service: Any, url: str) -> Any:
    return boto3.Session("test", "test", region_name=REGION).client(service, endpoint_url=url)


def verify_sender(url: str) -> None:
    """Verify the sender's address, which an operator does once on AWS."""
    client("ses", url).verify_email_identity(EmailAddress=MAIL_SENDER)


def widen_rights(url: str, stack_name: str) -> None:
    """Widen the rights to send mail and to use the gateway's keys, in the roles that have them.

    MiniStack checks the first on ``*``, where AWS checks it on the sender's identity, and knows no tag of the second.
    """
    iam: IAMClient = client("iam", url)
    stack = client("cloudformation", url).get_paginator("list_stack_resources").paginate(StackName=stack_name)
    roles = [
        resource["PhysicalResourceId"]
        for page in stack
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


def set_public_url(url: str, stack_name: str, logical_id: str, public_url: str) -> None:
    """Give a function its public address in ``PUBLIC_URL``.

    MiniStack's events have no domain name from which to build it.
    """
    name = _physical_id(url, stack_name, logical_id)
    functions = client("lambda", url)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    if variables.get("PUBLIC_URL") != public_url:
        reconfigure(functions, name, Environment={"Variables": variables | {"PUBLIC_URL": public_url}})


def reconfigure(functions: Any, name: str, **configuration: Any) -> None:
    """Change a function's configuration and publish it.

    The next call starts a new environment with it.
    """
    functions.update_function_configuration(FunctionName=name, **configuration)
    published = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=published)  # the alias that callers reach


def mailbox(url: str) -> list[dict[str, Any]]:
    """Return the mails that were sent, with ``To``, ``Subject`` and ``BodyText``.

    No mail leaves this machine.
    """
    response = requests.get(f"{url}/_ministack/ses/messages", timeout=10)
    return [message for messages in response.json()["messages"].values() for message in messages]


def lock_bucket(url: str, stack_name: str, logical_id: str) -> None:
    """Apply the template's Object Lock to a bucket.

    MiniStack's CloudFormation ignores it.
    """
    bucket = _deployed_resources(url, stack_name)[logical_id]["Properties"]
    retention = dict(bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"])
    client("s3", url).put_object_lock_configuration(
        Bucket=_physical_id(url, stack_name, logical_id),
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": retention | {"Mode": LOCK_MODE}},
        },
    )


def enable_point_in_time_recovery(url: str, tables: Iterable[str]) -> None:
    """Enable the tables' point-in-time recovery.

    MiniStack's CloudFormation ignores it.
    """
    dynamodb: DynamoDBClient = client("dynamodb", url)
    for table in tables:
        dynamodb.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


def pass_binary_responses(url: str, api_id: str) -> None:
    """Set the API's binary media types to ``*/*``.

    MiniStack does not read the template's ``*~1*``.
    """
    lax = Config(parameter_validation=False)  # MiniStack takes the whole list, where AWS takes an operation a type
    gateway = boto3.Session("test", "test", region_name=REGION).client("apigateway", endpoint_url=url, config=lax)
    operation: Any = {"op": "replace", "path": "/binaryMediaTypes", "value": ["*/*"]}
    gateway.update_rest_api(restApiId=api_id, patchOperations=[operation])


def find_keys_by_authorizer(url: str, *api_ids: str) -> None:
    """Set the source of the APIs' keys.

    MiniStack's CloudFormation ignores it when it creates an API.
    """
    gateway: APIGatewayClient = client("apigateway", url)
    operation: Any = {"op": "replace", "path": "/apiKeySource", "value": "AUTHORIZER"}
    for api_id in api_ids:
        gateway.update_rest_api(restApiId=api_id, patchOperations=[operation])


def put_gateway_responses(url: str, stack_name: str, logical_id: str, api_id: str) -> None:
    """Set the own responses of a gateway.

    MiniStack ignores those that SAM puts in the API's OpenAPI body.
    """
    body = _deployed_resources(url, stack_name)[logical_id]["Properties"]["Body"]
    gateway: APIGatewayClient = client("apigateway", url)
    for response_type, response in body["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=api_id,
            responseType=response_type,
            responseParameters=response.get("responseParameters", {}),
            responseTemplates=response.get("responseTemplates", {}),
            **({"statusCode": str(response["statusCode"])} if "statusCode" in response else {}),
        )
    gateway.create_deployment(restApiId=api_id, stageName=STAGE)  # they take effect only with a deployment


def _deployed_resources(url: str, stack_name: str) -> dict[str, Any]:
    """Return the resources of the template that was deployed, after SAM's transform."""
    cloudformation = client("cloudformation", url)
    template = cloudformation.get_template(StackName=stack_name, TemplateStage="Processed")["TemplateBody"]
    resources: dict[str, Any] = (json.loads(template) if isinstance(template, str) else template)["Resources"]
    return resources


def _physical_id(url: str, stack_name: str, logical_id: str) -> str:
    cloudformation = client("cloudformation", url)
    resource = cloudformation.describe_stack_resource(StackName=stack_name, LogicalResourceId=logical_id)
    physical_id: str = resource["StackResourceDetail"]["PhysicalResourceId"]
    return physical_id
