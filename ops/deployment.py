"""The deployed system that a command works on: on AWS, or the local stack."""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit.access_log import Accesses
from api_particulier.audit.bucket import Bucket
from api_particulier.audit.mac import Marks
from api_particulier.audit.reader import AuditReader
from api_particulier.dynamodb import Table
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_sqs import SQSClient


class DeploymentError(Exception):
    """The deployed system cannot be reached or used; the message says what to do."""


class Resource(NamedTuple):
    """A resource of a stack."""

    kind: str
    """Such as ``AWS::KMS::Key``."""
    id: str
    """What the service calls it."""


@dataclass(frozen=True)
class Deployment:
    """A CloudFormation stack of ``template.yaml``, with clients for its resources."""

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    local_api_url: str | None = None

    @classmethod
    def on_aws(cls, stack_name: str, region: str | None) -> Self:
        """Use a stack on AWS, with the credentials and the region of the environment."""
        # boto3 reads AWS_DEFAULT_REGION alone; other tools of AWS, and Lambda, say AWS_REGION.
        return cls(boto3.Session(region_name=region or environ.get("AWS_REGION")), stack_name)

    @classmethod
    def on_local_stack(cls, stack_name: str, file: Path | None = None) -> Self:
        """Use the stack that ``make up`` described in a file, by default that of ``LOCAL_STACK``.

        Raise ``DeploymentError`` when there is none.
        """
        file = file or Path(environ.get("LOCAL_STACK", ".local")) / "stack.json"
        try:
            stack = json.loads(file.read_text())
        except FileNotFoundError:
            msg = f"no local stack: {file} does not exist; run `make up` first"
            raise DeploymentError(msg) from None
        session = boto3.Session("test", "test", region_name=stack["region"])
        return cls(session, stack_name, stack["cloud_url"], stack["api_url"])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """Outputs of the stack, by name; raises ``DeploymentError`` when the stack cannot be read."""
        return {output["OutputKey"]: output["OutputValue"] for output in self.stack.get("Outputs", [])}

    @cached_property
    def stack(self) -> Mapping[str, Any]:
        """Description of the stack by CloudFormation; raises ``DeploymentError`` when it cannot be read."""
        try:
            stack: Mapping[str, Any] = self.client("cloudformation").describe_stacks(StackName=self.stack_name)[
                "Stacks"
            ][0]
        except (BotoCoreError, ClientError) as error:
            msg = f"the stack {self.stack_name} cannot be read: {error}"
            raise DeploymentError(msg) from None
        return stack

    @cached_property
    def resources(self) -> Mapping[str, Resource]:
        """Resources of the stack, by their name in the template."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=self.stack_name)
        return {
            resource["LogicalResourceId"]: Resource(resource["ResourceType"], resource.get("PhysicalResourceId", ""))
            for page in pages
            for resource in page["StackResourceSummaries"]
        }

    @property
    def is_local(self) -> bool:
        """Whether this is the local stack."""
        return self.endpoint_url is not None

    def using(self, **outputs: str) -> Self:
        """Return the same deployment with other outputs, for example the name of a restored table."""
        other = replace(self)
        vars(other)["outputs"] = self.outputs | outputs
        return other

    @cached_property
    def key_store(self) -> KeyStore:
        """Keys: those of API Gateway, and the tokens table."""
        return KeyStore(
            api=self.client("apigateway"),
            dynamodb=self.dynamodb,
            usage_plan=self.outputs["UsagePlanId"],
            tokens_table=self.outputs["TokensTable"],
            environment=self.outputs["Environment"],
            kms=self.kms,
            token_key_id=self.outputs["TokenKeyId"],
        )

    @cached_property
    def habilitations(self) -> HabilitationRepository:
        """Habilitations, with their history."""
        return HabilitationRepository(self.dynamodb, self.outputs["HabilitationsTable"])

    @cached_property
    def accesses(self) -> Accesses:
        """Audit records about a citizen."""
        key_ids = self.outputs["PseudonymKeyIds"].split(",")
        return Accesses(
            table=self.audit,
            bucket=self.bucket,
            kms=self.kms,
            key_ids=[key_id for key_id in key_ids if key_id],
            marks=Marks(self.kms, self.outputs["EntryKeyId"], self.outputs["OperatorKeyId"]),
        )

    @property
    def reader(self) -> AuditReader:
        """Audit records by token and day."""
        return AuditReader(self.audit, self.bucket)

    @property
    def bucket(self) -> Bucket:
        """The bucket of the audit, to be read."""
        return Bucket(self.s3, self.outputs["SealsBucket"])

    @property
    def audit(self) -> Table:
        """The audit table."""
        return Table(self.dynamodb, self.outputs["AuditTable"])

    @property
    def stats(self) -> Table:
        """The statistics table."""
        return Table(self.dynamodb, self.outputs["StatsTable"])

    @property
    def base_url(self) -> str:
        """The URL of the API without ``/api``."""
        return (self.local_api_url or self.outputs["ApiUrl"]).removesuffix("/api")

    @cached_property
    def operator(self) -> str:
        """The AWS identity that runs the command, as histories name it."""
        return str(self.client("sts").get_caller_identity()["Arn"])

    def secret_versions(self, secret_id: str) -> list[str]:
        """Return the values of a secret that are not empty: the current one, and the one before a change."""
        client, values = self.client("secretsmanager"), list[str]()
        for stage in ("AWSCURRENT", "AWSPREVIOUS"):
            with suppress(client.exceptions.ResourceNotFoundException):
                value = client.get_secret_value(SecretId=secret_id, VersionStage=stage)["SecretString"]
                values += [value.strip()] if value.strip() else []
        return values

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self.client("dynamodb")
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self.client("sqs")
        return client

    @cached_property
    def kms(self) -> "KMSClient":
        client: KMSClient = self.client("kms")
        return client

    @cached_property
    def s3(self) -> Any:
        return self.client("s3")

    def client(self, service: Any) -> Any:
        """Return a client of a service."""
        # Some commands read from 16 threads, of several objects at once: a connection for each.
        config = Config(max_pool_connections=64)
        return self.session.client(service, endpoint_url=self.endpoint_url, config=config)
