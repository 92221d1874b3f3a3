"""MiniStack with the two things that its API Gateway lacks of keys found by an authoriser.

AWS reads a caller's key where ``apiKeySource`` of the API says: in the header ``X-API-Key``, or in the
``usageIdentifierKey`` that the authoriser returned. MiniStack always reads the header; here, the authoriser's value
takes its place where the source is AUTHORIZER.

hypercorn loads this file in MiniStack's own environment: it imports nothing of the project.
"""

import json
from contextvars import ContextVar
from typing import Any

from ministack.app import app  # type: ignore[import-not-found]  # of MiniStack's environment
from ministack.services import apigateway_v1 as gateway  # type: ignore[import-not-found]  # the same

__all__ = ["app"]

_CARRIED = "usageIdentifierKey"
"""What MiniStack's cache of answers keeps of an authoriser's is its context: the value travels there."""
_usage_key: ContextVar[str | None] = ContextVar("usage_key", default=None)
"""Of the request under way; None where the header is the source."""

_invoke, _authorize, _from_header = (
    gateway._invoke_authorizer_lambda,
    gateway._authorize_request_v1,
    gateway._api_key_from_request,
)


async def _invoke_authorizer(authorizer: Any, *arguments: Any) -> Any:
    result = await _invoke(authorizer, *arguments)
    answer = result.get("body") if result and not result.get("error") else None
    if isinstance(answer, (str, bytes)):
        answer = json.loads(answer)
    if isinstance(answer, dict) and _CARRIED in answer:
        context = {**(answer.get("context") or {}), _CARRIED: answer[_CARRIED]}
        return {**result, "body": {**answer, "context": context}}
    return result


async def _authorize_request(api_id: str, *arguments: Any) -> Any:
    error, context = await _authorize(api_id, *arguments)
    source = (gateway._rest_apis.get(api_id) or {}).get("apiKeySource")
    carried = (context or {}).get(_CARRIED, "")
    _usage_key.set(carried if source == "AUTHORIZER" else None)
    if context:
        context = {name: value for name, value in context.items() if name != _CARRIED}
    return error, context


def _api_key(headers: Any) -> str:
    found = _usage_key.get()
    return _from_header(headers) if found is None else found


gateway._invoke_authorizer_lambda = _invoke_authorizer
gateway._authorize_request_v1 = _authorize_request
gateway._api_key_from_request = _api_key
