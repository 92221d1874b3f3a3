"""What is deployed: what each role may do, what outlives a mistake, limits, and the gateway's own answers.

These are rules over all resources, and tables of what protects data: a right or a limit that is not in its table is
refused, in any resource.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from api_particulier.api.response import RATE_LIMIT
from api_particulier.audit import archive
from api_particulier.audit.record import RETENTION
from api_particulier.errors import AccessDenied, InternalError
from api_particulier.keys.store import KEY_TAG
from release.build import deployable, stamped, with_dashboard
from tests.support.iam import listed, statements
from tests.support.template import ROOT, resources, template

FUNCTIONS = resources("AWS::Serverless::Function")
SHARED = resources("AWS::IAM::ManagedPolicy")
APIS = resources("AWS::Serverless::Api")
API, API_V3 = APIS["Api"], APIS["ApiV3"]
GLOBALS = template()["Globals"]["Function"]
DATASETS = frozenset(
    name for name, function in FUNCTIONS.items() if {"Ref": "DatasetPolicy"} in function.get("Policies", [])
)
DGFIP = frozenset(
    name for name, function in FUNCTIONS.items() if {"Ref": "DgfipPolicy"} in function.get("Policies", [])
)
CAF = frozenset(name for name, function in FUNCTIONS.items() if {"Ref": "CafPolicy"} in function.get("Policies", []))
DSS = frozenset(name for name in DATASETS if name.startswith("Dss"))
AUDITED = DATASETS | {
    *("Introspect", "CitizenAccess", "TokenSuspension", "AuditHeartbeat"),
    *("DatapassWebhook", "KeyLink", "KeyReport"),
}

# ── Rights ───────────────────────────────────────────────────────────────────────────────────────────────────────────

RIGHTS: Final[dict[str, dict[str, set[str] | frozenset[str]]]] = {
    "AuditTable": {
        "dynamodb:PutItem": AUDITED,
        "dynamodb:Query /index/by_citizen": {"CitizenAccess"},
        "dynamodb:BatchGetItem": {"CitizenAccess"},
    },
    "TokensTable": {
        "dynamodb:GetItem": DATASETS | {"Introspect", "TokenSuspension", "DatapassWebhook", "KeyLink", "KeyReport"},
        "dynamodb:GetItem key_hash usage_key": {"KeyAuthorizer"},
        "dynamodb:Query /index/by_id": {"TokenSuspension", "DatapassWebhook", "KeyLink"},
        "dynamodb:Query /index/by_habilitation": {"DatapassWebhook"},
        "dynamodb:Scan": {"KeyExpiryReminders"},
        "dynamodb:UpdateItem": {"DatapassWebhook"},
        "dynamodb:UpdateItem key_hash state": {"TokenSuspension"},
        "dynamodb:UpdateItem key_hash state mac drawn": {"KeyReport"},
        "dynamodb:UpdateItem key_hash state expires notified notified_end notifying_until": {"KeyExpiryReminders"},
        "dynamodb:PutItem": {"DatapassWebhook", "KeyLink"},
        "dynamodb:DeleteItem": {"DatapassWebhook", "KeyLink"},
    },
    "HabilitationsTable": {
        "dynamodb:GetItem": {"DatapassWebhook", "KeyExpiryReminders", "TokenSuspension"},
        "dynamodb:GetItem link#*": {"KeyLink"},
        "dynamodb:UpdateItem": {"DatapassWebhook", "KeyExpiryReminders"},
        "dynamodb:Scan": {"KeyExpiryReminders"},
        "dynamodb:Query": {"KeyExpiryReminders"},
        "dynamodb:UpdateItem link#*": {"KeyLink"},
        "dynamodb:PutItem": {"DatapassWebhook", "TokenSuspension", "KeyLink", "KeyReport"},
        "dynamodb:DeleteItem": {"DatapassWebhook", "TokenSuspension"},
        "dynamodb:ConditionCheckItem": {"DatapassWebhook"},
    },
    "StatsTable": {
        "dynamodb:UpdateItem watch#*": DATASETS,
        "dynamodb:GetItem provider#dgfip": DGFIP,
        "dynamodb:UpdateItem provider#dgfip": DGFIP,
        "dynamodb:GetItem provider#caf": CAF,
        "dynamodb:UpdateItem provider#caf": CAF,
        "dynamodb:GetItem provider#ban": {"AdresseFiscale"},
        "dynamodb:UpdateItem provider#ban": {"AdresseFiscale"},
        "dynamodb:GetItem provider#dss provider#dss#*": DSS | {"Ping", "ProviderProbes"},
        "dynamodb:UpdateItem provider#dss provider#dss#*": DSS | {"Ping", "ProviderProbes"},
        "dynamodb:GetItem provider#dgfip provider#caf provider#dss provider#dss#*": {"Status"},
        "dynamodb:Query probes#dgfip probes#caf probes#dss": {"Status"},
        "dynamodb:UpdateItem probes#dgfip probes#caf probes#dss": {"ProviderProbes"},
        "dynamodb:UpdateItem limit#*": {"CitizenAccess", "KeyLink", "KeyReport"},
        "dynamodb:Query counters": {"Stats"},
        "dynamodb:GetItem seal counters": {"AuditSeals"},
        "dynamodb:UpdateItem seal counters": {"AuditSeals"},
    },
    "SealsBucket": {
        "s3:ListBucket": {"AuditSeals", "AuditArchive", "AuditVerification", "CitizenAccess"},
        "s3:ListBucketVersions": {"AuditSeals", "AuditVerification"},
        "s3:GetObject /seals/*": {"AuditSeals", "AuditArchive", "AuditVerification"},
        "s3:PutObject /seals/*": {"AuditSeals"},
        "s3:GetObjectVersion /seals/*": {"AuditSeals"},
        "s3:PutObject /records/*": {"AuditSeals"},
        "s3:PutObjectRetention /records/*": {"AuditSeals"},
        "s3:GetObject /records/*": {"AuditArchive", "AuditVerification"},
        "s3:GetObject /archive/*": {"AuditArchive", "AuditVerification"},
        "s3:GetObject /checkpoints/*": {"AuditSeals", "AuditVerification"},
        "s3:PutObject /checkpoints/*": {"AuditSeals"},
        "s3:PutObject /checkpoints/*.tsr": {"AuditVerification"},
        "s3:GetObject /usage/*": {"AuditArchive", "AuditVerification"},
        "s3:GetObject /access/*": {"AuditArchive", "CitizenAccess"},
        **{
            f"s3:{action} /{folder}/*": {"AuditArchive"}
            for action in ("PutObject", "PutObjectRetention")
            for folder in ("archive", "usage", "access")
        },
    },
    "SealKey": {"kms:Verify": {"AuditVerification"}},  # and in its own policy what AuditSeals does
    "TokenKey": {"kms:VerifyMac": DATASETS | {"Introspect"}, "kms:GenerateMac": {"DatapassWebhook", "KeyLink"}},
    "EntryKey": {"kms:GenerateMac": AUDITED | {"AuditSeals"}},
    "OperatorKey": {"kms:GenerateMac": {"AuditSeals", "CitizenAccess"}},
    "PseudonymKey": {"kms:GenerateMac": DATASETS | {"CitizenAccess", "KeyLink", "KeyReport"}},
    "PseudonymKeyArn": {"kms:GenerateMac": DATASETS | {"CitizenAccess", "KeyLink", "KeyReport"}},
    "FormerPseudonymKeyArns": {"kms:GenerateMac": {"CitizenAccess"}},
    "CafCertificate": {"secretsmanager:GetSecretValue": CAF},
    "ImpotParticulierClient": {"secretsmanager:GetSecretValue": DGFIP},
    **{name.replace("Dss", "ApiSecu"): {"secretsmanager:GetSecretValue": {name}} for name in DSS},
    "ApiSecuQuotientFamilial": {"secretsmanager:GetSecretValue": {"DssQuotientFamilial", "Ping", "ProviderProbes"}},
    "DatapassSecret": {"secretsmanager:GetSecretValue": {"DatapassWebhook"}},
    "ProbeIdentities": {"secretsmanager:GetSecretValue": {"ProviderProbes"}},
    "Suspicions": {"sqs:SendMessage": DATASETS},
    "DatapassDeadLetters": {"sqs:SendMessage": {"DatapassWebhook"}},
    "apigateway": {
        "apigateway:GET /apikeys": {"DatapassWebhook"},  # a list, which no tag limits
        "apigateway:POST /apikeys RequestTag": {"DatapassWebhook"},
        "apigateway:PUT /tags/*apikeys* RequestTag": {"DatapassWebhook"},
        "apigateway:GET /apikeys/* ResourceTag": {"DatapassWebhook"},
        "apigateway:DELETE /apikeys/* ResourceTag": {"DatapassWebhook", "KeyReport"},
        "apigateway:PATCH /apikeys/* ResourceTag": {"TokenSuspension"},
        "apigateway:GET /usageplans": {"DatapassWebhook"},
        "apigateway:POST /usageplans/*/keys": {"DatapassWebhook"},
    },
    "ses": {
        f"ses:SendEmail identity/${{{sender}}}": {
            "AuditVerification",
            "DatapassWebhook",
            "KeyExpiryReminders",
            "TokenSuspension",
        }
        for sender in ("MailSender", "Domain")
    },
}
"""Every right of every function: on a resource, an action, and the part of the resource or the keys of items that it is
limited to."""
NAMED_LATER: Final = {
    "SealsBucket /seals/*": "an object is named by the seal's number",
    "SealsBucket /records/*": "an object is named by its hash",
    "SealsBucket /archive/*": "an object is named by its day and tokens",
    "SealsBucket /checkpoints/*": "an object is named by its hour",
    "SealsBucket /checkpoints/*.tsr": "a stamp is named by its checkpoint",
    "SealsBucket /usage/*": "an object is named by its day",
    "SealsBucket /access/*": "an object is named by its month and citizens",
    "apigateway /apikeys/*": "a gateway's key is named when it is made",
    "apigateway /tags/*apikeys*": "the same; API Gateway writes its ARN there, in one encoding or another",
    "apigateway /usageplans/*/keys": "the usage plan needs the API, which needs the function",
}
"""Why a resource is not named to its end."""


def places(resource: Any) -> list[tuple[str, str]]:
    """Return what a statement's resource names: resources of the template, or services, each with the part of it."""
    if isinstance(resource, list):
        return [place for each in resource for place in places(each)]
    if "Fn::If" in resource:
        return [place for branch in resource["Fn::If"][1:] for place in places(branch)]
    resource = resource.get("Fn::Split", [None, resource])[1]
    if "Ref" in resource:
        return [(resource["Ref"], "")]
    if "Fn::GetAtt" in resource:
        return [(resource["Fn::GetAtt"][0], "")]
    arn = resource["Fn::Sub"] if isinstance(resource["Fn::Sub"], str) else resource["Fn::Sub"][0]
    if found := re.fullmatch(r"\$\{(\w+)\.Arn\}(/.+)", arn):
        return [(found[1], found[2])]
    found = re.fullmatch(r"arn:\$\{AWS::Partition\}:(\w+):\$\{AWS::Region\}:(?:\$\{AWS::AccountId\})?:(.+)", arn)
    assert found, f"{arn} names neither a resource of the template nor a service's"
    return [(found[1], found[2])]


