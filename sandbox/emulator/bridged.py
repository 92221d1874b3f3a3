"""MiniStack with keys found by an authoriser, addresses that an update keeps, and few environments, quick to start.

AWS reads a caller's key where ``apiKeySource`` of the API says: in the header ``X-API-Key``, or in the
``usageIdentifierKey`` that the authoriser returned. MiniStack always reads the header; here, the authoriser's value
takes its place where the source is AUTHORIZER. AWS replaces the content of an API that is updated, and keeps its id.
MiniStack makes another API; here, its content goes to the one that there was. MiniStack starts a process for each call
in flight, unpacks its layers again for each, and keeps one of each version; here, a burst waits for those that there
are, what is unpacked is shared, as the content of a layer never changes, and a version's environments end with it.

hypercorn loads this file in MiniStack's own environment: it imports nothing of the project.
"""

import json
import tempfile
import time
import zipfile
from contextvars import ContextVar
from hashlib import sha256
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

from ministack.app import app  # type: ignore[import-not-found]  # of MiniStack's environment
from ministack.core import lambda_runtime as environments  # type: ignore[import-not-found]  # the same
from ministack.services import apigateway_v1 as gateway  # type: ignore[import-not-found]  # the same
from ministack.services import lambda_svc as functions
from ministack.services.cloudformation import provisioners  # type: ignore[import-not-found]  # the same

__all__ = ["app"]

_ENVIRONMENTS = 6
"""Of one function, at the same time: a call more waits for one. Each is a process, and 30 of them take longer to start
than the time limit of a call."""
_WAIT = 0.005
"""Seconds between two looks for a free environment."""

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


_acquire = functions.acquire_worker


def _acquire_in_turn(name: str, config: Any, code: bytes, qualifier: str = "$LATEST") -> Any:
    while True:
        worker, reason = _acquire(name, config, code, qualifier, _ENVIRONMENTS)
        if worker is not None:
            if reason == "spawn" and qualifier.isdigit():
                _end_before(name, int(qualifier))
            return worker, reason
        time.sleep(_WAIT)


def _end_before(name: str, version: int) -> None:
    """End the idle environments of a function's versions before this one, which its alias left."""
    ended = []
    with environments._lock:
        for key, pool in environments._workers.items():
            _, _, function, qualifier = key.split(":")
            if function == name and qualifier.isdigit() and int(qualifier) < version:
                ended += [worker for worker in pool if not worker.in_use]
                pool[:] = [worker for worker in pool if worker.in_use]
    environments.kill_workers(ended)


functions.acquire_worker = _acquire_in_turn


_UNPACKING = Lock()
"""One environment at a time: a deployment starts 20 at once, each with the same layer."""


class _SharedZip(zipfile.ZipFile):
    """A zip that is unpacked once: what is asked to hold its content becomes a link to it."""

    def namelist(self) -> list[str]:
        """Return nothing: MiniStack would look each name up in the file system, which ``extractall`` need not."""
        return []

    def extractall(self, path: Any = None, *_: Any) -> None:
        assert self.filename  # noqa: S101 - MiniStack opens those of functions and layers by their path
        shared = Path(tempfile.gettempdir()) / sha256(Path(self.filename).read_bytes()).hexdigest()
        with _UNPACKING:
            if not shared.exists():
                unpacked = tempfile.mkdtemp()
                super().extractall(unpacked, super().namelist())
                Path(unpacked).rename(shared)
        folder = Path(path)
        folder.rmdir()
        folder.symlink_to(shared)


environments.zipfile = SimpleNamespace(**vars(zipfile) | {"ZipFile": _SharedZip})


_API = provisioners._RESOURCE_HANDLERS["AWS::ApiGateway::RestApi"]
_update_api = _API["update"]
_CONTENT = (gateway._rest_apis, gateway._resources, gateway._authorizers_v1, gateway._models)


def _update_in_place(api_id: str, old: Any, new: Any, stack_name: str, logical_id: str | None = None) -> Any:
    if new.get("Body") == old.get("Body"):
        return _update_api(api_id, old, new, stack_name, logical_id)
    made, attributes = _API["create"](logical_id or api_id, new, stack_name)
    for content in _CONTENT:
        if made in content:
            content[api_id] = content.pop(made)
    gateway._rest_apis[api_id]["id"] = api_id
    gateway._delete_rest_api(made)
    named = {name: value.replace(made, api_id) for name, value in attributes.items() if isinstance(value, str)}
    return api_id, attributes | named


_API["update"] = _update_in_place
