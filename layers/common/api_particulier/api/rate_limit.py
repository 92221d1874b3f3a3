"""How often a caller without a key may try something in an hour, counted in the statistics table."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from typing import Final

from api_particulier.audit.pseudonyms import pseudonym
from api_particulier.aws import dynamodb
from api_particulier.dynamodb import Table
from api_particulier.errors import TooManyAttempts
from api_particulier.settings import settings

_HOUR: Final = timedelta(hours=1)
_IPV6_HOME: Final = 64
"""The prefix that a home is given, within which its machines choose their addresses."""


def hit(caller: str, allowed: int) -> int:
    """Count an attempt of a caller, a pseudonym, and return how many it made in this hour.

    Raise ``TooManyAttempts`` once ``allowed`` were made.

    Raise botocore's errors when it cannot be counted: the attempt must not be let through then.
    """
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    counted = Table(dynamodb(), settings().stats_table).update(
        {"pk": f"limit#{caller}", "sk": f"{hour:%Y-%m-%dT%H}"},
        "ADD tries :more SET expires_at = :forgotten",
        condition="attribute_not_exists(tries) OR tries < :allowed",
        values={"more": 1, "allowed": allowed, "forgotten": round((hour + 2 * _HOUR).timestamp())},
    )
    if counted is None:
        raise TooManyAttempts(int((hour + _HOUR - now).total_seconds()) + 1)
    return int(counted["tries"])


def hit_from(address: str, what: str, allowed: int) -> None:
    """Count an attempt from an address, as ``hit`` does; the address is kept as a pseudonym."""
    hit(pseudonym(f"{what}:{network_of(address)}", datetime.now(UTC)), allowed)


def count(caller: str) -> int:
    """Count an attempt of a caller, a pseudonym, and return how many it made in this hour; raise botocore's errors."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    counted = Table(dynamodb(), settings().stats_table).update(
        {"pk": f"limit#{caller}", "sk": f"{hour:%Y-%m-%dT%H}"},
        "ADD tries :more SET expires_at = :forgotten",
        values={"more": 1, "forgotten": round((hour + 2 * _HOUR).timestamp())},
    )
    return int(counted["tries"]) if counted else 1


def network_of(address: str) -> str:
    """Return what a person's machines share of an address: an IPv4 address whole, the first half of an IPv6 one."""
    parsed = ip_address(address)
    return str(parsed) if parsed.version == 4 else str(ip_network((parsed, _IPV6_HOME), strict=False))  # noqa: PLR2004 - IPv4
