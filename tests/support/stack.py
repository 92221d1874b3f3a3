"""The local stack of the end-to-end tests: deployed by the tests themselves, IAM enforced, in a folder of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import requests

from ops.deployment import Deployment
from sandbox import cloud
from sandbox.simulators import PEOPLE, caf, svair
from tests.support.template import ROOT

if TYPE_CHECKING:
    from mypy_boto3_iam import IAMClient

FOLDER = ".local/e2e"


@dataclass
class Stack:
    """The running stack, as those who use it see it."""

    description: dict[str, Any]

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
        """Ask as a town does; with the key that opens everything unless another is said."""
        headers = {"X-API-Key": self.api_key if key is None else key}
        return requests.get(f"{self.api_url}{route}", query, headers=headers, timeout=60)

    def operate(self, *command: str, expect: int = 0) -> Any:
        """Run the operator's command against the stack and return its JSON; its standard error on failure."""
        done = subprocess.run(
            [ROOT / ".venv/bin/api-particulier", *command, "--local", "--json"],
            cwd=ROOT,
            env=os.environ | {"LOCAL_STACK": FOLDER},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout) if expect == 0 else done.stderr

    def issue(self, *scopes: str, options: tuple[str, ...] = ()) -> dict[str, Any]:
        made: dict[str, Any] = self.operate(
            *("keys", "issue", "--organisation", "VILLE EXEMPLE", "--siret", "21000015400018"),
            *("--scopes", ",".join(scopes), *options),
        )
        return made

    def client(self, service: Any) -> Any:
        return cloud.client(service, str(self.description["cloud_url"]))

    def function(self, logical_id: str) -> dict[str, Any]:
        """Return a function's configuration."""
        found = self.client("cloudformation").describe_stack_resource(
            StackName="api-particulier", LogicalResourceId=logical_id
        )["StackResourceDetail"]["PhysicalResourceId"]
        configuration: dict[str, Any] = self.client("lambda").get_function_configuration(FunctionName=found)
        return configuration

    def forget(self, logical_id: str) -> None:
        """Let the next call of a function be of a new environment: callers are moved to another version."""
        was = self.function(logical_id)
        cloud.reconfigure(self.client("lambda"), was["FunctionName"], Timeout=was["Timeout"])

    @contextmanager
    def told(self, logical_id: str, **variables: str) -> Iterator[None]:
        """Give new environments of a function these variables besides their own, within."""
        was = self.function(logical_id)
        change = partial(cloud.reconfigure, self.client("lambda"), was["FunctionName"])
        change(Environment={"Variables": was["Environment"]["Variables"] | variables})
        try:
            yield
        finally:
            change(Environment={"Variables": was["Environment"]["Variables"]})

    def without_statement(self, logical_id: str, *sids: str) -> "WithoutStatement":
        return WithoutStatement(self.client("iam"), self.function(logical_id)["Role"].rsplit("/", 1)[-1], sids)


class WithoutStatement:
    """Within, a function's role lacks statements; whoever shares the policy that says them keeps them."""

    _REST = "without-statements"

    def __init__(self, iam: "IAMClient", role: str, sids: tuple[str, ...]) -> None:
        self._iam, self._role = iam, role
        said = {name: one for name, one in {**self._own(), **self._shared()}.items() if _sids(one) & set(sids)}
        assert set[str]().union(*map(_sids, said.values())) >= set(sids)
        self._policies = said
        self._rest = [one for policy in said.values() for one in policy["Statement"] if one["Sid"] not in sids]

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

    def _own(self) -> dict[str, dict[str, Any]]:
        """Return the policies that are the role's alone, by name."""
        names = self._iam.list_role_policies(RoleName=self._role)["PolicyNames"]
        return {
            name: _read(self._iam.get_role_policy(RoleName=self._role, PolicyName=name)["PolicyDocument"])
            for name in names
        }

    def _shared(self) -> dict[str, dict[str, Any]]:
        """Return the template's policies that other roles have too, by ARN."""
        attached = self._iam.list_attached_role_policies(RoleName=self._role)["AttachedPolicies"]
        found = {}
        for arn in (one["PolicyArn"] for one in attached if ":iam::aws:" not in one["PolicyArn"]):
            version = self._iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
            told = self._iam.get_policy_version(PolicyArn=arn, VersionId=version)
            found[arn] = _read(told["PolicyVersion"]["Document"])
        return found

    def _put(self, name: str, document: dict[str, Any]) -> None:
        self._iam.put_role_policy(RoleName=self._role, PolicyName=name, PolicyDocument=json.dumps(document))


def _sids(policy: dict[str, Any]) -> set[str]:
    return {str(one.get("Sid")) for one in policy["Statement"]}


def _read(document: Any) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(document) if isinstance(document, str) else dict(document)
    return read


def sandbox(*verb: str, folder: str = FOLDER, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sandbox", *verb],
        cwd=ROOT,
        env=os.environ | {"LOCAL_STACK": folder} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def bring_up(**environment: str) -> Stack:
    done = sandbox("up", **{"AUTH": "true"} | environment)
    assert done.returncode == 0, done.stderr
    return Stack(json.loads((ROOT / FOLDER / "stack.json").read_text()))


CITIZEN = svair.people(PEOPLE / "avis.toml")[0]
NUMBERS = {"numeroFiscal": CITIZEN.numero_fiscal, "referenceAvis": CITIZEN.reference_avis}
RFR_ROUTE = "/v2/revenu-fiscal-reference"
FAMILY = caf.familles(PEOPLE / "familles.toml")[0]
FAMILY_NUMBERS = {"numeroAllocataire": FAMILY.numero_allocataire, "codePostal": FAMILY.code_postal}
