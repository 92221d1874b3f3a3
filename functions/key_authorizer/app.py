"""Recognise the key of a caller, and name its token's key at the gateway, which counts the calls.

It recognises, and judges nothing: the state, the end, the ranges and the scopes of a token are judged by the function
behind the route, which writes the audit record. A revoked key is refused at once all the same, because its key at the
gateway is deleted (docs/decisions/0045-secrets-drawn-when-shown.md).
"""

from typing import Any, Final

from api_particulier import aws
from api_particulier.keys.lookup import find_usage_key
from api_particulier.keys.presented import presented_key
from api_particulier.observability import log_unexpected

aws.prepare()

UNKNOWN: Final = "unknown"
"""The principal of a caller without a known key."""


def lambda_handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Return the policy of a caller, in the form that API Gateway documents for a Lambda authoriser.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-output.html
    """
    # Of the whole stage: API Gateway applies a cached policy to the caller's next route.
    stage = "/".join(event["methodArn"].split("/")[:2])
    key = presented_key(event.get("headers") or {}, event["resource"])
    usage_key = _find(key, event["requestContext"].get("requestId", ""))
    # Denied rather than raised as "Unauthorized": a caller without a key is no failure of this function.
    statement = {
        "Action": "execute-api:Invoke",
        "Effect": "Allow" if usage_key else "Deny",
        "Resource": f"{stage}/*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    if usage_key is None:
        return {"principalId": UNKNOWN, "policyDocument": policy}
    return {"principalId": "token", "policyDocument": policy, "usageIdentifierKey": usage_key}


def _find(key: str | None, request_id: str) -> str | None:
    try:
        return find_usage_key(key)
    except Exception as error:
        log_unexpected(error, request_id)
        raise
