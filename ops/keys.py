"""Keys: issued, listed, shown, revoked.

A key is two things that live and die together: an API Gateway key in the usage plan, which counts the calls, and an
item of the tokens table, which says what it opens. The gateway keeps the key's value; the table only its SHA-256.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError
from uuid6 import uuid7

from api_particulier.tokens import ACTIVE, REVOKED, Token, hash_key, token_of
from ops.deployment import Deployment

LIFETIME = timedelta(days=18 * 30.4375)
"""18 months, unless said otherwise."""


class UnknownTokenError(LookupError):
    """No token has this id."""


@dataclass(frozen=True)
class IssuedKey:
    """A token and its key, which is known here and never again."""

    token: Token
    key: str


def issue(  # noqa: PLR0913 - what a key is, each by its name
    deployment: Deployment,
    *,
    organisation: str,
    siret: str,
    scopes: Sequence[str],
    expires: datetime | None = None,
    allowed: Sequence[str] = (),
    purpose: str | None = None,
) -> IssuedKey:
    """Make a key of 256 random bits that opens ``scopes`` until ``expires`` (18 months by default).

    What fails half-way leaves nothing behind: the gateway's key is deleted again.
    """
    key = secrets.token_hex(32)
    token_id = str(uuid7())
    now = datetime.now(UTC).replace(microsecond=0)
    gateway_key = deployment.gateway.create_api_key(
        name=f"api-particulier-{token_id}", description=organisation, enabled=True, value=key
    )["id"]
    token = Token(
        key_hash=hash_key(key),
        id=token_id,
        organisation=organisation,
        siret=siret,
        scopes=frozenset(scopes),
        state=ACTIVE,
        created=now,
        expires=expires or now + LIFETIME,
        allowed=tuple(allowed),
        purpose=purpose,
        gateway_key_id=gateway_key,
    )
    try:
        deployment.gateway.create_usage_plan_key(
            usagePlanId=deployment.outputs["UsagePlanId"], keyId=gateway_key, keyType="API_KEY"
        )
        deployment.tokens.put_item(Item=_item(token), ConditionExpression=Attr("key_hash").not_exists())
    except BaseException:
        deployment.gateway.delete_api_key(apiKey=gateway_key)
        raise
    return IssuedKey(token, key)


def list_all(deployment: Deployment) -> list[Token]:
    """Return every token, the latest first."""
    page = deployment.tokens.scan()
    items = [*page["Items"]]
    while "LastEvaluatedKey" in page:
        page = deployment.tokens.scan(ExclusiveStartKey=page["LastEvaluatedKey"])
        items += page["Items"]
    return sorted(map(token_of, items), key=lambda token: token.created, reverse=True)


def find(deployment: Deployment, token_id: str) -> Token:
    """Return a token by its id; ``UnknownTokenError`` when there is none."""
    found = deployment.tokens.query(IndexName="by_id", KeyConditionExpression=Key("id").eq(token_id))["Items"]
    if not found:
        raise UnknownTokenError(token_id)
    return token_of(found[0])


def revoke(deployment: Deployment, token_id: str) -> Token:
    """Take a key away, at once; doing so twice is as good as once."""
    token = find(deployment, token_id)
    if token.gateway_key_id:
        # First at the gateway: functions remember a token for a minute, the gateway does not. Deleted rather than
        # disabled: a key never comes back, and an account holds 10,000 of them
        # (https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html).
        try:
            deployment.gateway.delete_api_key(apiKey=token.gateway_key_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NotFoundException":
                raise
    deployment.tokens.update_item(
        Key={"key_hash": token.key_hash},
        UpdateExpression="SET #state = :revoked",
        ExpressionAttributeNames={"#state": "state"},
        ExpressionAttributeValues={":revoked": REVOKED},
    )
    return find(deployment, token_id)


def _item(token: Token) -> dict[str, str | list[str]]:
    values = {
        "key_hash": token.key_hash,
        "id": token.id,
        "organisation": token.organisation,
        "siret": token.siret,
        "scopes": sorted(token.scopes),
        "state": token.state,
        "created": token.created.isoformat(),
        "expires": token.expires.isoformat() if token.expires else None,
        "allowed": list(token.allowed) or None,
        "purpose": token.purpose,
        "gateway_key_id": token.gateway_key_id,
    }
    return {name: value for name, value in values.items() if value is not None}
