"""Build, start, deploy, update and stop the local stack."""

import fcntl
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any

import requests

from api_particulier.habilitations.known_scopes import known_scopes
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.providers import health
from ops.deployment import Deployment
from ops.functions import datasets
from ops.template import template as declaration
from release import website
from release.build import ROOT, build, run_tool
from sandbox import bridges, cloud, simulators
from sandbox.bridges import Deployed
from sandbox.processes import Processes
from sandbox.simulators import PEOPLE, SIMULATORS, Simulator, api_secu, caf, impot_particulier, svair
from sandbox.steps import step
from sandbox.town import demarches, portail

STACK_NAME = "api-particulier"
EVERY_SCOPE = tuple(sorted(known_scopes()))
_PASSED_THROUGH = {
    "DGFIP_SVAIR_URL": "DgfipSvairUrl",
    "DGFIP_PROVIDER": "DgfipProvider",
    "DGFIP_AVAILABLE_YEARS": "DgfipAvailableYears",
    "CAF_URL": "CafUrl",
    "BAN_URL": "BanUrl",
    "API_SECU_URL": "ApiSecuUrl",
    "PSEUDONYM_KEY_ARN": "PseudonymKeyArn",
    "FORMER_PSEUDONYM_KEY_ARNS": "FormerPseudonymKeyArns",
    "ENUMERATION_SLOWED_AT": "EnumerationSlowedAt",
    "ENUMERATION_SUSPENDED_AT": "EnumerationSuspendedAt",
    "ENUMERATION_SHARE": "EnumerationShare",
}
"""Environment variables that ``make up`` passes to the template, with the template's parameter."""
_TABLES = ("tokens", "audit", "stats", "habilitations")
_WARMED_AT_ONCE = 4
_TIMEOUT = 60.0
"""Seconds that a part of the stack may take to respond."""


class StackError(Exception):
    """The local stack could not be brought up; the message names the part."""


class StackAlreadyUpError(StackError):
    """Another command runs the stack; the message has its address."""


