"""The public figures: how many answers the datasets gave in the last 30 days (contract §1)."""

from typing import Any, Final

from api_particulier import responses, statistics
from api_particulier.calls import Request
from api_particulier.errors import ApiError, InternalError, NotAcceptable
from api_particulier.observability import count_call, log_unforeseen
from api_particulier.responses import Response

_DETAILS: Final = "/api/stats/details"
_ANY_ORIGIN: Final = {"Access-Control-Allow-Origin": "*"}
_FOR_A_MINUTE: Final = {"Cache-Control": f"max-age={statistics.REMEMBERED}"}


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer the number alone, or what it is made of. Anyone may ask, from any page."""
    request = Request.of(event)
    wants_xml, status = request.wants_xml(), 200
    xml = wants_xml is True
    try:
        if wants_xml is None:
            raise NotAcceptable  # noqa: TRY301 - one place turns errors into answers
        figures = statistics.figures()
        body = figures.described() if request.route == _DETAILS else figures.total
        response = responses.with_headers(responses.data(body, request.id, xml=xml), _FOR_A_MINUTE)
    except ApiError as error:
        status, response = error.status, responses.refusal(error, request.id, xml=xml)
    except Exception as error:  # noqa: BLE001 - whatever happens, an answer of ours that tells nothing of it
        log_unforeseen(error, request.id)
        status, response = 500, responses.refusal(InternalError(), request.id, xml=xml)
    count_call("stats", status, 0, route=request.route, request_id=request.id)
    return responses.with_headers(response, _ANY_ORIGIN)
