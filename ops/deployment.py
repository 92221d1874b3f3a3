"""The deployed system that a command works on: on AWS, or the local stack. The same code serves both."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.audit.access_log import AuditArchive
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys.store import KeyStore

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.service_resource import Table
    from mypy_boto3_kms import KMSClient
    from mypy_boto3_sqs import SQSClient

LOCAL_STACK_FILE = Path(environ.get("LOCAL_STACK", ".local")) / "stack.json"


class DeploymentError(Exception):
    """The deployed system cannot be reached, or is not what it should be; says what to do."""


@dataclass(frozen=True)
class Deployment:
    """A CloudFormation stack of ``template.yaml``, and the means to speak to what it made."""

    session: boto3.Session
    stack_name: str
    endpoint_url: str | None = None
    local_api_url: str | None = None

    @classmethod
    def on_aws(cls, stack_name: str, region: str | None) -> Self:
        """Use the credentials and the region of the environment, as every AWS tool does."""
        return cls(boto3.Session(region_name=region), stack_name)

    @classmethod
    def on_local_stack(cls, stack_name: str, file: Path = LOCAL_STACK_FILE) -> Self:
        """Use what ``make up`` wrote; ``DeploymentError`` when no stack is up."""
        try:
            stack = json.loads(file.read_text())
        except FileNotFoundError:
            msg = f"no local stack: {file} does not exist; run `make up` first"
            raise DeploymentError(msg) from None
        session = boto3.Session("test", "test", region_name=stack["region"])
        return cls(session, stack_name, stack["cloud_url"], stack["api_url"])

    @cached_property
    def outputs(self) -> dict[str, str]:
        """The stack's outputs, by name; ``DeploymentError`` when it cannot be read."""
        try:
            stacks = self._client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"]
        except (BotoCoreError, ClientError) as error:
            msg = f"the stack {self.stack_name} cannot be read: {error}"
            raise DeploymentError(msg) from None
        return {output["OutputKey"]: output["OutputValue"] for output in stacks[0].get("Outputs", [])}

    def using(self, **outputs: str) -> Self:
        """Return the same deployment with these in the place of its stack's outputs: a table that was restored."""
        other = replace(self)
        vars(other)["outputs"] = self.outputs | outputs
        return other

    @cached_property
    def gateway(self) -> KeyStore:
        """Where keys are made and kept."""
        return KeyStore(
            api=self._client("apigateway"),
            dynamodb=self._client("dynamodb"),
            usage_plan=self.outputs["UsagePlanId"],
            tokens_table=self.outputs["TokensTable"],
        )

    @cached_property
    def register(self) -> HabilitationRepository:
        """Where habilitations are kept."""
        return HabilitationRepository(self._client("dynamodb"), self.outputs["HabilitationsTable"])

    @cached_property
    def archive(self) -> AuditArchive:
        """Where what was asked about a citizen is found."""
        # Several threads ask at once: connections for each.
        config = Config(max_pool_connections=16)
        return AuditArchive(
            dynamodb=self.session.client("dynamodb", endpoint_url=self.endpoint_url, config=config),
            table=self.outputs["AuditTable"],
            kms=self.session.client("kms", endpoint_url=self.endpoint_url, config=config),
            key_ids=[one for one in self.outputs["PseudonymKeyIds"].split(",") if one],
        )

    @property
    def base_url(self) -> str:
        """What callers put before ``/api``."""
        return (self.local_api_url or self.outputs["ApiUrl"]).removesuffix("/api")

    @cached_property
    def operator(self) -> str:
        """Who runs the command, as AWS knows them; for the histories."""
        return str(self._client("sts").get_caller_identity()["Arn"])

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        client: SQSClient = self._client("sqs")
        return client

    @cached_property
    def kms(self) -> "KMSClient":
        client: KMSClient = self._client("kms")
        return client

    @cached_property
    def s3(self) -> Any:
        return self._client("s3")

    @cached_property
    def audit(self) -> "Table":
        return self._table("AuditTable")

    @cached_property
    def stats(self) -> "Table":
        return self._table("StatsTable")

    def _table(self, output: str) -> "Table":
        # Several threads may ask at once: connections for each.
        config = Config(max_pool_connections=16)
        resource = self.session.resource("dynamodb", endpoint_url=self.endpoint_url, config=config)
        return resource.Table(self.outputs[output])

    def _client(self, service: Any) -> Any:
        return self.session.client(service, endpoint_url=self.endpoint_url)