TAGGED: Final = {
    limit: {"StringEquals": {f"aws:{limit}/{KEY_TAG}": {"Ref": "Environment"}}}
    for limit in ("ResourceTag", "RequestTag")
}
"""The limit to keys of this deployment, and to making no others."""


def limits(statement: dict[str, Any]) -> list[str]:
    """Return the keys of items, the attributes or the tag that a statement is limited to; none without a condition."""
    conditions = dict(statement.get("Condition", {}))
    if not conditions:
        return []
    if conditions in TAGGED.values():
        return [next(limit for limit, condition in TAGGED.items() if condition == conditions)]
    # A read of some attributes names them: without it, a read of all of them names none, and is let through.
    named = conditions.pop("StringEquals", {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"})
    assert named == {"dynamodb:Select": "SPECIFIC_ATTRIBUTES"}
    ((operator, condition),) = conditions.items()
    ((variable, keys),) = condition.items()
    assert variable in {"dynamodb:LeadingKeys", "dynamodb:Attributes"}
    assert ("Select" in str(statement)) is (variable == "dynamodb:Attributes" and "Get" in str(statement["Action"]))
    by_pattern = any("*" in key for key in keys)
    assert operator == ("ForAllValues:StringLike" if by_pattern else "ForAllValues:StringEquals")
    return list(keys)


def rights() -> dict[str, dict[str, set[str]]]:
    """Return every right, in the form of ``RIGHTS``."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for function in FUNCTIONS:
        for statement in statements(function):
            for name, part in places(statement["Resource"]):
                for action in listed(statement["Action"]):
                    found[name][" ".join(filter(None, [action, part, *limits(statement)]))].add(function)
    return found


@pytest.mark.parametrize("resource", sorted(RIGHTS.keys() | rights().keys()))
def test_a_resource_may_be_used_by_these_functions_for_this_alone(resource: str) -> None:
    assert rights()[resource] == RIGHTS.get(resource, {})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_has_a_role_of_its_own_that_names_actions_and_resources(function: str) -> None:
    assert "Role" not in FUNCTIONS[function]
    found = list(statements(function))
    for statement in found:
        assert statement["Effect"] == "Allow"
        assert statement.keys() <= {"Sid", "Effect", "Action", "Resource", "Condition"}
        assert not [action for action in listed(statement["Action"]) if "*" in action]
        for name, part in places(statement["Resource"]):
            assert "*" not in part or f"{name} {part}" in NAMED_LATER
    assert len({statement["Sid"] for statement in found}) == len(found)


@pytest.mark.parametrize("policy", SHARED)
def test_a_shared_policy_is_the_policy_of_several_functions_and_of_nothing_else(policy: str) -> None:
    assert sum({"Ref": policy} in function.get("Policies", []) for function in FUNCTIONS.values()) > 1
    assert not {"Roles", "Users", "Groups"} & SHARED[policy].keys()


def test_there_is_no_other_role_than_the_functions_and_the_gateways() -> None:
    ((name, role),) = resources("AWS::IAM::Role").items()
    assert name == "GatewayLoggingRole"
    (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": "apigateway.amazonaws.com"}
    assert role.keys() == {"AssumeRolePolicyDocument", "ManagedPolicyArns"}
    granting = {kind for kind in kinds() if re.search("Permission|Policy$|::User$|::Group$|::Grant", kind)}
    assert granting == {"AWS::IAM::ManagedPolicy", *OPEN_TO_SERVICES}
    for kind in OPEN_TO_SERVICES:
        for name, policy in resources(kind).items():
            for statement in policy["PolicyDocument"]["Statement"]:
                assert statement["Effect"] == "Deny" or statement["Principal"].keys() == {"Service"}, name


OPEN_TO_SERVICES: Final = ("AWS::SNS::TopicPolicy", "AWS::S3::BucketPolicy")
"""The policies of resources, which let in services of AWS and no account."""


@pytest.mark.parametrize("name", APIS)
def test_every_answer_of_the_gateway_asks_for_https(name: str) -> None:
    answers = APIS[name]["GatewayResponses"].values()
    headers = [answer["ResponseParameters"]["Headers"] for answer in answers]
    assert {header.get("Strict-Transport-Security") for header in headers} == {"'max-age=31536000'"}
    assert {"DEFAULT_4XX", "DEFAULT_5XX"} <= APIS[name]["GatewayResponses"].keys()


def test_no_name_is_declared_twice() -> None:
    # The last would be taken, and the first lost without a word.
    declared = (ROOT / "template.yaml").read_text().partition("\nResources:\n")[2].partition("\nOutputs:\n")[0]
    assert len(re.findall(r"^  \w+:", declared, re.MULTILINE)) == len(template()["Resources"])


def kinds() -> set[str]:
    return {resource["Type"] for resource in template()["Resources"].values()}


# ── Routes ───────────────────────────────────────────────────────────────────────────────────────────────────────────

WITHOUT_A_KEY: Final = {
    "/api/ping",
    "/api/impots/ping",
    "/api/caf/ping",
    "/api/dss/ping",
    "/api/errors",
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


def events(function: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [event["Properties"] for event in function.get("Events", {}).values() if event["Type"] == kind]


def test_only_pings_figures_pages_and_what_has_another_proof_need_no_key() -> None:
    routes = [event for function in FUNCTIONS.values() for event in events(function, "Api")]
    declared = {route["Path"]: route["Auth"] for route in routes if "Auth" in route}
    assert declared.pop("/api/introspect") == {"Authorizer": "KeyOrBearer"}
    assert declared.keys() == WITHOUT_A_KEY
    assert all(auth == {"ApiKeyRequired": False, "Authorizer": "NONE"} for auth in declared.values())
    assert not [function for function in FUNCTIONS.values() if "FunctionUrlConfig" in function]


@pytest.mark.parametrize("name", APIS)
def test_keys_are_found_by_the_authorizer_which_is_remembered_for_a_minute_at_most(name: str) -> None:
    assert APIS[name]["ApiKeySourceType"] == "AUTHORIZER"
    auth = APIS[name]["Auth"]
    assert auth["ApiKeyRequired"] is True
    assert auth["DefaultAuthorizer"] == {"Api": "Key", "ApiV3": "KeyOrBearer"}[name]
    for authorizer in auth["Authorizers"].values():
        assert authorizer["FunctionArn"] == {"Ref": "KeyAuthorizer.Alias"}
        assert authorizer["FunctionPayloadType"] == "REQUEST"
        identity = authorizer["Identity"]
        # Cached by the key, or by nothing: a cache of two sources would refuse a caller who sends one.
        assert identity in ({"Headers": ["X-API-Key"], "ReauthorizeEvery": 60}, {"ReauthorizeEvery": 0})


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_whose_route_needs_a_key_reads_tokens_and_writes_the_audit(function: str) -> None:
    if any("Auth" not in event for event in events(FUNCTIONS[function], "Api")):
        assert function in RIGHTS["TokensTable"]["dynamodb:GetItem"]
        assert function in AUDITED


def throttles(api: dict[str, Any]) -> dict[tuple[str, str], tuple[Any, Any]]:
    """Return the limit of each method and route of a stage, in calls a second and in a burst."""
    return {
        (setting["HttpMethod"], setting["ResourcePath"].replace("~1", "/").removeprefix("/") or "/"): (
            setting["ThrottlingRateLimit"],
            setting["ThrottlingBurstLimit"],
        )
        for setting in api["MethodSettings"]
    }


def test_each_route_without_a_key_has_a_limit_of_its_own_and_the_others_that_of_the_stage() -> None:
    routes = [event for function in FUNCTIONS.values() for event in events(function, "Api")]
    keyless = {(route["Method"].upper(), route["Path"]) for route in routes if route["Path"] in WITHOUT_A_KEY}
    assert throttles(API).keys() == keyless | {("*", "*")}
    for api in APIS.values():
        assert throttles(api)["*", "*"] == ({"Ref": "RouteRateLimit"},) * 2
    assert PARAMETERS["RouteRateLimit"]["MinValue"] >= RATE_LIMIT


def test_where_values_could_be_tried_there_is_a_limit() -> None:
    for route in (("POST", "/api/cles/remise"), ("POST", "/api/keys/compromised")):
        assert throttles(API)[route] == (50, 100)  # and each address some tries an hour: one caller stops no other
    assert throttles(API)["GET", "/api/citoyen/acces"] == (20, 40)  # of all citizens together; it spares the providers


def test_every_key_gets_20_calls_a_second() -> None:
    (plan,) = resources("AWS::ApiGateway::UsagePlan").values()
    assert plan["Throttle"] == {"RateLimit": 20, "BurstLimit": 20}
    assert plan["ApiStages"] == [{"ApiId": {"Ref": name}, "Stage": api["StageName"]} for name, api in APIS.items()]
    assert RATE_LIMIT == 20


def test_a_domain_speaks_tls_1_2_at_least() -> None:
    (domain,) = resources("AWS::ApiGateway::DomainName").values()
    assert domain["SecurityPolicy"] == "TLS_1_2"
    assert domain["RegionalCertificateArn"] == {"Ref": "DomainCertificateArn"}


# ── Parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────

PARAMETERS: Final[dict[str, dict[str, Any]]] = template()["Parameters"]
OF_ACM: Final = "arn:aws:acm:eu-west-3:123456789012:certificate/0a1b2c3d-0000"
OF_WAF: Final = "arn:aws:wafv2:eu-west-3:123456789012:regional/webacl/communes/0a1b"
OF_KMS: Final = "arn:aws:kms:eu-west-3:123456789012:key/0a1b2c3d-0000"


def holds(expression: Any, values: dict[str, Any]) -> Any:
    """Return the value of an expression of ``Rules``."""
    if isinstance(expression, list):
        return [holds(part, values) for part in expression]
    if not isinstance(expression, dict):
        return expression
    ((function, argument),) = expression.items()
    if function == "Ref":
        return values[argument]
    if function == "Fn::Not":
        return not holds(argument[0], values)
    first, second = holds(argument, values)
    return first == second if function == "Fn::Equals" else second in first


def broken(**given: str) -> set[str]:
    """Return the rules that CloudFormation finds broken for these parameters, of a template that was built."""
    values = {name: str(parameter.get("Default", "https://caf.exemple.fr")) for name, parameter in PARAMETERS.items()}
    return {
        name
        for name, rule in template()["Rules"].items()
        if name != "BuiltByMake" and holds(rule.get("RuleCondition", {"Fn::Equals": ["", ""]}), values | given)
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], values | given)
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, set()),
        ({"DomainName": "api.exemple.fr"}, {"DomainHasCertificate"}),
        ({"DomainCertificateArn": OF_ACM}, {"CertificateHasDomain"}),
        ({"DomainName": "api.exemple.fr", "DomainCertificateArn": OF_ACM}, set()),
        ({"DgfipProvider": "impot_particulier"}, {"ImpotParticulierHasUrl"}),
        ({"DgfipProvider": "impot_particulier", "ImpotParticulierUrl": "https://gw.exemple.fr"}, set()),
        ({"MonthlyBudget": "500"}, {"BudgetHasAddress"}),
        ({"MonthlyBudget": "500", "AlarmMail": "astreinte@exemple.fr"}, set()),
        ({"WebFirewall": "create"}, set()),
        ({"WebFirewall": "create", "WebAclArn": OF_WAF}, {"OneFirewall"}),
        ({"FormerPseudonymKeyArns": OF_KMS}, {"FormerKeysHaveSuccessor"}),
        ({"FormerPseudonymKeyArns": f"{OF_KMS},{OF_KMS}1", "PseudonymKeyArn": OF_KMS}, set()),
    ],
)
def test_parameters_that_contradict_each_other_are_refused_before_anything_is_made(
    given: dict[str, str], expected: set[str]
) -> None:
    assert broken(**given) == expected


def test_what_sam_builds_alone_is_refused_with_what_to_run_and_what_make_builds_is_not() -> None:
    (assertion,) = template()["Rules"]["BuiltByMake"]["Assertions"]
    assert "make deploy" in assertion["AssertDescription"]
    (impossible,), named = assertion["Assert"]["Fn::Contains"]
    assert not re.fullmatch(PARAMETERS[named["Ref"]]["AllowedPattern"], impossible)
    built = deployable((ROOT / "template.yaml").read_text())
    assert "BuiltByMake" not in built
    assert built.count("RuleCondition") == len(template()["Rules"]) - 1


@pytest.mark.parametrize(
    ("parameter", "accepted", "refused"),
    [
        ("Environment", ["production", "essai-2"], ["", "Production", "a_b"]),
        ("DgfipSvairUrl", ["https://cfsmsp.impots.gouv.fr", "http://127.0.0.1:9000"], ["", "http://exemple.fr"]),
        ("ImpotParticulierUrl", ["", "https://gw.exemple.fr/api"], ["gw.exemple.fr", "https://exemple.fr/?a=b"]),
        (
            "DomainName",
            ["", "api.exemple.fr"],
            ["https://api.exemple.fr", "api.exemple.fr/", "exemple", "*.exemple.fr"],
        ),
        ("DomainCertificateArn", ["", OF_ACM], [OF_KMS, "certificate"]),
        ("WebAclArn", ["", OF_WAF], [OF_KMS, OF_WAF.replace("regional", "global")]),
        ("PseudonymKeyArn", ["", OF_KMS], [OF_ACM, "alias/pseudonymes"]),
        ("FormerPseudonymKeyArns", ["", OF_KMS, f"{OF_KMS},{OF_KMS}"], [f"{OF_KMS}, {OF_KMS}", f"{OF_KMS},", ","]),
        ("MailSender", ["", "nepasrepondre@exemple.fr"], ["exemple.fr", "A <a@exemple.fr>"]),
        ("AlarmMail", ["", "astreinte@exemple.fr"], ["a@b@c"]),
        ("PageUrl", ["", "https://astreinte.exemple.fr/x"], ["http://astreinte.exemple.fr"]),
    ],
)
def test_a_parameters_pattern_refuses_what_would_fail_later(
    parameter: str, accepted: list[str], refused: list[str]
) -> None:
    pattern = PARAMETERS[parameter]["AllowedPattern"]
    assert all(re.fullmatch(pattern, value) for value in accepted)
    assert not any(re.fullmatch(pattern, value) for value in refused)


def test_every_text_that_is_not_from_a_list_has_a_pattern() -> None:
    texts = {name for name, parameter in PARAMETERS.items() if parameter["Type"] == "String"}
    assert not [name for name in texts if not PARAMETERS[name].keys() & {"AllowedPattern", "AllowedValues"}]


def chosen_names(properties: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in properties.items():
        yield name, value
        if isinstance(value, dict):
            yield from chosen_names(value)


GLOBAL_NAMES: Final = ("DashboardName", "BudgetName", "RoleName", "ManagedPolicyName", "BucketName")
"""The names that an account (or all accounts) has once in all its regions."""


def test_a_name_that_we_choose_carries_the_environment_and_the_region_where_aws_wants_it_alone() -> None:
    for name, resource in template()["Resources"].items():
        for chosen, value in chosen_names(resource.get("Properties", {})):
            if chosen in GLOBAL_NAMES:
                assert "${Environment}" in value["Fn::Sub"], name
                assert "${AWS::Region}" in value["Fn::Sub"], name
            elif re.search("(Plan|Rule|Trail|Group)Name$", chosen) and "Fn::Sub" in value:
                assert "${Environment}" in value["Fn::Sub"], name


# ── Functions ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Runtime", "python3.13"),
        ("RuntimeManagementConfig", {"UpdateRuntimeOn": "FunctionUpdate"}),
        ("Tracing", {"Ref": "Tracing"}),
        ("LoggingConfig", {"LogFormat": "JSON", "SystemLogLevel": "WARN", "LogGroup": {"Ref": "FunctionsLogGroup"}}),
        ("AutoPublishAlias", "live"),
        ("AutoPublishAliasAllProperties", True),  # SAM sees neither the layer's content nor a parameter's value
        ("VersionDeletionPolicy", "Delete"),
    ],
)
def test_every_function_is_run_traced_logged_and_published_alike(name: str, value: object) -> None:
    assert GLOBALS[name] == value
    assert not [function for function, properties in FUNCTIONS.items() if name in properties]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_behind_the_gateway_gives_up_before_it(function: str) -> None:
    behind_the_gateway = bool(events(FUNCTIONS[function], "Api"))
    assert FUNCTIONS[function].get("Timeout", GLOBALS["Timeout"]) < (29 if behind_the_gateway else 900)


def test_callers_are_moved_to_a_new_version_by_steps_and_back_when_an_alarm_rings() -> None:
    alarms = {alarm["Ref"] for alarm in GLOBALS["DeploymentPreference"]["Alarms"]}
    assert alarms == {"KeyHoldersDownAlarm", "InternalErrorsAlarm", "FunctionFailuresAlarm", "AuditUnavailableAlarm"}
    assert template()["Parameters"]["DeploymentType"]["Default"].startswith("Canary")
    assert not [name for name, function in FUNCTIONS.items() if "DeploymentPreference" in function]


def test_every_build_publishes_a_version_of_every_function() -> None:
    days = (datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2))
    built = [stamped((ROOT / "template.yaml").read_text(), day) for day in days]
    assert built[0] != built[1]
    assert [text.count("RELEASE: '2026-11-") for text in built] == [1, 1]


def test_the_build_puts_the_dashboard_in_the_place_of_its_files_name() -> None:
    built = with_dashboard((ROOT / "template.yaml").read_text())
    assert built.count("DashboardBody: {'Fn::Sub': \"{") == 1
    assert "DashboardBody: dashboard.json" not in built


# ── Logs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", resources("AWS::Logs::LogGroup"))
def test_logs_are_kept_for_a_declared_time(name: str) -> None:
    assert resources("AWS::Logs::LogGroup")[name]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_the_gateway_logs_and_traces_neither_the_callers_address_nor_the_query() -> None:
    logged = API["AccessLogSetting"]
    assert logged == API_V3["AccessLogSetting"]
    assert logged["DestinationArn"] == {"Fn::GetAtt": ["GatewayLogGroup", "Arn"]}
    assert set(json.loads(logged["Format"].replace("\n", "")).values()) == {
        *("$context.requestId", "$context.identity.apiKeyId", "$context.httpMethod"),
        *("$context.resourcePath", "$context.status", "$context.error.responseType"),
        *("$context.responseLatency", "$context.integrationLatency"),
    }
    assert not [api for api in APIS.values() if api["TracingEnabled"]]  # its segments hold the address with its query
    settings = [setting for api in APIS.values() for setting in api.get("MethodSettings", [])]
    assert not [setting for setting in settings if setting.keys() & {"DataTraceEnabled", "LoggingLevel"}]


def test_a_firewall_of_ours_samples_nothing_and_its_logs_hold_neither_query_nor_body_nor_key() -> None:
    (firewall,) = resources("AWS::WAFv2::WebACL").values()
    for part in (firewall, *firewall["Rules"]):
        assert part["VisibilityConfig"]["SampledRequestsEnabled"] is False
    hidden = {
        (protection["Field"]["FieldType"], key): protection
        for protection in firewall["DataProtectionConfig"]["DataProtections"]
        for key in protection["Field"].get("FieldKeys", [""])
    }
    headers = ("x-api-key", "authorization", "x-user", "cookie")
    assert hidden.keys() == {("QUERY_STRING", ""), ("BODY", ""), *(("SINGLE_HEADER", header) for header in headers)}
    assert all(protection.keys() == {"Field", "Action"} for protection in hidden.values())  # without an exception
    associated = [
        association["ResourceArn"]["Fn::Sub"] for association in resources("AWS::WAFv2::WebACLAssociation").values()
    ]
    assert {arn.split("/")[-3] for arn in associated} == {f"${{{name}}}" for name in APIS}
    assert len(associated) == 2 * len(APIS)  # ours, or the operator's


# ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

KEPT: Final = (
    *("AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"),
    *("AWS::ApiGateway::Account", "AWS::IAM::Role"),  # of the account: other stacks may use them by then
)


@pytest.mark.parametrize("name", [name for kind in KEPT for name in resources(kind)])
def test_data_and_keys_outlive_the_stack(name: str) -> None:
    resource = template()["Resources"][name]
    assert resource["DeletionPolicy"] == "RetainExceptOnCreate"  # a first creation that fails leaves nothing behind
    assert resource["UpdateReplacePolicy"] == "Retain"


def test_nothing_else_is_kept_for_ever() -> None:
    assert "Retain" not in {resource.get("DeletionPolicy") for resource in template()["Resources"].values()}


@pytest.mark.parametrize("name", resources("AWS::DynamoDB::Table"))
def test_a_table_is_encrypted_and_outlives_a_mistake(name: str) -> None:
    table = resources("AWS::DynamoDB::Table")[name]
    assert table["DeletionProtectionEnabled"] is True
    is_backed_up = name != "AuditTable"  # which `restore audit` makes again from the bucket
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": is_backed_up}
    assert table["SSESpecification"] == {"SSEEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert "ResourcePolicy" not in table


def test_only_the_audit_has_a_stream_and_it_brings_the_whole_record() -> None:
    streams = {
        name: table["StreamSpecification"]
        for name, table in resources("AWS::DynamoDB::Table").items()
        if "StreamSpecification" in table
    }
    assert streams == {"AuditTable": {"StreamViewType": "NEW_IMAGE"}}


def test_the_index_of_citizens_holds_what_a_row_shows() -> None:
    (index,) = resources("AWS::DynamoDB::Table")["AuditTable"]["GlobalSecondaryIndexes"]
    keys = {"token_day", "id", "citizen"}
    assert {*index["Projection"]["NonKeyAttributes"]} | keys == {*archive.SHOWN, "citizen"}


@pytest.mark.parametrize(
    ("key", "spec", "usage", "variable"),
    [
        ("PseudonymKey", "HMAC_256", "GENERATE_VERIFY_MAC", "PSEUDONYM_KEY_ID"),
        ("EntryKey", "HMAC_256", "GENERATE_VERIFY_MAC", "ENTRY_KEY_ID"),
        ("TokenKey", "HMAC_256", "GENERATE_VERIFY_MAC", "TOKEN_KEY_ID"),
        ("OperatorKey", "HMAC_256", "GENERATE_VERIFY_MAC", "OPERATOR_KEY_ID"),
        ("SealKey", "ECC_NIST_P256", "SIGN_VERIFY", "SEAL_KEY_ID"),
    ],
)
def test_each_key_has_one_use_and_its_own_variable(key: str, spec: str, usage: str, variable: str) -> None:
    properties = resources("AWS::KMS::Key")[key]
    assert (properties["KeySpec"], properties["KeyUsage"]) == (spec, usage)
    given = [
        value
        for function in FUNCTIONS.values()
        for name, value in function.get("Environment", {}).get("Variables", {}).items()
        if name == variable
    ]
    own = {"Ref": key}
    replaced = {"Fn::If": ["NamesWithOwnKey", own, {"Ref": "PseudonymKeyArn"}]}
    assert given
    assert all(value == (replaced if key == "PseudonymKey" else own) for value in given)


OUR_ACCOUNT: Final = {"AWS": {"Fn::Sub": "arn:${AWS::Partition}:iam::${AWS::AccountId}:root"}}


def test_the_sealing_role_alone_signs_seals() -> None:
    others, sealing = resources("AWS::KMS::Key")["SealKey"]["KeyPolicy"]["Statement"]
    assert (others["Effect"], others["Principal"]) == ("Allow", OUR_ACCOUNT)
    assert others["NotAction"] == ["kms:Sign", "kms:CreateGrant"]  # a grant would let another sign
    assert (sealing["Effect"], sealing["Principal"]) == ("Allow", {"AWS": {"Fn::GetAtt": ["AuditSealsRole", "Arn"]}})
    assert sealing["Action"] == ["kms:Sign", "kms:Verify", "kms:GetPublicKey"]
    assert "SealKey" not in json.dumps(
        FUNCTIONS["AuditSeals"]["Policies"]
    )  # the role would wait for the key, and it for the role


@pytest.mark.parametrize("name", sorted(resources("AWS::KMS::Key").keys() - {"SealKey"}))
def test_a_key_is_used_by_roles_of_this_account_alone(name: str) -> None:
    (statement,) = resources("AWS::KMS::Key")[name]["KeyPolicy"]["Statement"]
    assert statement["Principal"] == OUR_ACCOUNT
    assert (statement["Effect"], statement["Action"]) == ("Allow", "kms:*")


def test_the_outputs_name_the_keys_that_operators_and_auditors_use() -> None:
    outputs = {name: output["Value"] for name, output in template()["Outputs"].items()}
    assert (outputs["SealKeyId"], outputs["ExportKeyId"]) == ({"Ref": "SealKey"}, {"Ref": "ExportKey"})
    current = outputs["PseudonymKeyIds"]["Fn::Sub"][1]["Current"]
    assert current == {"Fn::If": ["NamesWithOwnKey", {"Ref": "PseudonymKey"}, {"Ref": "PseudonymKeyArn"}]}


def test_the_seals_are_locked_for_37_months_encrypted_and_private() -> None:
    bucket = resources("AWS::S3::Bucket")["SealsBucket"]
    assert bucket["ObjectLockEnabled"] is True
    assert bucket["ObjectLockConfiguration"]["ObjectLockEnabled"] == "Enabled"
    assert bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"] == {
        "Mode": {"Ref": "SealLockMode"},
        "Days": 1127,
    }
    assert template()["Parameters"]["SealLockMode"]["Default"] == "COMPLIANCE"


@pytest.mark.parametrize("name", resources("AWS::S3::Bucket"))
def test_a_bucket_is_private_encrypted_and_keeps_versions(name: str) -> None:
    bucket = resources("AWS::S3::Bucket")[name]
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert bucket["PublicAccessBlockConfiguration"] == {
        "BlockPublicAcls": True,
        "BlockPublicPolicy": True,
        "IgnorePublicAcls": True,
        "RestrictPublicBuckets": True,
    }
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert encryption["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"


def test_what_the_bucket_keeps_expires_the_day_after_its_lock_and_seals_stay() -> None:
    rules = resources("AWS::S3::Bucket")["SealsBucket"]["LifecycleConfiguration"]["Rules"]
    assert all(rule["Status"] == "Enabled" for rule in rules)
    ages = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}
    assert ages == {"records/": 47, "archive/": 1097, "usage/": 1097, "access/": 1097}
    assert RETENTION + timedelta(days=1) <= timedelta(days=ages["archive/"])
    assert [rule for rule in rules if "Prefix" not in rule] == [
        {"Id": "markers", "Status": "Enabled", "ExpiredObjectDeleteMarker": True}
    ]


def test_a_trail_of_the_audits_data_is_made_on_request_and_sees_each_read_and_write_of_records_and_seals() -> None:
    (trail,) = resources("AWS::CloudTrail::Trail").values()
    selected = [
        {field["Field"]: field for field in selector["FieldSelectors"]} for selector in trail["AdvancedEventSelectors"]
    ]
    data = [fields for fields in selected if fields["eventCategory"]["Equals"] == ["Data"]]
    assert not [fields for fields in data if fields.keys() - {"eventCategory", "resources.type", "resources.ARN"}]
    assert {json.dumps(fields["resources.ARN"]) for fields in data} == {
        json.dumps({"Field": "resources.ARN", "Equals": [{"Fn::GetAtt": ["AuditTable", "Arn"]}]}),
        json.dumps({"Field": "resources.ARN", "StartsWith": [{"Fn::Sub": "${SealsBucket.Arn}/"}]}),
    }
    of_the_trail = [
        name for name, resource in template()["Resources"].items() if resource.get("Condition") == "TrailsData"
    ]
    assert sorted(of_the_trail) == ["DataTrail", "TrailBucket", "TrailBucketPolicy"]
    assert PARAMETERS["TrailOfData"]["Default"] == "none"


def test_no_secret_is_in_the_template() -> None:
    for name, secret in resources("AWS::SecretsManager::Secret").items():
        assert not {"SecretString", "GenerateSecretString"} & secret.keys(), name
    for name, parameter in template()["Parameters"].items():
        assert not any(word in name.lower() for word in ("password", "secret", "token", "apikey")), name
        assert parameter["Description"], name


# ── Streams and queues ───────────────────────────────────────────────────────────────────────────────────────────────

STREAMS: Final = [(name, source) for name, function in FUNCTIONS.items() for source in events(function, "DynamoDB")]
SET_ASIDE_BY_CODE: Final = {"DatapassDeadLetters"}


def watched_queues() -> Iterator[str]:
    for alarm in resources("AWS::CloudWatch::Alarm").values():
        if alarm.get("Namespace") == "AWS/SQS":
            yield alarm["Dimensions"][0]["Value"]["Fn::GetAtt"][0]


@pytest.mark.parametrize(("function", "source"), STREAMS, ids=[name for name, _ in STREAMS])
def test_a_stream_is_read_from_its_first_record_and_its_failures_are_set_aside(
    function: str, source: dict[str, Any]
) -> None:
    assert source["Stream"] == {"Fn::GetAtt": ["AuditTable", "StreamArn"]}
    assert source["StartingPosition"] == "TRIM_HORIZON"
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["BisectBatchOnFunctionError"] is True
    failures = source["DestinationConfig"]["OnFailure"]
    assert failures["Type"] == "SQS"
    assert failures["Destination"]["Fn::GetAtt"][0] in set(watched_queues())
    assert not source.keys() & {"MaximumRecordAgeInSeconds", "ParallelizationFactor", "Enabled", "TumblingWindow"}
    # What is not sealed in a day never will be.
    assert (function, source["MaximumRetryAttempts"]) == ("AuditSeals", 10_000)
    patterns = [json.loads(each["Pattern"]) for each in source["FilterCriteria"]["Filters"]]
    by_hand = {"eventName": ["REMOVE"], "userIdentity": {"principalId": [{"exists": False}]}}
    assert patterns == [{"eventName": ["INSERT", "MODIFY"]}, by_hand]  # and not what expires


@pytest.mark.parametrize("name", resources("AWS::SQS::Queue"))
def test_a_queue_is_encrypted_watched_and_keeps_what_is_set_aside_for_two_weeks(name: str) -> None:
    queue = resources("AWS::SQS::Queue")[name]
    assert queue["SqsManagedSseEnabled"] is True
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert name in set(watched_queues())
    of_streams = {source["DestinationConfig"]["OnFailure"]["Destination"]["Fn::GetAtt"][0] for _, source in STREAMS}
    of_queues = {
        other["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for other in resources("AWS::SQS::Queue").values()
        if "RedrivePolicy" in other
    }
    dead_letters = of_streams | of_queues | SET_ASIDE_BY_CODE
    assert (name in dead_letters) != ("RedrivePolicy" in queue)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if events(FUNCTIONS[name], "SQS")])
def test_a_queue_is_not_brought_to_more_environments_than_the_function_may_have(name: str) -> None:
    # A message that Lambda throttles counts as brought, and would be set aside without having been tried.
    for source in events(FUNCTIONS[name], "SQS"):
        share = FUNCTIONS[name]["ReservedConcurrentExecutions"]["Fn::If"][1]
        assert source["ScalingConfig"]["MaximumConcurrency"] <= share


# ── The gateway's own answers ────────────────────────────────────────────────────────────────────────────────────────

GATEWAY: dict[str, dict[str, Any]] = API["GatewayResponses"]


def body(kind: str) -> dict[str, object]:
    assert GATEWAY[kind]["ResponseTemplates"].keys() == {"application/json"}
    parsed: dict[str, object] = json.loads(GATEWAY[kind]["ResponseTemplates"]["application/json"])
    return parsed


@pytest.mark.parametrize("kind", GATEWAY)
def test_the_gateways_errors_have_the_body_of_every_error_and_the_requests_id(kind: str) -> None:
    assert list(body(kind)) == ["error", "reason", "message"]
    assert all(isinstance(value, str) and value for value in body(kind).values())
    headers = GATEWAY[kind]["ResponseParameters"]["Headers"]
    assert headers["X-Request-Id"] == "context.requestId"
    assert (
        "$context" not in GATEWAY[kind]["ResponseTemplates"]["application/json"]
    )  # it would repeat what the caller wrote


@pytest.mark.parametrize(
    ("kind", "status", "error"),
    [
        ("INVALID_API_KEY", 401, "access_denied"),
        ("ACCESS_DENIED", 401, "access_denied"),
        ("UNAUTHORIZED", 401, "access_denied"),
        ("MISSING_AUTHENTICATION_TOKEN", 404, "not_found"),
        ("THROTTLED", 429, "rate_limited"),
        ("INTEGRATION_TIMEOUT", 504, "network_error"),
        ("DEFAULT_4XX", None, "bad_request"),
        ("DEFAULT_5XX", None, "internal_server_error"),
    ],
)
def test_each_error_of_the_gateway_has_its_status_and_code(kind: str, status: int | None, error: str) -> None:
    assert GATEWAY[kind].get("StatusCode") == status
    assert body(kind)["error"] == error


def test_the_gateways_errors_are_those_of_functions() -> None:
    assert body("INVALID_API_KEY") == AccessDenied().body
    assert body("DEFAULT_5XX") == InternalError().body


def test_a_throttled_response_gives_when_to_retry() -> None:
    headers = GATEWAY["THROTTLED"]["ResponseParameters"]["Headers"]
    assert headers["Retry-After"] == "'1'"
    assert headers["RateLimit-Limit"] == f"'{RATE_LIMIT}'"


GATEWAY_V3: dict[str, dict[str, Any]] = API_V3["GatewayResponses"]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("INVALID_API_KEY", 401, "00101"),
        ("ACCESS_DENIED", 401, "00101"),
        ("UNAUTHORIZED", 401, "00101"),
        ("MISSING_AUTHENTICATION_TOKEN", 404, "00404"),
        ("THROTTLED", 429, "00429"),
        ("INTEGRATION_TIMEOUT", 504, "36002"),
        ("DEFAULT_4XX", None, "00401"),
        ("DEFAULT_5XX", None, "00500"),
    ],
)
def test_each_error_of_the_gateway_of_v3_has_the_form_of_v3(kind: str, status: int | None, code: str) -> None:
    assert GATEWAY_V3.keys() == GATEWAY.keys()
    response = GATEWAY_V3[kind]
    assert response.get("StatusCode") == status
    headers = response["ResponseParameters"]["Headers"]
    assert (headers["X-Request-Id"], headers["Content-Type"]) == ("context.requestId", "'application/vnd.api+json'")
    ((media_type, template),) = response["ResponseTemplates"].items()
    assert media_type == "application/json"  # the template that API Gateway takes whatever the caller accepts
    assert "$context" not in template
    (error,) = json.loads(template)["errors"]
    assert error["code"] == code
    assert error.keys() - {"source"} == {"code", "title", "detail", "meta"}
    retry_in = error["meta"].get("retry_in")
    assert headers.get("Retry-After") == (None if retry_in is None else f"'{retry_in}'")


def test_a_throttled_response_of_v3_gives_the_limit() -> None:
    headers = GATEWAY_V3["THROTTLED"]["ResponseParameters"]["Headers"]
    assert (headers["RateLimit-Limit"], headers["RateLimit-Remaining"]) == (f"'{RATE_LIMIT}'", "'0'")
    assert "RateLimit-Reset" not in headers  # the gateway cannot compute it
