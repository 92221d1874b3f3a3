"""What a provider says in other ways than by an HTTP status: that it is unavailable, and when to ask again."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Final
from urllib.parse import urlsplit

from api_particulier.errors import ProviderFailure, ProviderInvalidResponse, ProviderUnavailable

MAX_DELAY: Final = 600
"""Seconds of a provider's ``Retry-After`` that are passed on, at most."""
_SIGN: Final = re.compile(
    r"indispo|maintenance|hors[-_ ]?service|unavailable|momentan[ée]ment|temporairement", re.IGNORECASE
)
_PERMANENT: Final = frozenset({301, 308})


def has_sign(text: str) -> bool:
    """Return whether a text, an identifier or an address is about an outage."""
    return _SIGN.search(text) is not None


def is_redirection_away(status: int, location: str, base_url: str) -> bool:
    """Return whether a redirection leaves the service: for a page about an outage, or for another host for now."""
    host = urlsplit(location).netloc
    return has_sign(location) or (status not in _PERMANENT and host not in {"", urlsplit(base_url).netloc})


def not_understood(headers: Mapping[str, str], content: bytes) -> ProviderFailure:
    """Return the error of a response that is not the expected document: an outage, if that is what it is about."""
    if has_sign(unescape(content.decode(errors="replace"))):
        return ProviderUnavailable(retry_after=delay(headers))
    return ProviderInvalidResponse()


def delay(headers: Mapping[str, str]) -> int | None:
    """Return the seconds of ``Retry-After``, between 1 and ``MAX_DELAY``; None without one (RFC 9110 §10.2.3)."""
    written = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,20}", written):
        seconds = int(written)
    else:
        try:
            moment = parsedate_to_datetime(written)
        except ValueError:
            return None
        seconds = round((moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
    return min(max(seconds, 1), MAX_DELAY)