@dataclass(frozen=True)
class LocalStack:
    """A local stack, in a folder of its own; several can run side by side."""

    folder: Path

    @classmethod
    def here(cls) -> "LocalStack":
        """Return the stack of ``LOCAL_STACK`` (a folder), by default ``.local``."""
        return cls(ROOT / os.environ.get("LOCAL_STACK", ".local"))

    @property
    def processes(self) -> Processes:
        """Read the processes as recorded now: while `run` serves, `up` may start some again."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return Processes(self.folder)

    @property
    def file(self) -> Path:
        return self.folder / "stack.json"

    def description(self) -> dict[str, Any]:
        """Return the content of ``stack.json``; empty when the stack is not up."""
        return json.loads(self.file.read_text()) if self.file.exists() else {}

    def up(self, *, new: bool = False) -> dict[str, Any]:
        """Bring the stack up, or bring a running one up to date; return its description.

        Raise ``StackError`` or ``ToolError`` when it fails: a stack that was running still runs, a new one is removed.
        With ``new``, a stack that runs is left alone, and is a failure: another command is about to stop it.
        """
        with self._locked():
            was_running = self.file.exists()
            if new and was_running and self.processes.running("cloud"):
                msg = (
                    f"a stack of this checkout is up already, at {self.description()['api_url']}: use it, or stop it "
                    "with Ctrl-C where it runs or `make down`"
                )
                raise StackAlreadyUpError(msg)
            try:
                return self._up()
            except BaseException:
                if not was_running:
                    self._stop()
                raise

    def _up(self) -> dict[str, Any]:
        if unreadable := simulators.unreadable():
            raise StackError("\n".join(unreadable))
        with step("starting the embedded cloud and the simulated providers"):
            url = self._start_cloud()
            addresses = {
                simulator.parameter: self._start_simulator(name, simulator) for name, simulator in SIMULATORS.items()
            }
            self._await_url(f"{url}/_ministack/health", "cloud")
            for name in SIMULATORS:
                self._await_port(name)
        with step("building the site"):
            website.build()
        with step("building the functions and the layer"):
            template = bridges.deployable(build(self.folder / "build", architecture()))
        with step("deploying template.yaml"):
            self._deploy(template, url, addresses)
        description = self._describe(url)
        with step("waiting for the first response"):
            self._await_url(f"{description['api_url']}/ping", "cloud")
        with step("opening the town's portal"):
            description |= {"portal_url": self._start_portal(url, description)}
        with step("warming the functions"):
            _warm(description)
        self.file.touch(mode=0o600)
        self.file.write_text(json.dumps(description, indent=2) + "\n")
        return description

    def down(self) -> None:
        """Stop what ``up`` started, and remove its files."""
        if not self.folder.exists():
            return
        with self._locked():
            self._stop()

    def stop_simulator(self, name: str) -> None:
        """Stop a simulated provider, and leave everything else as it is."""
        with self._locked():
            self.processes.end(name)

    def start_simulator(self, name: str, fault: str | None = None) -> None:
        """Start a simulated provider again on its port, healthy or with a fault."""
        with self._locked():
            self.processes.end(name)
            port = self.processes.port(name)
            self.processes.start(name, simulators.command(name, port, self.folder, fault), port, os.environ)
            self._await_port(name)

    def _stop(self) -> None:
        self.processes.stop_all()
        self.file.unlink(missing_ok=True)
        self._discard_files()

    def _discard_files(self) -> None:
        """Remove the files of the embedded cloud, behind the command: each environment has a copy of the layer."""
        scratch = self.folder / "tmp"
        if scratch.exists():
            scratch.rename(self.folder / f"ended-{token_hex(4)}")
        if ended := [str(path) for path in self.folder.glob("ended-*")]:
            subprocess.Popen(
                ["/bin/rm", "-rf", *ended],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the stack's lock, once other commands on the same stack have ended."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _start_cloud(self) -> str:
        enforce_iam = os.environ.get("AUTH", "false").lower() == "true"
        running = self.processes.running("cloud")
        if running is None or self.description().get("iam_enforced", enforce_iam) != enforce_iam:
            if running:
                print(
                    "· AUTH has changed: the embedded cloud starts again, without its keys and its audit",
                    file=sys.stderr,
                )
            self.processes.stop("cloud")
            self.file.unlink(missing_ok=True)  # its key and its tables no longer exist
            port = self.processes.free_port()
            running = self.processes.start(
                "cloud",
                cloud.command(ROOT / ".local/tools/cloud/bin/python", port),
                port,
                cloud.environment(self.folder, port, enforce_iam=enforce_iam),
            )
        return f"http://127.0.0.1:{running.port}"

    def _start_simulator(self, name: str, simulator: Simulator) -> str:
        running = self.processes.running(name)
        if running is None:
            port = self.processes.free_port()
            running = self.processes.start(name, simulators.command(name, port, self.folder), port, os.environ)
        return simulator.address(running.port)

    def _deploy(self, template: Path, url: str, addresses: Mapping[str, str]) -> None:
        # The defaults too: else `sam deploy` keeps the value that the previous `make up` gave to a parameter.
        declared = declaration()["Parameters"].items()
        values = {name: str(parameter["Default"]) for name, parameter in declared if parameter.get("Default", "") != ""}
        values |= {"Environment": "local", "Architecture": architecture(), **addresses}
        values |= {"MailSender": cloud.MAIL_SENDER, "SealLockMode": cloud.LOCK_MODE}
        values |= {
            parameter: os.environ[variable]
            for variable, parameter in _PASSED_THROUGH.items()
            if os.environ.get(variable)
        }
        command = ["sam", "deploy", "--config-file", str(ROOT / "samconfig.toml"), "--config-env", "local"]
        command += ["--template-file", str(template), "--parameter-overrides"]
        command += [f"{parameter}={value}" for parameter, value in values.items()]
        run_tool(command, self.folder / "deploy.log", {"AWS_ENDPOINT_URL": url, **cloud.CREDENTIALS})
        outputs = self._deployment(url).outputs
        bridges.bridge(Deployed(url, STACK_NAME, outputs))
        self._fill_secrets(url, outputs)

    def _fill_secrets(self, url: str, outputs: Mapping[str, str]) -> None:
        """Give the template's secrets their values, as an operator does once on AWS."""
        secrets = cloud.client("secretsmanager", url)
        values = {
            "CafCertificate": simulators.certificates_of(self.folder).secret(),
            "ImpotParticulierClient": json.dumps(impot_particulier.CLIENT),
            "DatapassSecret": self._datapass_secret,
            "ProbeIdentities": json.dumps(_probe_identities()),
        }
        for output, value in values.items():
            secrets.put_secret_value(SecretId=outputs[output], SecretString=value)
        for benefit, secret_id in zip(health.BENEFITS, outputs["ApiSecuClients"].split(","), strict=True):
            secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps(api_secu.client(benefit)))

    @cached_property
    def _datapass_secret(self) -> str:
        """Return the key that signs DataPass events, kept as long as the stack runs."""
        return self.description().get("datapass_secret") or token_hex(32)

    def _deployment(self, url: str) -> Deployment:
        import boto3  # noqa: PLC0415 - `down` does not need it

        return Deployment(boto3.Session("test", "test", region_name=cloud.REGION), STACK_NAME, url)

    def _describe(self, url: str) -> dict[str, Any]:
        deployment = self._deployment(url)
        outputs = deployment.outputs
        deployed = Deployed(url, STACK_NAME, outputs)
        api_key = self.description().get("api_key")
        if api_key is None:
            now = datetime.now(UTC)
            demonstration = lifecycle.NewToken(
                id=lifecycle.NewToken.new_id(),
                organisation="Ville de démonstration",
                siret=demarches.SIRET,
                scopes=frozenset(EVERY_SCOPE),
                expires=now + lifecycle.LIFETIME,
            )
            token = lifecycle.issue(deployment.key_store, demonstration, now)
            api_key = lifecycle.draw(deployment.key_store, token, now)
        return {
            "api_url": f"{deployed.base_url(outputs['ApiId'])}/api",
            "v3_url": deployed.base_url(outputs["ApiV3Id"]),
            "api_key": api_key,
            "cloud_url": url,
            "region": cloud.REGION,
            "tables": {name: outputs[f"{name.capitalize()}Table"] for name in _TABLES},
            "datapass_secret": self._datapass_secret,
            "site_url": f"{deployed.base_url(outputs['ApiId'])}/",
            "iam_enforced": os.environ.get("AUTH", "false").lower() == "true",
        }

    def _start_portal(self, url: str, description: Mapping[str, Any]) -> str:
        """Start the town's portal, or start it again on its port."""
        running = self.processes.running("portail")
        port = running.port if running else self.processes.free_port()
        portal = portail.Portal(
            api_url=description["api_url"],
            v3_url=description["v3_url"],
            site_url=description["site_url"],
            keys=self._town_keys(self._deployment(url).key_store),
        )
        self.processes.stop("portail")
        environment = {**os.environ, "PORTAIL": portal.model_dump_json()}
        self.processes.start("portail", portail.command(port), port, environment)
        self._await_port("portail")
        return f"http://127.0.0.1:{port}/"

    @staticmethod
    def _town_keys(key_store: KeyStore) -> dict[str, str]:
        """Issue a key for each démarche, in place of the one before, which no place keeps."""
        now = datetime.now(UTC)
        purposes = {demarche.finalite for demarche in demarches.demarches()}
        for token in lifecycle.list_all(key_store):
            if token.is_active(now) and token.siret == demarches.SIRET and token.purpose in purposes:
                lifecycle.revoke(key_store, token)
        keys = {}
        for demarche in demarches.demarches():
            new = lifecycle.NewToken(
                id=lifecycle.NewToken.new_id(),
                organisation=demarches.ORGANISATION,
                siret=demarches.SIRET,
                scopes=demarche.portees,
                purpose=demarche.finalite,
                expires=now + lifecycle.LIFETIME,
            )
            keys[demarche.chemin] = lifecycle.draw(key_store, lifecycle.issue(key_store, new, now), now)
        return keys

    def _await_url(self, url: str, process: str) -> None:
        self._await(process, lambda: requests.get(url, timeout=_TIMEOUT).status_code == requests.codes.ok)

    def _await_port(self, process: str) -> None:
        def is_listening() -> bool:
            running = self.processes.running(process)
            if running is None:
                return False
            with socket.create_connection(("127.0.0.1", running.port), timeout=1):
                return True

        self._await(process, is_listening)

    def _await(self, process: str, is_ready: Callable[[], bool]) -> None:
        """Wait until a process is ready.

        Raise ``StackError`` when it ended, or takes too long.
        """
        until = time.monotonic() + _TIMEOUT
        while time.monotonic() < until and self.processes.running(process):
            try:
                if is_ready():
                    return
            except OSError:  # not yet
                time.sleep(0.05)
        msg = f"{process} does not answer; see {self.folder / process}.log"
        raise StackError(msg)


