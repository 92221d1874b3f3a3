"""What `make invoke` gives to `sam local invoke`, and its refusal where no container engine answers.

A `docker` and a `sam` of the test stand on the PATH: the first answers as an engine does, the second records what it
was given. ``tests/e2e/test_invoke.py`` runs the real ones where an engine runs.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import boto3
import psutil
import pytest
import yaml
from click.testing import CliRunner, Result

from ops.deployment import Deployment, Resource
from sandbox.__main__ import main
from sandbox.container import invoke, relay
from sandbox.container.image import name_of
from sandbox.stack import architecture
from tests.support.template import ROOT, resources

KEY = "k" * 64
HEADERS = {"Accept": "application/json"}
BRIDGE = "127.0.0.2"
DOCKER = """#!/bin/sh
case "$1 $2" in
  "info ") exit $DOCKER_FAILS ;;
  "image inspect") echo relay ;;
  "network inspect") echo docker0 ;;
  *) exit 9 ;;
esac
"""
SAM = f"""#!{sys.executable}
import json, os, socket, sys
arguments = sys.argv[1:]
files = {{
    name: open(arguments[arguments.index(name) + 1]).read()
    for name in ("--event", "--env-vars", "--template") if name in arguments
}}
host, port = json.loads(files["--env-vars"])["Ping"]["LOCAL_RELAY"].split()
with socket.create_connection((host, int(port)), timeout=10) as connection:
    connection.sendall(b"question")
    answer = connection.recv(100).decode()
given = {{"arguments": arguments, "files": files, "environment": dict(os.environ), "relayed": answer}}
open(os.environ["GIVEN"], "w").write(json.dumps(given))
sys.exit(7)
"""


class Lambda:
    """The functions of the deployed stack, each with a variable of its own."""

    def get_function_configuration(self, **arguments: str) -> dict[str, Any]:
        return {"Environment": {"Variables": {"CAF_URL": f"https://127.0.0.1/{arguments['FunctionName']}"}}}


class PlayedDeployment(Deployment):
    def client(self, service: Any) -> Any:  # noqa: ARG002 - Lambda alone is asked
        return Lambda()


def echo(listening: socket.socket) -> None:
    with listening.accept()[0] as connection:
        connection.sendall(b"answer to " + connection.recv(100))


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield the folder of a stack that is up, whose one process answers on loopback, with both tools on the PATH."""
    folder, tools = tmp_path / "stack", tmp_path / "tools"
    (folder / "build").mkdir(parents=True)
    tools.mkdir()
    for name, script in (("docker", DOCKER), ("sam", SAM)):
        (tools / name).write_text(script)
        (tools / name).chmod(0o755)
    listening = socket.create_server(("127.0.0.1", 0))
    Thread(target=echo, args=[listening], daemon=True).start()
    process = {"pid": os.getpid(), "started": psutil.Process().create_time(), "port": listening.getsockname()[1]}
    (folder / "processes.json").write_text(json.dumps({"cloud": process}))
    described = {"api_key": KEY, "cloud_url": "http://127.0.0.1:20001", "region": "eu-west-3"}
    (folder / "stack.json").write_text(json.dumps(described))
    (folder / "build" / "template.yaml").write_text(BUILT)
    deployment = PlayedDeployment(boto3.Session(region_name="eu-west-3"), "api-particulier")
    parameters = {"CafUrl": "https://127.0.0.1:20002", "DomainName": ""}
    vars(deployment).update(
        resources={name: Resource("AWS::Lambda::Function", name) for name in invoke.functions()},
        stack={"Parameters": [{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()]},
    )
    monkeypatch.setattr(Deployment, "on_local_stack", lambda *_: deployment)
    bridge = psutil.net_if_addrs()["lo"][0]._replace(address=BRIDGE)
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: {"docker0": [bridge]})
    for name, value in {
        "LOCAL_STACK": str(folder),
        "PATH": f"{tools}:{os.environ['PATH']}",
        "DOCKER_FAILS": "0",
        "GIVEN": str(tmp_path / "given.json"),
        "CAF_URL": "https://of.the.shell",
    }.items():
        monkeypatch.setenv(name, value)
    with listening:
        yield folder


