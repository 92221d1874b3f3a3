"""The local stack of the end-to-end tests: the deployed template, with IAM enforced, in a folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import boto3
import requests
from click.testing import CliRunner

from ops.cli.main import main
from ops.deployment import Deployment
from sandbox import cloud
from sandbox.simulators import PEOPLE, caf, svair
from tests.support.function import new_environment
from tests.support.template import ROOT

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

FOLDER = ".local/e2e"


@dataclass
class Stack:
    """The running stack: its API, the operator's command, and its AWS clients."""

    description: dict[str, Any]

    @classmethod
    def running(cls) -> "Stack":
        return cls(json.loads((ROOT / FOLDER / "stack.json").read_text()))

    @property
    def api_url(self) -> str:
        return str(self.description["api_url"])

    @property
    def api_key(self) -> str:
        return str(self.description["api_key"])

    @property
    def deployment(self) -> Deployment:
        return Deployment.on_local_stack("api-particulier", ROOT / FOLDER / "stack.json")

    def get(self, route: str, key: str | None = None, **query: str) -> requests.Response:
        """Call the API as a town does, by default with the key that opens every field."""
        headers = {"X-API-Key": self.api_key if key is None else key}
        return requests.get(f"{self.api_url}{route}", query, headers=headers, timeout=60)

    def access_log(self, numbers: dict[str, str], status: int = 200) -> Any:
        """Read a citizen's access log as the citizen does, and return the JSON of the response."""
        response = requests.get(f"{self.api_url}/citoyen/acces", numbers, timeout=60)
        assert response.status_code == status, response.text
        return response.json()

    def run_cli(self, *command: str, expect: int = 0) -> Any:
        """Run the operator's command, and return its JSON, or its standard error if a failure is expected.

        It runs in this process with the caches of a new one, which saves a second each time.
        """
        new_environment()
        ran = CliRunner(catch_exceptions=False).invoke(
            main, [*command, "--local", "--json"], env={"LOCAL_STACK": FOLDER}
        )
        assert ran.exit_code == expect, ran.stderr
        return json.loads(ran.stdout) if expect == 0 else ran.stderr

    def issue_key(self, *scopes: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
        """Issue a key to a fictional town, and return the JSON of ``keys issue``."""
        issued: dict[str, Any] = self.run_cli(
            *("keys", "issue", "--organisation", "VILLE EXEMPLE", "--siret", "21000015400018"),
            *("--scopes", ",".join(scopes), *options),
        )
        return issued

    def issue_expired_key(self, *scopes: str) -> dict[str, Any]:
        """Issue a key and end it in the past: none is issued already expired."""
        issued = self.issue_key(*scopes)
        self.run_cli("keys", "prolong", issued["id"], "--expires", "2020-01-01")
        return issued

    def client(self, service: Any) -> Any:
        return cloud.client(service, str(self.description["cloud_url"]))

    def client_of_function(self, logical_id: str, service: Any) -> Any:
        """Return a client with the rights of a function's role, and no other."""
        role = self.function(logical_id)["Role"]
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName=logical_id)["Credentials"]
        session = boto3.Session(
            given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"], str(self.description["region"])
        )
        return session.client(service, endpoint_url=str(self.description["cloud_url"]))

    def function(self, logical_id: str) -> dict[str, Any]:
        """Return a function's configuration."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName="api-particulier", LogicalResourceId=logical_id
        )["StackResourceDetail"]["PhysicalResourceId"]
        configuration: dict[str, Any] = self.client("lambda").get_function_configuration(FunctionName=found)
        return configuration

    def new_environment(self, logical_id: str) -> None:
        """Publish the function again, so that its next call starts a new environment."""
        current = self.function(logical_id)
        cloud.reconfigure(self.client("lambda"), current["FunctionName"], Timeout=current["Timeout"])

    @contextmanager
    def with_variables(self, logical_id: str, **variables: str) -> Iterator[None]:
        """Add variables to the environment of a function within a ``with`` block."""
        current = self.function(logical_id)
        change = partial(cloud.reconfigure, self.client("lambda"), current["FunctionName"])
        change(Environment={"Variables": current["Environment"]["Variables"] | variables})
        try:
            yield
        finally:
            change(Environment={"Variables": current["Environment"]["Variables"]})

    def without_statement(self, logical_id: str, *sids: str) -> "WithoutStatement":
        """Remove statements from the role of a function within a ``with`` block."""
        return WithoutStatement(self.client("iam"), self.function(logical_id)["Role"].rsplit("/", 1)[-1], sids)


def by_towns(access_log: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of an access log without the operator's own readings."""
    return [access for access in access_log["acces"] if access["jeuDeDonnees"] != "operator"]