def _warm(description: Mapping[str, Any]) -> None:
    """Call each dataset about the first fictional citizen, and the site: a first call starts a process and is slow.

    The CAF's datasets refuse it before they read their certificate, which they would keep for a minute: a test of
    another value begins at once.
    """
    numbers = {name: value for name, value in _probe_identities().items() if name in {"numeroFiscal", "referenceAvis"}}
    routes = [min(dataset.routes, key=len) for dataset in datasets()]
    bases = {False: description["api_url"].removesuffix("/api"), True: description["v3_url"]}
    calls = [
        *((f"{bases[route.startswith('/v3/')]}{route}", numbers) for route in routes),
        *((f"{description['api_url']}{route}", {}) for route in ("/introspect", "/stats", "/status")),
        (description["site_url"], {}),
    ]

    def call(url: str, query: Mapping[str, str]) -> None:
        with suppress(requests.RequestException):  # a provider of the caller's own may be down
            requests.get(url, query, headers={"X-API-Key": description["api_key"]}, timeout=_TIMEOUT)

    with ThreadPoolExecutor(_WARMED_AT_ONCE) as pool:
        deque(pool.map(call, *zip(*calls, strict=True)), maxlen=0)


def _probe_identities() -> dict[str, str]:
    """Return the numbers of the first fictional citizen and family."""
    citizen, family = svair.people(PEOPLE / "avis.toml")[0], caf.familles(PEOPLE / "familles.toml")[0]
    return {
        "numeroFiscal": citizen.numero_fiscal,
        "referenceAvis": citizen.reference_avis,
        "numeroAllocataire": family.numero_allocataire,
        "codePostal": family.code_postal,
    }


def architecture() -> str:
    """Return this machine's, as Lambda names it."""
    return "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
