"""Responses as API Gateway takes them: JSON everywhere, XML on v1 where the caller prefers it, JSON:API on v3."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from api_particulier.api.request import Format
from api_particulier.errors import ApiError
from api_particulier.v3_errors import MEDIA_TYPE

if TYPE_CHECKING:
    from xml.dom.minidom import Document, Element

RATE_LIMIT = 20
"""Calls a second for a token; the usage plan in ``template.yaml`` enforces it."""

type Response = dict[str, Any]

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Strict-Transport-Security": "max-age=31536000",
    "RateLimit-Limit": str(RATE_LIMIT),
    "RateLimit-Policy": f"{RATE_LIMIT};w=1",
}
_CONTENT_TYPES: Final[Mapping[Format, str]] = {
    "json": "application/json; charset=utf-8",
    "xml": "application/xml; charset=utf-8",
    "jsonapi": MEDIA_TYPE,
}
# What XML 1.0 cannot hold, escaped or not (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def success(body: object, request_id: str, output: Format = "json") -> Response:
    """Return the response 200 that holds ``body``."""
    if output == "jsonapi":
        body = {"data": body, "links": {}, "meta": {}}
    return _response(200, body, request_id, output, root="result")


def text(content: str, media_type: str, request_id: str) -> Response:
    """Return the response 200 of a text that is neither JSON nor XML."""
    headers = {"Content-Type": f"{media_type}; charset=utf-8", "X-Request-Id": request_id}
    return {"statusCode": 200, "headers": HEADERS | headers, "body": content}


def refusal(error: ApiError, request_id: str, output: Format = "json") -> Response:
    """Return the response of an error, with its ``Retry-After`` where it has one."""
    response = _response(error.status, error.body, request_id, output, root="error")
    if error.retry_after is not None:
        response = with_headers(response, {"Retry-After": str(error.retry_after)})
    return response


def preflight(request_id: str) -> Response:
    """Return the response to a CORS preflight: any page may read (https://fetch.spec.whatwg.org/#cors-protocol)."""
    headers = {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, HEAD",
        "Access-Control-Allow-Headers": "*",
        "Access-Control-Max-Age": "86400",
        "X-Request-Id": request_id,
    }
    return {"statusCode": 204, "headers": headers, "body": ""}


def with_headers(response: Response, headers: Mapping[str, str]) -> Response:
    """Return a response with other headers, in place of its own where it has them."""
    return response | {"headers": {**response["headers"], **headers}}


def for_any_page(response: Response, seconds: int) -> Response:
    """Let pages of every origin read a response, and browsers keep it if it is a success."""
    age = {"Cache-Control": f"max-age={seconds}"} if response["statusCode"] == 200 else {}  # noqa: PLR2004 - OK
    return with_headers(response, {"Access-Control-Allow-Origin": "*", **age})


def _response(status: int, body: object, request_id: str, output: Format, *, root: str) -> Response:
    return {
        "statusCode": status,
        "headers": HEADERS | {"Content-Type": _CONTENT_TYPES[output], "X-Request-Id": request_id},
        "body": in_xml(root, body) if output == "xml" else _json(body),
    }


def _json(body: object) -> str:
    """Write JSON; a lone surrogate, which a provider's JSON may hold and UTF-8 cannot, is written "?"."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()


def in_xml(root: str, body: object) -> str:
    """Write XML: a list is its element repeated, ``null`` an empty element, a bare value is in ``data``."""
    from xml.dom.minidom import getDOMImplementation  # noqa: PLC0415 - 10 ms, for callers of XML only

    implementation = getDOMImplementation()
    assert implementation is not None  # noqa: S101 - the standard library has one
    document = implementation.createDocument(None, root, None)
    assert document.documentElement is not None  # noqa: S101 - just created
    _append(document, document.documentElement, body if isinstance(body, Mapping) else {"data": body})
    return document.toprettyxml(indent="\t", encoding="UTF-8").decode().rstrip("\n")


def _append(document: "Document", parent: "Element", members: Mapping[str, object]) -> None:
    for name, member in members.items():
        for value in member if isinstance(member, list) else [member]:
            element = parent.appendChild(document.createElement(name))
            if isinstance(value, Mapping):
                _append(document, element, value)
            elif value is not None:
                text = value if isinstance(value, str) else json.dumps(value)
                element.appendChild(document.createTextNode(_NOT_XML.sub("\ufffd", text)))
