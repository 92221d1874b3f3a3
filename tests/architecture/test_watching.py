"""What watches the system: an alarm or a widget of a metric that is never measured would stay silent for ever."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pytest
from moto.events.models import EventPattern

from api_particulier import observability
from api_particulier.observability import FIELDS, LogEvent
from api_particulier.providers import api_secu, ban, caf, impot_particulier, svair
from ops.cost import HOURS_OF_METRICS
from tests.support.template import ROOT, resources, template

ALARMS = resources("AWS::CloudWatch::Alarm")
COMPOSITE = resources("AWS::CloudWatch::CompositeAlarm")
FILTERS = resources("AWS::Logs::MetricFilter")
API = resources("AWS::Serverless::Api")["Api"]
APIS: Final = ("api-particulier-production", "api-particulier-v3-production")
PROVIDERS = {api_secu.PROVIDER, ban.PROVIDER, caf.PROVIDER, impot_particulier.PROVIDER, svair.PROVIDER}
ENVIRONMENT: Final = "production"
PER_MINUTE: Final = {
    "DatapassDeadLettersAlarm",
    "LinkReopenedAlarm",
    "KeyCompromisedAlarm",
    "AuditTamperingAlarm",
    "TokenTamperedAlarm",
}
"""What must be known at once, at its first occurrence."""
HEARTBEATS: Final = {
    *("ProbesSilentAlarm", "SealsSilentAlarm", "StatisticsSilentAlarm", "AuditArchiveAlarm", "AuditVerificationAlarm"),
}
"""The alarms that ring when their metric is missing: what it measures has stopped."""
PAGING: Final = {
    *("ServiceDownAlarm", "ErrorBudgetAlarm", "AuditUnavailableAlarm", "AuditStreamAlarm", "AuditTamperingAlarm"),
}
"""The alarms that wake an operator up."""


class Metric(NamedTuple):
    """A metric, with the names of its dimensions."""

    namespace: str
    name: str
    dimensions: frozenset[str]


# Of AWS, as its services document them.
AWS: Final = {
    Metric("AWS/ApiGateway", "5XXError", frozenset({"ApiName"})),
    Metric("AWS/ApiGateway", "Count", frozenset({"ApiName"})),
    Metric("AWS/ApiGateway", "Latency", frozenset({"ApiName"})),
    Metric("AWS/DynamoDB", "ReadThrottleEvents", frozenset({"TableName"})),
    Metric("AWS/DynamoDB", "WriteThrottleEvents", frozenset({"TableName"})),
    Metric("AWS/Lambda", "ConcurrentExecutions", frozenset()),
    Metric("AWS/Lambda", "Duration", frozenset({"FunctionName"})),
    Metric("AWS/Lambda", "Invocations", frozenset({"FunctionName"})),
    Metric("AWS/Lambda", "IteratorAge", frozenset({"FunctionName"})),
    Metric("AWS/Lambda", "Throttles", frozenset()),
    Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", frozenset({"QueueName"})),
    Metric("AWS/SQS", "ApproximateNumberOfMessagesVisible", frozenset({"QueueName"})),
    Metric("AWS/Usage", "ResourceCount", frozenset({"Class", "Resource", "Service", "Type"})),
}


def substituted(text: str) -> str:
    """Return a text of ``Fn::Sub`` with each name in the place of its value."""
    text = re.sub(r"\$\{(?!!)([^}]+)\}", lambda found: ENVIRONMENT if found[1] == "Environment" else found[1], text)
    return text.replace("${!", "${")


def resolved(value: Any) -> str:
    """Return a property's text: its own, or what ``Fn::Sub`` makes of it."""
    return substituted(value["Fn::Sub"]) if isinstance(value, dict) and "Fn::Sub" in value else str(value)


