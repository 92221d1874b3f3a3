"""What is deployed: least privilege, retention, limits, and the gateway's own answers."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from api_particulier.api.response import RATE_LIMIT
from api_particulier.errors import AccessDenied, InternalError
from release.build import stamped
from tests.support.template import ROOT, resources, template

FUNCTIONS = resources("AWS::Serverless::Function")
SHARED = resources("AWS::IAM::ManagedPolicy")
STATEMENTS_OF_THE_STORY = {
    "ReadTokens": "dynamodb:GetItem",
    "WriteAudit": "dynamodb:PutItem",
    "NameCitizens": "kms:GenerateMac",
}
(API,) = resources("AWS::Serverless::Api").values()
GATEWAY_KEYS = [
    {"Fn::Sub": f"arn:${{AWS::Partition}}:apigateway:${{AWS::Region}}::{path}"}
    for path in ("/apikeys/*", "/usageplans/*/keys")
]
"""What is made while the system runs, or whose id the function cannot be told: the plan needs the API's functions."""
NEEDS_NO_RIGHT = {"Site", "Documentation"}
WITHOUT_A_KEY = {
    "/api/ping",
    "/api/impots/ping",
    "/api/caf/ping",
    "/api/datapass/v2/api_particulier/webhook",  # signed
    "/api/cles/remise",  # by a secret of its own
    "/api/keys/compromised",  # the key is what it is about
    "/api/citoyen/acces",  # the citizen's numbers are the proof
    "/api/stats",
    "/api/stats/details",
    "/api/open-api.yml",
    "/documentation-open-api.yaml",
    "/api/status",
    "/",  # the site
    "/{page}",
    "/guide/{page}",
    "/assets/{file+}",
}


def statements(function: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the statements of a function's role: its own and those that it shares, those under a condition too."""
    for policy in function.get("Policies", []):
        for statement in (SHARED[policy["Ref"]]["PolicyDocument"] if "Ref" in policy else policy)["Statement"]:
            if "Fn::If" in statement:
                yield from (one for one in statement["Fn::If"][1:] if "Sid" in one)
            else:
                yield statement


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_role_of_its_own_that_may_do_nothing_at_large(function: str) -> None:
    assert "Role" not in FUNCTIONS[function]
    found = list(statements(FUNCTIONS[function]))
    assert found or function in NEEDS_NO_RIGHT
    for statement in found:
        assert statement["Effect"] == "Allow"
        assert statement["Sid"].isalnum()
        for action in listed(statement["Action"]):
            assert "*" not in action
        for resource in listed(statement["Resource"]):
            assert not isinstance(resource, str), f"{statement['Sid']} does not name a resource of the template"
            # The objects of a bucket have no other name.
            named = str(resource).replace("Bucket.Arn}/seals/*", "")
            assert "*" not in named or resource in GATEWAY_KEYS, statement["Sid"]
    assert len({statement["Sid"] for statement in found}) == len(found)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_that_needs_a_key_may_read_tokens_and_write_the_audit_and_neither_more(function: str) -> None:
    actions = {statement["Sid"]: statement["Action"] for statement in statements(FUNCTIONS[function])}
    events = FUNCTIONS[function].get("Events", {}).values()
    if any(event["Type"] == "Api" and "Auth" not in event["Properties"] for event in events):
        assert actions["ReadTokens"] == "dynamodb:GetItem"
        assert actions["WriteAudit"] == "dynamodb:PutItem"
    assert {sid: actions[sid] for sid in actions.keys() & STATEMENTS_OF_THE_STORY} == {
        sid: action for sid, action in STATEMENTS_OF_THE_STORY.items() if sid in actions
    }
    audited = [one for one in statements(FUNCTIONS[function]) if "AuditTable" in str(one["Resource"])]
    for one in audited:  # what is written is never changed nor removed by who serves
        assert not {"dynamodb:UpdateItem", "dynamodb:DeleteItem"} & set(listed(one["Action"]))


@pytest.mark.parametrize("policy", SHARED)
def test_a_policy_is_shared_or_is_not_apart(policy: str) -> None:
    who = [name for name, one in FUNCTIONS.items() if {"Ref": policy} in one.get("Policies", [])]
    assert len(who) > 1
    assert not {"Roles", "Users", "Groups"} & SHARED[policy].keys()  # nobody but those who say so


@pytest.mark.parametrize(
    "function", [name for name, one in FUNCTIONS.items() if {"Ref": "DatasetPolicy"} in one.get("Policies", [])]
)
def test_a_dataset_watches_enumerations_and_may_not_suspend_by_itself(function: str) -> None:
    found = {statement["Sid"]: statement for statement in statements(FUNCTIONS[function])}
    assert found["WatchTokens"]["Action"] == "dynamodb:UpdateItem"
    assert found["WatchTokens"]["Resource"] == {"Fn::GetAtt": ["StatsTable", "Arn"]}
    assert found["WatchTokens"]["Condition"] == {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["watch#*"]}}
    assert found["ReportSuspicions"]["Action"] == "sqs:SendMessage"
    assert found["ReportSuspicions"]["Resource"] == {"Fn::GetAtt": ["Suspicions", "Arn"]}
    about_tokens = [one for one in found.values() if "TokensTable" in str(one["Resource"])]
    assert [one["Action"] for one in about_tokens] == ["dynamodb:GetItem"]


