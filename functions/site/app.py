"""The pages that people read: what the API is for, its documentation, its figures, its status, how to ask for it."""

from typing import Any, Final

from api_particulier.api.response import Response
from api_particulier.observability import LogEvent, log
from api_particulier.public import site

_HOME: Final = "/"


def lambda_handler(event: dict[str, Any], _context: object) -> Response:
    """Answer a page or what it is made of; anyone may read, and nothing of who does is kept."""
    route, request_id = event["resource"], event["requestContext"]["requestId"]
    path = event["path"].strip("/")
    if route == _HOME and not event["requestContext"]["path"].endswith("/"):
        response = site.with_slash(event["requestContext"]["path"], request_id)
    else:
        headers = {name.lower(): value for name, value in (event["headers"] or {}).items()}
        response = site.answer(path, request_id, accepts_gzip="gzip" in headers.get("accept-encoding", ""))
    status = response["statusCode"]
    assert isinstance(status, int)  # noqa: S101 - made by website
    log(LogEvent.ANSWERED, dataset="site", route=route, status=status, request_id=request_id)
    return response