def emitted(capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    """Return what our code counts, as CloudWatch reads it from the lines that it writes."""
    observability.alert(LogEvent.LINK_REOPENED)
    observability.count_seal(45, 1)
    observability.count_counted(1)
    observability.report_tampering("changed")
    observability.count_archive_run()
    observability.count_verified(1)
    observability.measure_certificate("caf", 90)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {
        Metric(measured["Namespace"], metric["Name"], frozenset(dimensions))
        for line in lines
        for measured in line.get("_aws", {}).get("CloudWatchMetrics", [])
        for dimensions in measured["Dimensions"]
        for metric in measured["Metrics"]
    }


def filtered() -> set[Metric]:
    """Return what CloudWatch counts in our logs."""
    return {
        Metric(
            resolved(transformation["MetricNamespace"]),
            transformation["MetricName"],
            frozenset(dimension["Key"] for dimension in transformation.get("Dimensions", [])),
        )
        for metric_filter in FILTERS.values()
        for transformation in metric_filter["MetricTransformations"]
    }


@pytest.fixture
def known(capsys: pytest.CaptureFixture[str]) -> set[Metric]:
    return AWS | filtered() | emitted(capsys)


def watched(alarm: dict[str, Any]) -> Iterator[tuple[Metric, dict[str, Any]]]:
    """Yield each metric that an alarm is about, with the values of its dimensions."""
    of_expression = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in of_expression or [alarm]:
        dimensions = {dimension["Name"]: dimension["Value"] for dimension in metric.get("Dimensions", [])}
        yield Metric(resolved(metric["Namespace"]), metric["MetricName"], frozenset(dimensions)), dimensions


# ── Alarms ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_watches_what_is_measured(name: str, known: set[Metric]) -> None:
    for metric, values in watched(ALARMS[name]):
        assert metric in known
        assert values.get("alert") is None or values["alert"] in LogEvent
        assert values.get("provider") is None or values["provider"] in PROVIDERS
        assert values.get("service") in {None, observability.SERVICE, "Lambda"}


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_of_the_gateway_watches_every_api(name: str) -> None:
    watched_apis = {resolved(values["ApiName"]) for _, values in watched(ALARMS[name]) if "ApiName" in values}
    assert watched_apis in (set(), set(APIS))


@pytest.mark.parametrize("name", ALARMS | COMPOSITE)
def test_an_alarm_has_a_runbook(name: str) -> None:
    alarm = (ALARMS | COMPOSITE)[name]
    assert alarm["AlarmDescription"].endswith(f"see docs/runbooks.md#{name.lower()}")
    page = (ROOT / "docs/runbooks.md").read_text()
    section = re.search(rf"^### {name}\n\n(.+?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"docs/runbooks.md has no section '### {name}'"


def test_every_runbook_is_an_alarms() -> None:
    page = (ROOT / "docs/runbooks.md").read_text()
    assert set(re.findall(r"^### (\w+Alarm)$", page, re.MULTILINE)) == (ALARMS | COMPOSITE).keys()


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_mailed_and_silence_rings_it_where_a_heartbeat_is_expected(name: str) -> None:
    assert ALARMS[name]["AlarmActions"] == [{"Ref": "MailTopic"}]
    assert ALARMS[name]["TreatMissingData"] == ("breaching" if name in HEARTBEATS else "notBreaching")


@pytest.mark.parametrize("name", sorted(PER_MINUTE))
def test_what_must_be_known_at_once_rings_in_its_first_minute(name: str) -> None:
    assert (ALARMS[name]["Period"], ALARMS[name]["EvaluationPeriods"]) == (60, 1)


def test_one_alarm_pages_and_it_is_made_of_others() -> None:
    ((name, page),) = COMPOSITE.items()
    assert name == "PageAlarm"
    assert page["AlarmActions"] == [{"Ref": "PageTopic"}]
    named = set(re.findall(r'ALARM\("\$\{(\w+)\}"\)', page["AlarmRule"]["Fn::Sub"]))
    assert named == PAGING <= ALARMS.keys()


def test_the_alarms_that_roll_a_deployment_back_exist() -> None:
    preference = template()["Globals"]["Function"]["DeploymentPreference"]
    assert {alarm["Ref"] for alarm in preference["Alarms"]} <= ALARMS.keys()


def test_the_cost_model_knows_each_metric_that_the_functions_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert {metric.name for metric in emitted(capsys)} == HOURS_OF_METRICS.keys()


# ── What would blind us ──────────────────────────────────────────────────────────────────────────────────────────────

EVENT_RULES = resources("AWS::Events::Rule")
OUR_KEY: Final = "EntryKey.Arn"
OUR_FUNCTION: Final = (
    "arn:AWS::Partition:lambda:AWS::Region:AWS::AccountId:function:AWS::StackName-AuditSeals-1A2B:live"
)


def plain(value: Any) -> Any:
    """Return a property with names in the place of CloudFormation's functions."""
    if isinstance(value, list):
        return [plain(part) for part in value]
    if not isinstance(value, dict):
        return value
    if "Fn::GetAtt" in value:
        return ".".join(value["Fn::GetAtt"])
    if "Fn::Sub" in value:
        return resolved(value)
    return value["Ref"] if "Ref" in value else {name: plain(part) for name, part in value.items()}


def mails(service: str, call: str, **detail: Any) -> bool:
    """Return whether a call that CloudTrail has seen is mailed."""
    event: Any = {
        "source": f"aws.{service}",
        "detail-type": "AWS API Call via CloudTrail",
        "detail": {"eventSource": f"{service}.amazonaws.com", "eventName": call, **detail},
    }
    patterns = [EventPattern.load(json.dumps(plain(rule["EventPattern"]))) for rule in EVENT_RULES.values()]
    return any(pattern.matches_event(event) for pattern in patterns)


@pytest.mark.parametrize("call", ["ScheduleKeyDeletion", "DisableKey", "PutKeyPolicy"])
@pytest.mark.parametrize("key", resources("AWS::KMS::Key"))
def test_the_end_of_a_key_of_the_audit_is_mailed(key: str, call: str) -> None:
    assert mails("kms", call, resources={"ARN": f"{key}.Arn"})
    assert not mails("kms", call, resources={"ARN": "arn:aws:kms:eu-west-3:123456789012:key/of-others"})


@pytest.mark.parametrize(
    ("service", "call", "detail"),
    [
        ("cloudtrail", "StopLogging", {}),
        ("cloudtrail", "DeleteTrail", {}),
        ("logs", "DeleteLogGroup", {"requestParameters": {"logGroupName": "FunctionsLogGroup"}}),
        ("logs", "DeleteMetricFilter", {"requestParameters": {"logGroupName": "GatewayLogGroup"}}),
        ("lambda", "DeleteEventSourceMapping20150331", {"responseElements": {"functionArn": OUR_FUNCTION}}),
        (
            "lambda",
            "UpdateEventSourceMapping20150331",
            {"requestParameters": {"enabled": False}, "responseElements": {"functionArn": OUR_FUNCTION}},
        ),
        (
            "lambda",
            "PutFunctionConcurrency20171031",
            {"requestParameters": {"functionName": "AWS::StackName-AuditSeals", "reservedConcurrentExecutions": 0}},
        ),
        ("events", "DisableRule", {"requestParameters": {"name": "AWS::StackName-ProviderProbesEveryFiveMinutes-1A"}}),
        (
            "monitoring",
            "DeleteAlarms",
            {"requestParameters": {"alarmNames": ["other", "AWS::StackName-SealLagAlarm-1A"]}},
        ),
        ("monitoring", "DisableAlarmActions", {"requestParameters": {"alarmNames": ["AWS::StackName-PageAlarm-1A"]}}),
    ],
)
def test_a_call_that_would_blind_us_is_mailed(service: str, call: str, detail: dict[str, Any]) -> None:
    assert mails(service, call, **detail)


@pytest.mark.parametrize(
    ("service", "call", "detail"),
    [
        ("kms", "EnableKey", {"resources": {"ARN": OUR_KEY}}),
        ("lambda", "DeleteEventSourceMapping20150331", {"responseElements": {"functionArn": "arn:aws:lambda:other"}}),
        (
            "lambda",
            "UpdateEventSourceMapping20150331",
            {"requestParameters": {"enabled": True}, "responseElements": {"functionArn": OUR_FUNCTION}},
        ),
        (
            "lambda",
            "PutFunctionConcurrency20171031",
            {"requestParameters": {"functionName": "AWS::StackName-AuditSeals", "reservedConcurrentExecutions": 5}},
        ),
        ("monitoring", "DeleteAlarms", {"requestParameters": {"alarmNames": ["of-others"]}}),
        ("monitoring", "PutMetricAlarm", {"requestParameters": {"alarmName": "AWS::StackName-PageAlarm-1A"}}),
    ],
)
def test_other_calls_are_not_mailed(service: str, call: str, detail: dict[str, Any]) -> None:
    assert not mails(service, call, **detail)


@pytest.mark.parametrize("name", EVENT_RULES)
def test_a_rule_mails_what_it_sees_with_its_runbook_and_fits_eventbridge(name: str) -> None:
    (target,) = EVENT_RULES[name]["Targets"]
    assert target["Arn"] == {"Ref": "MailTopic"}
    assert "#what-would-blind-us" in target["InputTransformer"]["InputTemplate"]["Fn::Sub"]
    assert "### What would blind us" in (ROOT / "docs/runbooks.md").read_text()
    assert len(json.dumps(plain(EVENT_RULES[name]["EventPattern"]))) < 2048 - 12 * 40  # with names longer than these
    senders = {
        statement["Principal"]["Service"]
        for policy in resources("AWS::SNS::TopicPolicy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Resource"] == {"Ref": "MailTopic"}
    }
    assert senders == {"events.amazonaws.com", "cloudwatch.amazonaws.com"}


# ── What is counted in the logs ──────────────────────────────────────────────────────────────────────────────────────

OF_LAMBDA: Final = {"type", "record.status"}
"""What Lambda says of an invocation, in its JSON logs."""


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_reads_fields_that_the_logs_have(name: str) -> None:
    metric_filter = FILTERS[name]
    group = metric_filter["LogGroupName"]["Ref"]
    written = {
        "FunctionsLogGroup": FIELDS | {"event"} | OF_LAMBDA,
        "GatewayLogGroup": json.loads(API["AccessLogSetting"]["Format"].replace("\n", "")).keys(),
    }[group]
    (transformation,) = metric_filter["MetricTransformations"]
    values = [
        transformation["MetricValue"],
        *(dimension["Value"] for dimension in transformation.get("Dimensions", [])),
    ]
    named = set(re.findall(r"\$\.([\w.]+)", metric_filter["FilterPattern"]))
    assert named <= written
    # CloudWatch takes a value or a dimension from a field that the pattern names, and from no other.
    assert set(re.findall(r"\$\.([\w.]+)", " ".join(values))) <= named
    assert set(re.findall(r'\$\.event = "(\w+)"', metric_filter["FilterPattern"])) <= set(LogEvent)


GROUPS: Final = {
    "functions": FIELDS | {"event"},
    "gateway": frozenset(json.loads(API["AccessLogSetting"]["Format"].replace("\n", ""))),
}


def test_what_is_only_looked_at_is_a_question_to_the_logs_of_fields_that_they_have() -> None:
    queries = [widget["properties"]["query"] for widget in widgets() if widget["type"] == "log"]
    for query in queries:
        group = re.fullmatch(rf"SOURCE '/api-particulier/{ENVIRONMENT}/(\w+)'", query.split(" | ")[0])
        assert group
        values = set(re.findall(r"'([a-z_]+)'", query)) - {"THROTTLED"}
        assert values <= set(LogEvent)
        words = re.findall(r"\b[a-zA-Z_]\w*\b", re.sub(r"'[^']*'|as \w+|bin\(\w+\)", "", query))
        of_the_language = {"SOURCE", "filter", "stats", "count", "by", "concat", "sort", "desc", "limit", "in", "pct"}
        of_the_language |= {"and", "ispresent"}
        assert set(words) - of_the_language - {"refused"} <= GROUPS[group[1]]
    assert len(queries) == 5


# ── The dashboard ────────────────────────────────────────────────────────────────────────────────────────────────────


def widgets() -> list[dict[str, Any]]:
    body: dict[str, list[dict[str, Any]]] = json.loads(substituted((ROOT / "dashboard.json").read_text()))
    return body["widgets"]


def test_the_dashboard_names_resources_and_parameters_of_the_template() -> None:
    named = re.findall(r"\$\{([^!}][^}]*)\}", (ROOT / "dashboard.json").read_text())
    known = template()["Resources"].keys() | template()["Parameters"].keys() | {"AWS::Region", "AWS::StackName"}
    assert {name.split(".")[0] for name in named} <= known


def drawn() -> Iterator[tuple[Metric, dict[str, str]]]:
    """Yield each metric of the dashboard, named or searched for, with the values of its dimensions."""
    for widget in widgets():
        for row in widget["properties"].get("metrics", []):
            expression = row[0].get("expression", "") if isinstance(row[0], dict) else ""
            if not isinstance(row[0], dict):
                namespace, name, *rest = (part for part in row if isinstance(part, str))
                dimensions = dict(zip(rest[::2], rest[1::2], strict=True))
                yield Metric(namespace, name, frozenset(dimensions)), dimensions
            elif expression.startswith("SEARCH("):
                namespace, *names = expression.split("{")[1].split("}")[0].replace('"', "").split(",")
                given = dict(re.findall(r'(\w+)="([^"]+)"', expression))
                yield Metric(namespace, given.pop("MetricName"), frozenset(names)), given


def test_a_widget_draws_what_is_measured(known: set[Metric]) -> None:
    shown = list(drawn())
    assert len(shown) > 15
    for metric, values in shown:
        assert metric in known
        assert values.keys() <= metric.dimensions
        assert values.get("environment") in {None, ENVIRONMENT}


def test_what_is_measured_by_our_code_is_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    shown = {metric for metric, _ in drawn()} | {metric for alarm in ALARMS.values() for metric, _ in watched(alarm)}
    assert emitted(capsys) | filtered() <= shown


def test_the_dashboard_shows_every_alarm() -> None:
    (shown,) = (widget["properties"]["alarms"] for widget in widgets() if widget["type"] == "alarm")
    assert {alarm.removesuffix(".Arn") for alarm in shown} == (ALARMS | COMPOSITE).keys()


def test_the_dashboard_compares_the_availability_with_what_is_promised() -> None:
    marks = [
        line["value"]
        for widget in widgets()
        if widget["properties"].get("title", "").startswith("Availability")
        for line in widget["properties"].get("annotations", {}).get("horizontal", [])
    ]
    assert marks == [95]


def test_no_two_widgets_overlap() -> None:
    places = [
        (x, y)
        for widget in widgets()
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(places) == len(set(places))
    assert max(x for x, _ in places) < 24
