"""How often somebody without a key may try something in an hour, counted in the statistics table by every function."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Final

from botocore.exceptions import ClientError

from api_particulier.aws import dynamodb
from api_particulier.errors import TooManyAttempts
from api_particulier.settings import settings

_HOUR: Final = timedelta(hours=1)
_IPV6_HOME: Final = 64
"""The prefix that a home is given, within which its machines take addresses as they like."""


def hit(who: str, allowed: int) -> None:
    """Count one try of ``who``, a pseudonym; ``TooManyTries`` once there were ``allowed`` in this hour.

    Botocore's errors when it cannot be counted, and then it is not to be let through.
    """
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    try:
        dynamodb().update_item(
            TableName=settings().stats_table,
            Key={"pk": {"S": f"limit#{who}"}, "sk": {"S": f"{hour:%Y-%m-%dT%H}"}},
            UpdateExpression="ADD tries :one SET expires_at = :forgotten",
            ConditionExpression="attribute_not_exists(tries) OR tries < :allowed",
            ExpressionAttributeValues={
                ":one": {"N": "1"},
                ":allowed": {"N": f"{allowed}"},
                ":forgotten": {"N": f"{(hour + 2 * _HOUR).timestamp():.0f}"},
            },
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
            raise
        raise TooManyAttempts(int((hour + _HOUR - now).total_seconds()) + 1) from None


def network_of(address: str) -> str:
    """Return what a person's machines share of an address: an IPv4 address whole, the first half of an IPv6 one."""
    read = ip_address(address)
    return str(read) if read.version == 4 else str(ip_network((read, _IPV6_HOME), strict=False))  # noqa: PLR2004 - IPv4
