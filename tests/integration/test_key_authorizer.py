"""Recognise keys as the authoriser does, and present them in either header."""

import importlib
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.cloud import Cloud
from tests.support.function import call_api, event

V3 = "/v3/dss/quotient_familial/identite"
ARN = "arn:aws:execute-api:eu-west-3:123456789012:a1b2c3d4e5/live"
KEY, OTHER = "a" * 64, "b" * 64


def authorize(headers: dict[str, str], route: str = V3, query: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the authoriser's answer to a request, as API Gateway receives it."""
    request = event("key_authorizer/key") | {"resource": route, "methodArn": f"{ARN}/GET{route}", "headers": headers}
    request |= {"queryStringParameters": query}
    handler = importlib.import_module("functions.key_authorizer.app").lambda_handler
    answer: dict[str, Any] = json.loads(json.dumps(handler(request, None)))
    return answer


def assert_documented(answer: dict[str, Any], effect: str) -> None:
    """Assert that an answer has the form that API Gateway documents.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
    """
    assert answer.keys() - {"usageIdentifierKey", "context"} == {"principalId", "policyDocument"}
    assert isinstance(answer["principalId"], str)
    assert answer["policyDocument"]["Version"] == "2012-10-17"
    (statement,) = answer["policyDocument"]["Statement"]
    # Of the whole stage, since API Gateway applies a cached policy to the next route.
    assert statement == {"Action": "execute-api:Invoke", "Effect": effect, "Resource": f"{ARN}/*"}
    if effect == "Allow":
        # https://docs.aws.amazon.com/apigateway/latest/api/API_ApiKey.html, and its length of 20 to 128
        assert isinstance(answer["usageIdentifierKey"], str)
        assert 20 <= len(answer["usageIdentifierKey"]) <= 128
    else:
        assert "usageIdentifierKey" not in answer


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_key_is_recognised_in_either_header(cloud: Cloud, scheme: str) -> None:
    key = cloud.issue_key("dgfip_nombre_parts")
    for headers in ({"X-Api-Key": key}, {"x-api-key": key}, {"Authorization": f"{scheme} {key}"}):
        assert_documented(authorize(headers), "Allow")
    both = {"X-Api-Key": key, "Authorization": f"{scheme} {key}"}
    assert authorize(both) == authorize({"X-API-Key": key})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": OTHER},
        {"X-API-Key": "é" * 300},
        {"Authorization": "Bearer"},
        {"Authorization": f"Bearer {OTHER}"},
        {"Authorization": f"Bearer {OTHER}", "X-API-Key": KEY},
        {"Authorization": f"Bearer {KEY}", "X-API-Key": OTHER},
        {"Authorization": f"Basic {KEY}"},
        {"Authorization": KEY},
    ],
    ids=str,
)
def test_no_key_an_unknown_one_or_two_are_denied(cloud: Cloud, headers: dict[str, str]) -> None:
    cloud.issue_key("dgfip_nombre_parts", key=KEY)
    assert_documented(authorize(headers), "Deny")


def test_an_authorization_of_another_scheme_is_ignored(cloud: Cloud) -> None:
    cloud.issue_key("dgfip_nombre_parts", key=KEY)
    assert_documented(authorize({"Authorization": f"Basic {OTHER}", "X-API-Key": KEY}), "Allow")


def test_a_bearer_is_read_on_v3_and_introspect_only(cloud: Cloud) -> None:
    cloud.issue_key("dgfip_nombre_parts", key=KEY)
    headers = {"Authorization": f"Bearer {KEY}"}
    assert_documented(authorize(headers, "/api/introspect"), "Allow")
    assert_documented(authorize(headers, "/api/v2/quotient-familial"), "Deny")
    assert call_api("introspect/introspect", key="", headers=headers).status == 200


def test_two_different_keys_are_refused_by_the_function_too(cloud: Cloud) -> None:
    keys = [cloud.issue_key("dgfip_nombre_parts", key=key) for key in (KEY, OTHER)]
    headers = {"Authorization": f"Bearer {keys[0]}"}
    assert call_api("introspect/introspect", key=keys[0], headers=headers).status == 200
    assert call_api("introspect/introspect", key=keys[1], headers=headers).status == 401


def test_a_key_in_the_query_is_never_read(cloud: Cloud) -> None:
    cloud.issue_key("dgfip_nombre_parts", key=KEY)
    assert_documented(authorize({}, query={"token": KEY, "X-API-Key": KEY}), "Deny")


def test_a_key_that_is_over_is_recognised_for_its_refusal_to_be_recorded(cloud: Cloud) -> None:
    for state in ("suspended", "revoked"):
        assert_documented(authorize({"X-API-Key": cloud.issue_key("dgfip_nombre_parts", state=state)}), "Allow")


def test_a_failure_of_the_table_denies_and_allows_nothing(cloud: Cloud, capfd: pytest.CaptureFixture[str]) -> None:
    cloud.tokens.delete()
    with pytest.raises(ClientError):
        authorize({"X-API-Key": KEY})
    assert KEY not in "".join(capfd.readouterr())
