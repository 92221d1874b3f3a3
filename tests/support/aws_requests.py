"""Requests of boto3's clients: recorded, or interrupted by a test before they are sent."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.client import BaseClient

type Request = tuple[str, str]
"""An operation and its table, empty for other services: ``("PutItem", "audit")``."""


def before_each(monkeypatch: pytest.MonkeyPatch, hook: Callable[[Request], object]) -> None:
    """Call ``hook`` before each request to AWS, in the thread that makes it."""
    # No public interface of botocore sees every operation before it is sent.
    send = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 - every operation goes through it

    def hooked(client: BaseClient, operation: str, request: dict[str, Any]) -> Any:
        hook((operation, str(request.get("TableName", ""))))
        return send(client, operation, request)

    monkeypatch.setattr(BaseClient, "_make_api_call", hooked)


def record(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """Return a list to which each request to AWS is added."""
    requests: list[Request] = []
    before_each(monkeypatch, requests.append)
    return requests