def test_only_pings_figures_pages_and_what_has_another_proof_need_no_key() -> None:
    assert API["Auth"] == {"ApiKeyRequired": True}
    open_routes = {
        event["Properties"]["Path"]
        for function in FUNCTIONS.values()
        for event in function.get("Events", {}).values()
        if event["Type"] == "Api" and event["Properties"].get("Auth") == {"ApiKeyRequired": False}
    }
    assert open_routes == WITHOUT_A_KEY


def test_where_somebody_could_try_values_all_share_a_limit() -> None:
    limited = {
        (one["ResourcePath"].replace("/~1", "/", 1).replace("~1", "/"), one["HttpMethod"])
        for one in API["MethodSettings"]
        if one["ThrottlingRateLimit"] <= 5 and one["ThrottlingBurstLimit"] <= 10
    }
    assert limited == {("/api/cles/remise", "POST"), ("/api/keys/compromised", "POST")}


def test_a_nations_citizens_share_a_limit_that_spares_the_providers() -> None:
    (one,) = (one for one in API["MethodSettings"] if one["ResourcePath"] == "/~1api~1citoyen~1acces")
    assert (one["ThrottlingRateLimit"], one["ThrottlingBurstLimit"]) == (20, 40)


@pytest.mark.parametrize("name", resources("AWS::SQS::Queue"))
def test_what_is_set_aside_is_encrypted_and_kept_for_two_weeks(name: str) -> None:
    queue = resources("AWS::SQS::Queue")[name]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600


def test_every_key_gets_20_calls_a_second() -> None:
    (plan,) = resources("AWS::ApiGateway::UsagePlan").values()
    assert plan["Throttle"] == {"RateLimit": 20, "BurstLimit": 20}
    assert plan["ApiStages"] == [{"ApiId": {"Ref": "Api"}, "Stage": API["StageName"]}]
    assert RATE_LIMIT == 20


def test_logs_are_kept_for_a_time_that_is_said_and_hold_no_address_of_the_caller_nor_query() -> None:
    groups = resources("AWS::Logs::LogGroup")
    assert groups
    assert all(group["RetentionInDays"] == {"Ref": "LogRetentionDays"} for group in groups.values())
    everywhere = template()["Globals"]["Function"]
    assert everywhere["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": "FunctionsLogGroup"}}
    assert not [name for name, function in FUNCTIONS.items() if "LoggingConfig" in function]
    logged = API["AccessLogSetting"]
    assert logged["DestinationArn"] == {"Fn::GetAtt": ["GatewayLogGroup", "Arn"]}
    fields = set(json.loads(logged["Format"].replace("\n", "")).values())
    assert "$context.requestId" in fields
    for said in ("path", "identity.sourceIp", "identity.apiKey", "identity.userAgent", "requestOverride", "authorizer"):
        assert f"$context.{said}" not in fields
    assert all(field.startswith("$context.") for field in fields)


def test_callers_are_moved_to_a_new_version_by_steps_and_back_when_an_alarm_rings() -> None:
    everywhere = template()["Globals"]["Function"]
    assert everywhere["AutoPublishAlias"] == "live"
    alarms = {one["Ref"] for one in everywhere["DeploymentPreference"]["Alarms"]}
    assert {"InternalErrorsAlarm", "FunctionFailuresAlarm", "ServiceDownAlarm"} <= alarms
    assert template()["Parameters"]["DeploymentType"]["Default"].startswith("Canary")
    assert not [name for name, one in FUNCTIONS.items() if "AutoPublishAlias" in one or "DeploymentPreference" in one]


