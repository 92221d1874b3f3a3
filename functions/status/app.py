"""Status: whether each provider and dataset answers now, and did over 30 days. Anyone may ask, from any page."""

from typing import Any, Final

from api_particulier import responses, status
from api_particulier.calls import serve_without_key
from api_particulier.responses import Response

_ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*"}
_FOR_A_WHILE: Final = {"Cache-Control": f"max-age={status.REMEMBERED}"}


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer the status."""
    response = serve_without_key(event, "status", lambda _: status.current())
    good = response["statusCode"] == 200  # noqa: PLR2004 - OK
    return responses.with_headers(response, _ANY_ORIGIN | _FOR_A_WHILE if good else _ANY_ORIGIN)
