"""The two policies of operators (``ops/policies``) are valid, fit in a role, and are no wider than their subject.

Parliament checks each statement against AWS's list of actions, resources and conditions. It has an environment of its
own (``requirements/parliament.in``), which `make test` makes.
"""

import json
import subprocess
from fnmatch import fnmatchcase
from typing import Any

import pytest

from tests.support.template import ROOT, template

FOLDER = ROOT / "ops" / "policies"
POLICIES: dict[str, dict[str, Any]] = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
PARLIAMENT = ROOT / ".local/tools/parliament/bin/parliament"
SERVICES = {
    "ApiGateway": "apigateway",
    "ApiGatewayV2": "apigateway",
    "Budgets": "budgets",
    "CloudTrail": "cloudtrail",
    "CloudWatch": "cloudwatch",
    "DynamoDB": "dynamodb",
    "Events": "events",
    "IAM": "iam",
    "KMS": "kms",
    "Lambda": "lambda",
    "Logs": "logs",
    "S3": "s3",
    "SNS": "sns",
    "SQS": "sqs",
    "Scheduler": "scheduler",
    "SecretsManager": "secretsmanager",
    "Serverless": "lambda",
    "WAFv2": "wafv2",
}
"""For each family of resources of CloudFormation, the prefix of its actions."""
LARGEST = 10_240
"""Characters that the inline policies of a role have, blanks left out."""


def allowed(policy: str) -> list[tuple[str, str]]:
    """Return each action of a policy with each of its resources."""
    return [
        (action, resource)
        for statement in POLICIES[policy]["Statement"]
        for action in listed(statement["Action"])
        for resource in listed(statement["Resource"])
    ]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def allowing(policy: str, pattern: str) -> set[str]:
    return {resource for action, resource in allowed(policy) if fnmatchcase(action, pattern)}


def test_there_is_a_policy_to_deploy_and_one_to_operate() -> None:
    assert POLICIES.keys() == {"deploy", "operate"}


@pytest.mark.skipif(not PARLIAMENT.exists(), reason="parliament is not installed: `make test` installs it")
def test_every_statement_is_valid() -> None:
    checked = subprocess.run(
        [PARLIAMENT, "--directory", FOLDER, "--config", FOLDER / "parliament.yaml", "--json"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.stdout, checked.returncode) == ("", 0)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_fits_in_a_role(policy: str) -> None:
    assert len(json.dumps(POLICIES[policy], separators=(",", ":"))) <= LARGEST


@pytest.mark.parametrize("policy", POLICIES)
def test_a_statement_names_its_actions_and_allows(policy: str) -> None:
    for statement in POLICIES[policy]["Statement"]:
        assert statement["Effect"] == "Allow"
        assert statement["Sid"]
        assert not [action for action in listed(statement["Action"]) if "*" in action]


def test_whatever_the_template_makes_can_be_deployed() -> None:
    kinds = {resource["Type"].split("::")[1] for resource in template()["Resources"].values()}
    prefixes = {action.partition(":")[0] for action, _ in allowed("deploy")}
    assert {kind for kind in kinds if SERVICES[kind] not in prefixes} == set()


def test_to_deploy_is_not_to_read_data_keys_or_secrets() -> None:
    for reading in ("dynamodb:*Item", "dynamodb:Query", "dynamodb:Scan", "secretsmanager:GetSecretValue", "kms:Sign"):
        assert allowing("deploy", reading) == set()
    assert not [resource for resource in allowing("deploy", "apigateway:*") if "apikeys" in resource]
    assert allowing("deploy", "lambda:Invoke*") == set()
    assert allowing("deploy", "s3:DeleteObject") == allowing("deploy", "s3:PutObject")
    assert all("aws-sam-cli-managed" in resource for resource in allowing("deploy", "s3:DeleteObject"))


def test_to_operate_is_neither_to_change_the_system_nor_to_rewrite_the_audit() -> None:
    for change in (
        "iam:*",
        "s3:Delete*",
        "s3:Put?*Policy",
        "s3:PutLifecycle*",
        "kms:Schedule*",
        "lambda:*Code",
        "cloudformation:*ChangeSet",
        "*:Delete?able",
    ):
        assert allowing("operate", change) == set()
    audit = "arn:aws:dynamodb:eu-west-3:123456789012:table/api-particulier-AuditTable-1A2B3C"
    for change in ("dynamodb:DeleteItem", "dynamodb:UpdateItem", "dynamodb:BatchWriteItem"):
        assert not [resource for resource in allowing("operate", change) if fnmatchcase(audit, resource)]
    assert [resource for resource in allowing("operate", "dynamodb:PutItem") if fnmatchcase(audit, resource)]
