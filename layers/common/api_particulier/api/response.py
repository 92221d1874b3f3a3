"""Answers as API Gateway takes them: JSON everywhere, XML on v1 for who asks for it (contract §3.5)."""

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from api_particulier.errors import ApiError

if TYPE_CHECKING:
    from xml.dom.minidom import Document, Element

RATE_LIMIT = 20
"""Calls a second for one token; the usage plan in ``template.yaml`` enforces it."""

type Response = dict[str, object]

HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "RateLimit-Limit": str(RATE_LIMIT),
    "RateLimit-Policy": f"{RATE_LIMIT};w=1",
}
# What XML 1.0 cannot hold, escaped or not (https://www.w3.org/TR/xml/#charsets).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def data(body: object, request_id: str, *, xml: bool = False) -> Response:
    return _response(200, body, request_id, xml=xml, root="result")


def text(content: str, media_type: str, request_id: str) -> Response:
    headers = {"Content-Type": f"{media_type}; charset=utf-8", "X-Request-Id": request_id}
    return {"statusCode": 200, "headers": HEADERS | headers, "body": content}


def refusal(error: ApiError, request_id: str, *, xml: bool = False) -> Response:
    response = _response(error.status, error.body, request_id, xml=xml, root="error")
    if error.retry_after is not None:
        response = with_headers(response, {"Retry-After": str(error.retry_after)})
    return response


def with_headers(response: Response, more: Mapping[str, str]) -> Response:
    """Return ``response`` with other headers, in place of its own where it has them."""
    headers = response["headers"]
    assert isinstance(headers, dict)  # noqa: S101 - made by _response
    return response | {"headers": {**headers, **more}}


def for_any_page(response: Response, kept: int) -> Response:
    """Let any page read ``response``, and a browser keep it for ``kept`` seconds; a refusal is kept by nobody."""
    good = response["statusCode"] == 200  # noqa: PLR2004 - OK
    age = {"Cache-Control": f"max-age={kept}"} if good else {}
    return with_headers(response, {"Access-Control-Allow-Origin": "*", **age})


def _response(status: int, body: object, request_id: str, *, xml: bool, root: str) -> Response:
    kind = "xml" if xml else "json"
    return {
        "statusCode": status,
        "headers": HEADERS | {"Content-Type": f"application/{kind}; charset=utf-8", "X-Request-Id": request_id},
        "body": in_xml(root, body) if xml else _json(body),
    }


def _json(body: object) -> str:
    """Write ``body`` as JSON; half a character, which a provider's JSON may hold and UTF-8 cannot, is a "?"."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace").decode()


def in_xml(root: str, body: object) -> str:
    """Write ``body`` as XML: a list is its element repeated, ``null`` an empty element, a bare value is in ``data``."""
    from xml.dom.minidom import getDOMImplementation  # noqa: PLC0415 - only who asks for XML pays for it

    implementation = getDOMImplementation()
    assert implementation is not None  # noqa: S101 - the standard library has one
    document = implementation.createDocument(None, root, None)
    assert document.documentElement is not None  # noqa: S101 - just created
    _append(document, document.documentElement, body if isinstance(body, Mapping) else {"data": body})
    return document.toprettyxml(indent="\t", encoding="UTF-8").decode().rstrip("\n")


def _append(document: "Document", parent: "Element", members: Mapping[str, object]) -> None:
    for name, value in members.items():
        for one in value if isinstance(value, list) else [value]:
            element = parent.appendChild(document.createElement(name))
            if isinstance(one, Mapping):
                _append(document, element, one)
            elif one is not None:
                text = one if isinstance(one, str) else json.dumps(one)
                element.appendChild(document.createTextNode(_NOT_XML.sub("\ufffd", text)))
