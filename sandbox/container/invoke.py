"""Run one function on an event, with what the local stack gave it: in Lambda's image by `sam`, or in this Python.

`sam` gives a function the variables that its template declares and no others, so a copy of the built template declares
the address of the embedded cloud too. The template and the code do not change.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from ops.deployment import Deployment
from ops.template import ROOT, resources
from sandbox import cloud
from sandbox.container import image
from sandbox.container.relay import relaying
from sandbox.stack import LocalStack

_ADDED: Final = ("AWS_ENDPOINT_URL", "LOCAL_RELAY")
_HEADER: Final = "X-API-Key"
_EXAMPLE_KEY: Final = "0" * 64
"""What the events of ``events/`` have in the place of a key."""
_LOOPBACK: Final = "127.0.0.1"
_DESKTOP: Final = "host.docker.internal"
"""The host, for a container of Docker Desktop: it leads to the host's loopback by itself."""
_CONFIG: Final = ["--config-file", str(ROOT / "samconfig.toml"), "--config-env", "container"]


def functions() -> list[str]:
    """Return the names of the template's functions."""
    return sorted(resources("AWS::Serverless::Function"))


def example_of(function: str) -> Path:
    """Return the event of ``events/`` that a function is tried with: that of v2, or the first."""
    folder = ROOT / "events" / Path(resources("AWS::Serverless::Function")[function]["CodeUri"]).name
    events = sorted(folder.glob("*.json"), key=lambda path: (path.stem != "v2", path.stem))
    if not events:
        msg = f"{folder} has no event: give one"
        raise FileNotFoundError(msg)
    return events[0]


def with_key(event: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an event with the stack's key, where it is of the gateway and has no key of its own."""
    if "httpMethod" not in event:
        return dict(event)
    headers = dict(event.get("headers") or {})
    own = next((value for name, value in headers.items() if name.lower() == _HEADER.lower()), _EXAMPLE_KEY)
    if own != _EXAMPLE_KEY:
        return dict(event)
    several = dict(event.get("multiValueHeaders") or {})
    return {**event, "headers": headers | {_HEADER: key}, "multiValueHeaders": several | {_HEADER: [key]}}


def declaring(built: str, names: Sequence[str]) -> str:
    """Return a built template that declares more variables for every function, without a value."""
    template = yaml.load(built, yaml.CSafeLoader)
    declared = template["Globals"]["Function"]["Environment"]["Variables"]
    for name in names:
        declared.setdefault(name, "")
    return yaml.dump(template, Dumper=yaml.CSafeDumper, sort_keys=False)


def variables(deployment: Deployment, added: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the variables of each deployed function, with those added to each: what ``--env-vars`` takes."""
    lambda_ = deployment.client("lambda")
    found = {}
    for name in functions():
        configuration = lambda_.get_function_configuration(FunctionName=deployment.resources[name].id)
        found[name] = configuration.get("Environment", {}).get("Variables", {}) | added
    return found


def in_this_python(function: str, event: Mapping[str, Any], environment: Mapping[str, str]) -> Any:
    """Call a function's handler, under the variables that it has in the stack; a ``breakpoint()`` stops it."""
    os.environ.update(environment)
    with redirect_stdout(sys.stderr):  # the function's log
        folder = Path(resources("AWS::Serverless::Function")[function]["CodeUri"]).name
        return import_module(f"functions.{folder}.app").lambda_handler(dict(event), None)


@dataclass(frozen=True)
class Bridge:
    """How a container reaches the local stack."""

    host: str
    """The host, as the container names it."""
    relays: bool
    """Whether that address is this machine's, and forwards nothing by itself."""

    @classmethod
    def of_engine(cls) -> "Bridge":
        """Return Docker's bridge, or the name of the host where the engine runs in a virtual machine."""
        for address in psutil.net_if_addrs().get(_interface(), []):
            if address.family == socket.AF_INET:
                return cls(address.address, relays=True)
        return cls(_DESKTOP, relays=False)

    def relayed(self, ports: Sequence[int]) -> str:
        """Return the relay that the container starts: an address, and ports."""
        return " ".join([self.host, *map(str, ports)])

    def open(self, ports: Sequence[int]) -> AbstractContextManager[None]:
        return relaying(self.host, _LOOPBACK, ports) if self.relays else nullcontext()


def _interface() -> str:
    """Return the network interface of Docker's bridge, which has the address: some engines do not give that one."""
    name = '{{index .Options "com.docker.network.bridge.name"}}'
    shown = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", name],  # noqa: S607 - where the machine has it
        capture_output=True,
        text=True,
        check=False,
    )
    return shown.stdout.strip()


@dataclass(frozen=True)
class Container:
    """`sam local` against a local stack that is up."""

    stack: LocalStack
    deployment: Deployment

    def invoke(self, function: str, event: Mapping[str, Any], arguments: Sequence[str]) -> int:
        """Run a function on an event, print its answer, and return `sam`'s exit code."""
        path = self.stack.folder / "invoke" / "event.json"
        path.parent.mkdir(exist_ok=True)
        _write(path, json.dumps(with_key(event, self.stack.description()["api_key"])))
        return self._run(["invoke", function, "--event", str(path), *arguments])

    def start_api(self, arguments: Sequence[str]) -> int:
        """Serve every route until Ctrl-C, each function in its container; keys are the functions' affair."""
        return self._run(["start-api", "--warm-containers", "LAZY", *arguments])

    def _run(self, command: Sequence[str]) -> int:
        ports, bridge = self.stack.processes.ports(), Bridge.of_engine()
        with self._prepared(bridge.relayed(ports)) as options, bridge.open(ports):
            return subprocess.run(
                ["sam", "local", *command, *_CONFIG, *options],  # noqa: S607 - the one that `make setup` installed
                env=self._environment(),
                check=False,
            ).returncode

    @contextmanager
    def _prepared(self, relay: str) -> Iterator[list[str]]:
        """Write the files that `sam` needs, and yield the options that name them."""
        built = self.stack.folder / "build"
        template = built / "invoke.yaml"  # beside the built one: paths of code are relative
        template.write_text(declaring((built / "template.yaml").read_text(), _ADDED))
        environment = self.stack.folder / "invoke" / "environment.json"
        environment.parent.mkdir(exist_ok=True)
        added = {"AWS_ENDPOINT_URL": self.stack.description()["cloud_url"], "LOCAL_RELAY": relay}
        _write(environment, json.dumps(variables(self.deployment, added), indent=2))
        given = {each["ParameterKey"]: each["ParameterValue"] for each in self.deployment.stack["Parameters"]}
        yield [
            "--template",
            str(template),
            "--env-vars",
            str(environment),
            "--parameter-overrides",
            *(f"{name}={value}" for name, value in given.items() if value),
        ]

    def _environment(self) -> dict[str, str]:
        """Return the variables of `sam`: those of functions would win over the files'."""
        declared = {name for each in variables(self.deployment, {}).values() for name in each} | set(_ADDED)
        kept = {name: value for name, value in os.environ.items() if name not in declared}
        return kept | cloud.CREDENTIALS | {"AWS_DEFAULT_REGION": cloud.REGION, "SAM_CLI_TELEMETRY": "0"}


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)  # it holds a key
    path.write_text(text)


def ensure_image(stack: LocalStack, architecture: str) -> None:
    """Build the image unless it is there; raise ``EngineMissing`` where no container engine answers."""
    image.check_engine()
    if not image.exists(architecture):
        image.build(stack.folder, architecture)