BUILT = yaml.safe_dump(
    {
        "Globals": {"Function": {"Environment": {"Variables": {"ENVIRONMENT": {"Ref": "Environment"}}}}},
        "Resources": {"Ping": {"Type": "AWS::Serverless::Function", "Properties": {"CodeUri": "Ping"}}},
    }
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def given(stack: Path) -> dict[str, Any]:
    """Return what `sam` was given."""
    found: dict[str, Any] = json.loads((stack.parent / "given.json").read_text())
    return found


# ── What `sam` is given ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.allow_hosts(["127.0.0.1", BRIDGE])
def test_a_function_is_run_on_its_example_with_the_stack_s_key_variables_and_relay(stack: Path) -> None:
    assert run("invoke", "RevenuFiscalReference", "--debug").exit_code == 7  # that of `sam`
    found = given(stack)
    assert found["arguments"][:3] == ["local", "invoke", "RevenuFiscalReference"]
    assert "--debug" in found["arguments"]
    assert found["arguments"][found["arguments"].index("--config-env") + 1] == "container"
    assert found["arguments"][-2:] == ["--parameter-overrides", "CafUrl=https://127.0.0.1:20002"]
    event = json.loads(found["files"]["--event"])
    assert (event["headers"]["X-API-Key"], event["multiValueHeaders"]["X-API-Key"]) == (KEY, [KEY])
    assert event["resource"] == "/api/v2/revenu-fiscal-reference"
    variables = json.loads(found["files"]["--env-vars"])
    assert variables.keys() == set(invoke.functions())
    assert variables["Ping"]["CAF_URL"] == "https://127.0.0.1/Ping"
    assert variables["Ping"]["AWS_ENDPOINT_URL"] == "http://127.0.0.1:20001"
    assert found["relayed"] == "answer to question"


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.allow_hosts(["127.0.0.1", BRIDGE])
def test_a_variable_of_the_shell_does_not_replace_one_of_the_stack(stack: Path) -> None:
    run("invoke", "Ping")
    environment = given(stack)["environment"]
    assert "CAF_URL" not in environment
    assert environment["AWS_ACCESS_KEY_ID"] == "test"


@pytest.mark.usefixtures("socket_enabled")
@pytest.mark.allow_hosts(["127.0.0.1", BRIDGE])
def test_every_route_is_served_with_the_same_files(stack: Path) -> None:
    assert run("start-api", "--", "--port", "3001").exit_code == 7
    found = given(stack)
    assert found["arguments"][:4] == ["local", "start-api", "--warm-containers", "LAZY"]
    assert "3001" in found["arguments"]
    assert "--event" not in found["files"]


def test_the_copy_of_the_template_declares_what_is_added_and_loses_nothing() -> None:
    declared = yaml.safe_load(invoke.declaring(BUILT, ["AWS_ENDPOINT_URL", "ENVIRONMENT"]))
    assert declared["Globals"]["Function"]["Environment"]["Variables"] == {
        "ENVIRONMENT": {"Ref": "Environment"},
        "AWS_ENDPOINT_URL": "",
    }
    assert declared["Resources"] == yaml.safe_load(BUILT)["Resources"]


def test_the_samconfig_pulls_no_image() -> None:
    import tomllib

    environment = tomllib.loads((ROOT / "samconfig.toml").read_text())["container"]["global"]["parameters"]
    assert environment == {"region": "eu-west-3", "skip_pull_image": True}


# ── Events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("own", [{}, {"X-API-Key": "0" * 64}])
def test_an_event_of_the_gateway_gets_the_key(own: dict[str, str]) -> None:
    event = {"httpMethod": "GET", "headers": HEADERS | own, "multiValueHeaders": {"Accept": ["application/json"]}}
    assert invoke.with_key(event, KEY) == {
        "httpMethod": "GET",
        "headers": HEADERS | {"X-API-Key": KEY},
        "multiValueHeaders": {"Accept": ["application/json"], "X-API-Key": [KEY]},
    }


@pytest.mark.parametrize("event", [{"httpMethod": "GET", "headers": {"x-api-key": "mine"}}, {"Records": []}])
def test_an_event_with_its_own_key_or_without_a_gateway_stays_as_it_is(event: dict[str, Any]) -> None:
    assert invoke.with_key(event, KEY) == event


def test_a_function_has_an_example_or_a_sentence() -> None:
    assert invoke.example_of("RevenuFiscalReference") == ROOT / "events/revenu_fiscal_reference/v2.json"
    assert invoke.example_of("QuotientFamilial") == ROOT / "events/quotient_familial/v2.json"
    for function, properties in resources("AWS::Serverless::Function").items():
        if (ROOT / "events" / Path(properties["CodeUri"]).name).exists():
            assert json.loads(invoke.example_of(function).read_text())
    with pytest.raises(FileNotFoundError, match="give one"):
        invoke.example_of("ProviderProbes")


@pytest.mark.usefixtures("stack")
def test_a_function_without_an_example_is_refused_with_a_sentence(tmp_path: Path) -> None:
    refused = run("invoke", "ProviderProbes")
    assert refused.exit_code == 2
    assert "has no event: give one" in refused.output
    assert not (tmp_path / "given.json").exists()


# ── Without an engine, or a stack ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", [["invoke", "RevenuFiscalReference"], ["start-api"], ["image"]])
@pytest.mark.parametrize("missing", ["no docker", "no engine"])
@pytest.mark.usefixtures("stack")
def test_without_a_container_engine_the_exit_code_is_3_and_a_sentence_has_what_to_install(
    command: list[str], missing: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if missing == "no docker":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setenv("DOCKER_FAILS", "1")
    refused = run(*command)
    assert refused.exit_code == 3
    assert "sudo apt install docker.io" in refused.stderr
    assert not (tmp_path / "given.json").exists()


def test_an_unknown_function_is_refused_with_the_names() -> None:
    refused = run("invoke", "RFR")
    assert refused.exit_code == 2
    assert "RevenuFiscalReference" in refused.output


# ── In this Python ───────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("stack")
def test_a_function_runs_in_this_python_without_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_FAILS", "1")
    monkeypatch.setattr(os, "environ", os.environ.copy())
    ran = run("invoke", "Ping", "--here", "--event", str(ROOT / "events/ping/ping.json"))
    assert json.loads(ran.stdout)["body"] == '"pong"'
    assert '"event":"answered"' in ran.stderr


# ── The image ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_image_has_the_name_that_sam_looks_for() -> None:
    assert name_of(architecture()) == f"public.ecr.aws/lambda/python:3.13-{architecture()}"


def test_the_relay_of_the_image_imports_nothing_of_the_project() -> None:
    assert "sandbox" not in {
        line.split()[1] for line in Path(relay.__file__).read_text().splitlines() if "import " in line
    }
