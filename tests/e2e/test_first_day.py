"""The first day on the deployed stack: secrets without a value, as CloudFormation makes them, and what doctor finds."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from tests.support.stack import FAMILY_NUMBERS, FOLDER, NUMBERS, RFR_ROUTE, Stack
from tests.support.template import ROOT

ON_AWS_ALONE = {"quotas", "subscriptions", "stream", "gateway"}
EMPTIED = ("CafCertificate", "DatapassSecret")
CAF_FUNCTIONS = ("QuotientFamilial", "CompositionFamiliale", "AdresseCaf", "Ping", "ProviderProbes", "DatapassWebhook")


def doctor() -> tuple[int, list[dict[str, str]]]:
    """Return the exit code of the command, and its findings."""
    process = subprocess.run(
        [ROOT / ".venv/bin/api-particulier", "doctor", "--local", "--json"],
        cwd=ROOT,
        env=os.environ | {"LOCAL_STACK": FOLDER},
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(process.stdout)
    return process.returncode, report["findings"]


def wrong(findings: list[dict[str, str]]) -> list[str]:
    return [finding["text"] for finding in findings if finding["state"] == "wrong"]


@contextmanager
def emptied(stack: Stack) -> Iterator[None]:
    """Take the current value of two secrets away within a ``with`` block, and renew what may have read them."""
    secrets = stack.client("secretsmanager")
    current = {name: _current(secrets, stack.deployment.outputs[name]) for name in EMPTIED}
    for secret_id, version in current.values():
        secrets.update_secret_version_stage(SecretId=secret_id, VersionStage="AWSCURRENT", RemoveFromVersionId=version)
    for function in CAF_FUNCTIONS:
        stack.new_environment(function)
    try:
        yield
    finally:
        for secret_id, version in current.values():
            secrets.update_secret_version_stage(SecretId=secret_id, VersionStage="AWSCURRENT", MoveToVersionId=version)
        for function in CAF_FUNCTIONS:
            stack.new_environment(function)


def _current(secrets: Any, secret_id: str) -> tuple[str, str]:
    versions = secrets.list_secret_version_ids(SecretId=secret_id)["Versions"]
    (version,) = [each["VersionId"] for each in versions if "AWSCURRENT" in each.get("VersionStages", [])]
    return secret_id, version


def probe(stack: Stack) -> str | None:
    """Invoke the probes, and return their error."""
    name = stack.function("ProviderProbes")["FunctionName"]
    error: str | None = stack.client("lambda").invoke(FunctionName=name, Payload=b"{}").get("FunctionError")
    return error


def internal_errors(stack: Stack) -> int:
    group = stack.deployment.outputs["FunctionsLogGroup"]
    events = stack.client("logs").filter_log_events(logGroupName=group, limit=10_000)["events"]
    return sum('"internal_error"' in event["message"] for event in events)


def test_doctor_finds_nothing_wrong_in_the_local_stack_and_names_what_it_cannot_check(stack: Stack) -> None:
    code, findings = doctor()
    assert (code, wrong(findings)) == (0, [])
    assert {finding["check"] for finding in findings if finding["state"] == "unchecked"} == ON_AWS_ALONE
    assert stack.api_key not in json.dumps(findings)


def test_two_empty_secrets_are_a_state_that_rings_no_alarm_and_that_doctor_names(stack: Stack) -> None:
    before = internal_errors(stack)
    with emptied(stack):
        for route in ("/v2/quotient-familial", "/v2/composition-familiale", "/v2/adresse", "/caf/qf"):
            answer = stack.get(route, **FAMILY_NUMBERS)
            assert (answer.status_code, answer.json()["error"]) == (503, "not_configured")
            assert answer.headers["Retry-After"] == "300"
        assert stack.get(RFR_ROUTE, **NUMBERS).status_code == 200
        webhook = f"{stack.api_url}/datapass/v2/api_particulier/webhook"
        unsigned = requests.post(webhook, json={"test": True}, timeout=60)
        assert (unsigned.status_code, unsigned.json()["error"]) == (401, "access_denied")
        signed = requests.post(
            webhook, json={"test": True}, headers={"X-Hub-Signature-256": f"sha256={'0' * 64}"}, timeout=60
        )
        assert (signed.status_code, signed.json()["error"]) == (503, "not_configured")
        assert probe(stack) is None
        status = stack.get("/status").json()
        assert {name: each["etat"] for name, each in status["fournisseurs"].items()} == {
            "dgfip": "disponible",
            "caf": "non_configure",
            "dss": "disponible",
        }
        code, findings = doctor()
        assert code == 1
        named = wrong(findings)
        assert [any(text.startswith(f"{name} is empty") for text in named) for name in EMPTIED] == [True, True]
    assert internal_errors(stack) == before
    assert probe(stack) is None
    assert stack.get("/v2/quotient-familial", **FAMILY_NUMBERS).status_code == 200
