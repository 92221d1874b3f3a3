"""The embedded cloud: MiniStack, on loopback only, and where it differs from AWS.

It runs with a Python 3.13 of its own, which is also the one that runs the Lambdas.
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
"""The root of the embedded cloud: it knows no other until someone makes one."""
STAGE = "live"
MAIL_SENDER = "ne-pas-repondre@api-particulier.exemple.fr"
_UNKNOWN = {"AWS::CloudWatch::CompositeAlarm", "AWS::CloudWatch::InsightRule", "AWS::CloudWatch::Dashboard"}
LOCK_MODE = "GOVERNANCE"
"""Of the local stack's seals: what a test tampers with, it puts back."""


def command(python: Path, port: int) -> list[str]:
    # Its own `ministack` command binds every interface; this one binds loopback.
    return [str(python.parent / "hypercorn"), "ministack.app:app", "--bind", f"127.0.0.1:{port}"]


def environment(folder: Path, port: int, *, enforce_iam: bool) -> dict[str, str]:
    scratch = folder / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "POWERTOOLS_"))}
    return kept | {
        **CREDENTIALS,
        "AUTH": "true" if enforce_iam else "false",
        "GATEWAY_PORT": str(port),
        "IOT_MTLS_PORT": "0",  # its MQTT listener would bind every interface
        "MINISTACK_REGION": REGION,
        "S3_DATA_DIR": str(scratch / "s3"),
        "TMPDIR": str(scratch),
    }


def deployable(built: Path) -> Path:
    """Write beside a built template what MiniStack can deploy of it, and return its path.

    It has no CodeDeploy, no metric math, no composite alarm and no insight rule; the dashboard names those.
    """
    template = yaml.safe_load(built.read_text())
    del template["Globals"]["Function"]["DeploymentPreference"]
    template["Resources"] = {
        name: one
        for name, one in template["Resources"].items()
        if one["Type"] not in _UNKNOWN and "Metrics" not in one.get("Properties", {})
    }
    written = built.with_name("local.yaml")
    written.write_text(yaml.safe_dump(template, sort_keys=False))
    return written


def client(service: Any, url: str) -> Any:
    return boto3.Session("test", "test", region_name=REGION).client(service, endpoint_url=url)


def verify_sender(url: str) -> None:
    """Do what an operator does once on AWS: have the sender's address verified. Here nobody has to open a mail."""
    client("ses", url).verify_email_identity(EmailAddress=MAIL_SENDER)


def let_mails_out(url: str, stack_name: str) -> None:
    """Let the functions that may send mails do so: MiniStack asks for the right over ``*``, AWS over the identity."""
    iam: IAMClient = client("iam", url)
    stack = client("cloudformation", url).get_paginator("list_stack_resources").paginate(StackName=stack_name)
    roles = [
        one["PhysicalResourceId"]
        for page in stack
        for one in page["StackResourceSummaries"]
        if one["ResourceType"] == "AWS::IAM::Role"
    ]
    for role in roles:
        for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
            document: Any = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
            sending = [one for one in document["Statement"] if one["Action"] == "ses:SendEmail"]
            for statement in sending:
                statement["Resource"] = "*"
            if sending:
                iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


def tell_public_url(url: str, stack_name: str, logical_id: str, public_url: str) -> None:
    """Tell a function the address that callers use: MiniStack's events have no domain name, and it serves no other."""
    found = client("cloudformation", url).describe_stack_resource(StackName=stack_name, LogicalResourceId=logical_id)
    name = found["StackResourceDetail"]["PhysicalResourceId"]
    functions = client("lambda", url)
    variables = functions.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    if variables.get("PUBLIC_URL") != public_url:
        reconfigure(functions, name, Environment={"Variables": variables | {"PUBLIC_URL": public_url}})


def reconfigure(functions: Any, name: str, **configuration: Any) -> None:
    """Change a function's configuration and publish it, so that the next call is of a new environment that has it."""
    functions.update_function_configuration(FunctionName=name, **configuration)
    published = functions.publish_version(FunctionName=name)["Version"]
    functions.update_alias(FunctionName=name, Name="live", FunctionVersion=published)  # which callers reach


def mailbox(url: str) -> list[dict[str, Any]]:
    """Return every mail that was sent, none of which leaves: each with its ``To``, ``Subject`` and ``BodyText``."""
    answer = requests.get(f"{url}/_ministack/ses/messages", timeout=10)
    return [message for messages in answer.json()["messages"].values() for message in messages]


def lock_bucket(url: str, stack_name: str, logical_id: str) -> None:
    """Lock a bucket as the template says: MiniStack ignores what its CloudFormation is told of Object Lock."""
    template = client("cloudformation", url).get_template(StackName=stack_name, TemplateStage="Processed")[
        "TemplateBody"
    ]
    resources = (json.loads(template) if isinstance(template, str) else template)["Resources"]
    found = client("cloudformation", url).describe_stack_resource(StackName=stack_name, LogicalResourceId=logical_id)
    retention = dict(resources[logical_id]["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"])
    client("s3", url).put_object_lock_configuration(
        Bucket=found["StackResourceDetail"]["PhysicalResourceId"],
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": retention | {"Mode": LOCK_MODE}},
        },
    )


def back_up(url: str, tables: Iterable[str]) -> None:
    """Give tables their point-in-time recovery, as the template says: MiniStack's CloudFormation leaves it out."""
    dynamodb: DynamoDBClient = client("dynamodb", url)
    for table in tables:
        dynamodb.update_continuous_backups(
            TableName=table, PointInTimeRecoverySpecification={"PointInTimeRecoveryEnabled": True}
        )


def let_bytes_through(url: str, api_id: str) -> None:
    """Let answers leave as their bytes, as the template says: MiniStack does not read the ``~1`` of ``*~1*``."""
    lax = Config(parameter_validation=False)  # it takes the list whole, where AWS takes an operation for each type
    gateway = boto3.Session("test", "test", region_name=REGION).client("apigateway", endpoint_url=url, config=lax)
    operation: Any = {"op": "replace", "path": "/binaryMediaTypes", "value": ["*/*"]}
    gateway.update_rest_api(restApiId=api_id, patchOperations=[operation])


def put_gateway_responses(url: str, stack_name: str, api_id: str) -> None:
    """Give the gateway its own answers: MiniStack ignores those that SAM puts in the API's OpenAPI body."""
    template = client("cloudformation", url).get_template(StackName=stack_name, TemplateStage="Processed")[
        "TemplateBody"
    ]
    body = (json.loads(template) if isinstance(template, str) else template)["Resources"]["Api"]["Properties"]["Body"]
    gateway: APIGatewayClient = client("apigateway", url)
    for response_type, response in body["x-amazon-apigateway-gateway-responses"].items():
        gateway.put_gateway_response(
            restApiId=api_id,
            responseType=response_type,
            responseParameters=response.get("responseParameters", {}),
            responseTemplates=response.get("responseTemplates", {}),
            **({"statusCode": str(response["statusCode"])} if "statusCode" in response else {}),
        )
    gateway.create_deployment(restApiId=api_id, stageName=STAGE)  # they take effect with a deployment only