def test_every_build_publishes_a_version_of_every_function() -> None:
    """SAM sees a change of a function's own properties: neither the layer's content nor a parameter's value is one."""
    everywhere = template()["Globals"]["Function"]
    assert everywhere["AutoPublishAliasAllProperties"] is True
    built = [stamped((ROOT / "template.yaml").read_text(), datetime(2026, 11, day, tzinfo=UTC)) for day in (1, 2)]
    assert built[0] != built[1]
    assert [one.count("RELEASE: '2026-11-") for one in built] == [1, 1]
    assert "RELEASE" in everywhere["Environment"]["Variables"]
    assert not [name for name, one in FUNCTIONS.items() if "RELEASE" in one.get("Environment", {}).get("Variables", {})]


def test_a_function_gives_up_before_the_gateway_does_and_is_traced() -> None:
    everywhere = template()["Globals"]["Function"]
    assert everywhere["Timeout"] < 29
    assert everywhere["Runtime"] == "python3.13"
    assert everywhere["Tracing"] == "Active"
    assert API["TracingEnabled"] is False  # the gateway's segments hold the address with its query
    for function in FUNCTIONS.values():
        behind_the_gateway = any(event["Type"] == "Api" for event in function.get("Events", {}).values())
        assert function.get("Timeout", 0) < (29 if behind_the_gateway else 900)


@pytest.mark.parametrize("table", resources("AWS::DynamoDB::Table"))
def test_a_table_outlives_a_mistake(table: str) -> None:
    resource = template()["Resources"][table]
    assert resource["DeletionPolicy"] == resource["UpdateReplacePolicy"] == "Retain"
    properties = resource["Properties"]
    assert properties["DeletionProtectionEnabled"] is True
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert properties["SSESpecification"] == {"SSEEnabled": True}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"


def test_no_secret_is_in_the_template() -> None:
    for name, secret in resources("AWS::SecretsManager::Secret").items():
        assert "SecretString" not in secret, name
    for name, parameter in template()["Parameters"].items():
        assert not any(word in name.lower() for word in ("password", "secret", "token", "apikey")), name
        assert parameter["Description"], name


# ── The gateway's own answers ────────────────────────────────────────────────────────────────────────────────────────

GATEWAY: dict[str, dict[str, Any]] = API["GatewayResponses"]


def body(kind: str) -> dict[str, object]:
    assert GATEWAY[kind]["ResponseTemplates"].keys() == {"application/json"}
    parsed: dict[str, object] = json.loads(GATEWAY[kind]["ResponseTemplates"]["application/json"])
    return parsed


@pytest.mark.parametrize("kind", GATEWAY)
def test_the_gateway_answers_in_the_body_of_every_error_with_the_requests_id(kind: str) -> None:
    assert list(body(kind)) == ["error", "reason", "message"]
    assert all(isinstance(value, str) and value for value in body(kind).values())
    headers = GATEWAY[kind]["ResponseParameters"]["Headers"]
    assert headers["X-Request-Id"] == "context.requestId"
    assert "$context" not in GATEWAY[kind]["ResponseTemplates"]["application/json"]  # it would repeat the caller


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("INVALID_API_KEY", 401, "access_denied"),
        ("MISSING_AUTHENTICATION_TOKEN", 404, "not_found"),
        ("THROTTLED", 429, "rate_limited"),
        ("INTEGRATION_TIMEOUT", 504, "network_error"),
        ("DEFAULT_4XX", None, "bad_request"),
        ("DEFAULT_5XX", None, "internal_server_error"),
    ],
)
def test_each_case_of_the_gateway_has_its_status_and_code(kind: str, status: int | None, error: str) -> None:
    assert GATEWAY[kind].get("StatusCode") == status
    assert body(kind)["error"] == error


def test_the_gateway_says_what_a_function_says() -> None:
    assert body("INVALID_API_KEY") == AccessDenied().body
    assert body("DEFAULT_5XX") == InternalError().body


def test_a_throttled_caller_is_told_when_to_come_back() -> None:
    headers = GATEWAY["THROTTLED"]["ResponseParameters"]["Headers"]
    assert headers["Retry-After"] == "'1'"
    assert headers["RateLimit-Limit"] == f"'{RATE_LIMIT}'"