class WithoutStatement:
    """Remove statements, by ``Sid``, from one role within a ``with`` block; roles with the same policy keep them."""

    _REST = "without-statements"

    def __init__(self, iam: "IAMClient", role: str, sids: tuple[str, ...]) -> None:
        self._iam, self._role = iam, role
        policies = {**self._inline(), **self._managed()}
        self._policies = {name: policy for name, policy in policies.items() if _sids(policy) & set(sids)}
        assert set[str]().union(*map(_sids, self._policies.values())) >= set(sids)
        statements = [statement for policy in self._policies.values() for statement in policy["Statement"]]
        self._rest = [statement for statement in statements if statement["Sid"] not in sids]

    def __enter__(self) -> None:
        for name in self._policies:
            if name.startswith("arn:"):
                self._iam.detach_role_policy(RoleName=self._role, PolicyArn=name)
            else:
                self._iam.delete_role_policy(RoleName=self._role, PolicyName=name)
        if self._rest:  # a policy holds at least one
            self._put(self._REST, {"Version": "2012-10-17", "Statement": self._rest})

    def __exit__(self, *_: object) -> None:
        if self._rest:
            self._iam.delete_role_policy(RoleName=self._role, PolicyName=self._REST)
        for name, policy in self._policies.items():
            if name.startswith("arn:"):
                self._iam.attach_role_policy(RoleName=self._role, PolicyArn=name)
            else:
                self._put(name, policy)

    def _inline(self) -> dict[str, dict[str, Any]]:
        """Return the role's inline policies, by name."""
        names = self._iam.list_role_policies(RoleName=self._role)["PolicyNames"]
        return {
            name: _read(self._iam.get_role_policy(RoleName=self._role, PolicyName=name)["PolicyDocument"])
            for name in names
        }

    def _managed(self) -> dict[str, dict[str, Any]]:
        """Return the managed policies of the template that are attached to the role, by ARN."""
        attached = self._iam.list_attached_role_policies(RoleName=self._role)["AttachedPolicies"]
        policies = {}
        for arn in (policy["PolicyArn"] for policy in attached if ":iam::aws:" not in policy["PolicyArn"]):
            version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            response = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)
            policies[arn] = _read(response["PolicyVersion"]["Document"])
        return policies

    def _put(self, name: str, document: dict[str, Any]) -> None:
        self._iam.put_role_policy(RoleName=self._role, PolicyName=name, PolicyDocument=json.dumps(document))


def _sids(policy: dict[str, Any]) -> set[str]:
    return {str(statement.get("Sid")) for statement in policy["Statement"]}


def _read(document: Any) -> dict[str, Any]:
    """Return a policy that the API gives as JSON or as a dictionary."""
    policy: dict[str, Any] = json.loads(document) if isinstance(document, str) else dict(document)
    return policy


def run_sandbox(*verb: str, folder: str = FOLDER, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *verb],
        cwd=ROOT,
        env=os.environ | {"LOCAL_STACK": folder} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


class Run:
    """``make run`` with IAM enforced: it deploys the stack, plays the journey, and serves until Ctrl-C."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-m", "sandbox", "run"],
            cwd=ROOT,
            env=os.environ | {"LOCAL_STACK": FOLDER, "AUTH": "true"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.printed = ""
        """What it printed until it served."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.printed += line
            if "Ctrl-C" in line:
                break
        else:
            self.stop()
            msg = f"`make run` ended without serving: {self.printed}"
            raise AssertionError(msg)

    def stop(self) -> int:
        """Press Ctrl-C, and return the exit code once it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        self._process.communicate(timeout=60)
        return self._process.returncode


def update_stack(**environment: str) -> Stack:
    """Update the running stack to these variables of ``make up``, and to its own values of all others."""
    process = run_sandbox("up", **{"AUTH": "true"} | environment)
    assert process.returncode == 0, process.stderr
    return Stack.running()


CITIZEN = svair.people(PEOPLE / "avis.toml")[0]
NUMBERS = {"numeroFiscal": CITIZEN.numero_fiscal, "referenceAvis": CITIZEN.reference_avis}
RFR_ROUTE = "/v2/revenu-fiscal-reference"
FAMILY = caf.familles(PEOPLE / "familles.toml")[0]
FAMILY_NUMBERS = {"numeroAllocataire": FAMILY.numero_allocataire, "codePostal": FAMILY.code_postal}
