"""What a visitor without a key can send rings no alarm that takes a deployment back.

Each route without a key, and the recognition of keys, get what they must refuse, as API Gateway would pass it on. No
line of the log may be one that those alarms count, and no function may fail, which another counts. The last one counts
answers of the gateway to calls with a key alone.
"""

import copy
import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import boto3
import pytest

from tests.support.function import new_environment
from tests.support.template import ROOT, resources, template

Event = dict[str, Any]
FILTERS = resources("AWS::Logs::MetricFilter")
METRICS = {metric_filter["MetricTransformations"][0]["MetricName"]: metric_filter for metric_filter in FILTERS.values()}
LONG: Final = "9" * 100_000
ODD: Final = "\x00\ufffd\U0001f4a9' OR 1=1 --\r\nSet-Cookie: a=b"


def paths() -> list[Path]:
    """Return the events of the routes without a key, and that of the recognition of keys."""
    routes = [
        (name, event["Properties"])
        for name, function in resources("AWS::Serverless::Function").items()
        for event in function.get("Events", {}).values()
        if event["Type"] == "Api" and "ApiKeyRequired" in event["Properties"].get("Auth", {})
    ]
    keyless = {(route["Method"].upper(), route["Path"]) for _, route in routes}
    events = {path: json.loads(path.read_text()) for path in sorted((ROOT / "events").rglob("*.json"))}
    served = {route: [path for path, event in events.items() if is_served(event, *route)] for route in keyless}
    assert all(served.values())
    return sorted({path for found in served.values() for path in found}) + list(
        (ROOT / "events/key_authorizer").iterdir()
    )


def is_served(event: Event, method: str, path: str) -> bool:
    """Return whether an event is of a route; a HEAD is a GET without its body."""
    methods = {"ANY": {"GET", "POST"}, "HEAD": {"GET"}}.get(method, {method})
    return event.get("resource") == path and event.get("httpMethod") in methods


def replaced(field: str, value: Any) -> Callable[[Event], Event]:
    return lambda event: {**event, field: value}


def in_each(field: str, multiple: str, value: str) -> Callable[[Event], Event]:
    """Return a change of every value of a mapping of the event, where there is one, and of a new one in it."""

    def change(event: Event) -> Event:
        names = [*(event[field] or {}), "numeroFiscal", "referenceAvis", "X-API-Key", "Authorization", "lien"]
        single = dict.fromkeys(names, value)
        return {**event, field: single, multiple: {name: [given, given] for name, given in single.items()}}

    return change


def of_path(value: str) -> Callable[[Event], Event]:
    return lambda event: {**event, "pathParameters": dict.fromkeys(event.get("pathParameters") or {}, value)}


SENT: Final[dict[str, Callable[[Event], Event]]] = {
    "what is expected": lambda event: event,
    "no header": lambda event: {**event, "headers": None, "multiValueHeaders": None},
    "no query": lambda event: {**event, "queryStringParameters": None, "multiValueQueryStringParameters": None},
    "odd headers": in_each("headers", "multiValueHeaders", ODD),
    "long headers": in_each("headers", "multiValueHeaders", LONG[:10_000]),
    "odd query": in_each("queryStringParameters", "multiValueQueryStringParameters", ODD),
    "long query": in_each("queryStringParameters", "multiValueQueryStringParameters", LONG),
    "a way out": of_path("../../../../var/task/app.py"),
    "an odd path": of_path(ODD),
    "no body": replaced("body", None),
    "an empty body": replaced("body", ""),
    "no JSON": replaced("body", ODD),
    "a list": replaced("body", "[]"),
    "a number": replaced("body", "1e999"),
    "null": replaced("body", "null"),
    "a list of lists": replaced("body", "[" * 20_000),
    "a key that is none": replaced("body", '{"key": {"a": [null]}, "lien": 3, "event": [], "data": "x"}'),
    "a long body": replaced("body", json.dumps({"key": LONG * 10, "lien": LONG})),
    "a form": replaced("body", f"lien={ODD}&lien=&key=%ff%00"),
    "bytes": lambda event: {**event, "body": "//79/A==", "isBase64Encoded": True},
}


@pytest.fixture(autouse=True)
def _filled(caf_secret: str, site: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - set up by fixtures
    monkeypatch.setenv("CAF_URL", "https://127.0.0.1:9")
    secret = boto3.client("secretsmanager").create_secret(Name="datapass", SecretString="secret")
    monkeypatch.setenv("DATAPASS_SECRET_ID", secret["ARN"])
    queue = boto3.client("sqs").create_queue(QueueName="dead-letters")["QueueUrl"]
    monkeypatch.setenv("DATAPASS_DEAD_LETTERS", queue)


def watched_by_deployments() -> dict[str, list[str]]:
    """Return, for each alarm that takes a deployment back, the metrics that it watches."""
    alarms = resources("AWS::CloudWatch::Alarm")
    found = {}
    for reference in template()["Globals"]["Function"]["DeploymentPreference"]["Alarms"]:
        alarm = alarms[reference["Ref"]]
        queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
        found[reference["Ref"]] = [metric["MetricName"] for metric in queries or [alarm]]
    return found


COUNTED: Final = {
    event
    for metrics in watched_by_deployments().values()
    for metric in metrics
    for event in re.findall(r'\$\.event = "(\w+)"', METRICS[metric]["FilterPattern"])
}


@pytest.mark.parametrize("path", paths(), ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_a_visitor_sends_is_answered_and_counted_by_no_such_alarm(
    path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    handler = importlib.import_module(f"functions.{path.parent.name}.app").lambda_handler
    for sent, change in SENT.items():
        new_environment()
        answer = handler(change(copy.deepcopy(json.loads(path.read_text()))), None)
        assert answer.get("statusCode", 0) != 500, sent
        lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert not [line for line in lines if line.get("event") in COUNTED | {"library"}], sent


def test_each_alarm_counts_our_lines_failed_invocations_or_calls_with_a_key() -> None:
    assert {"internal_error", "audit_failed"} == COUNTED
    for metrics in watched_by_deployments().values():
        for metric in metrics:
            pattern = METRICS[metric]["FilterPattern"]
            if METRICS[metric]["LogGroupName"] == {"Ref": "GatewayLogGroup"}:
                assert '$.apiKeyId != "-"' in pattern.split("||")[0]
                assert pattern.count("||") == 0 or re.search(r'"-" && \(.+\) \}$', pattern)
            else:
                assert re.search(r'\$\.event = |\$\.type = "platform\.report" && \$\.record\.status', pattern)
