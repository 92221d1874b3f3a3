"""AWS fails under the deployed functions, which reach it through a door that refuses what it is told to."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from werkzeug.exceptions import NotFound
from werkzeug.middleware.http_proxy import ProxyMiddleware

from tests.e2e.test_outage import Caller, nothing_is_lost
from tests.support.aws import ERRORS, FailingAws
from tests.support.stack import Stack
from tests.support.wire import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

UNAVAILABLE = (503, "audit_unavailable")


def forwarding_to(url: str) -> "WSGIApplication":
    """Return an application that passes everything on as it came: who is there checks signatures, host and path too."""
    to = {"target": url, "remove_prefix": False, "host": None, "headers": {}, "ssl_context": None}
    proxy = ProxyMiddleware(NotFound(), {})
    return lambda environ, start: proxy.proxy_to(to, environ["PATH_INFO"], "/")(environ, start)


@pytest.fixture(scope="module")
def door(stack: Stack) -> Iterator[FailingAws]:
    """Let a dataset of each provider reach AWS by the door, and put everything back."""
    played = FailingAws(forwarding_to(stack.description["cloud_url"]))
    with (
        serve(played) as url,
        stack.with_variables("QuotientFamilial", AWS_ENDPOINT_URL=url),
        stack.with_variables("RevenuFiscalReference", AWS_ENDPOINT_URL=url),
    ):
        yield played


@pytest.fixture
def aws(door: FailingAws) -> Iterator[FailingAws]:
    yield door
    door.failing = []
    door.error = ERRORS["fails"]


def got(town: Caller) -> list[tuple[int, str | None]]:
    """Ask both providers' datasets, and return what the caller got of each."""
    responses = [town.caf(), town.dgfip()]
    assert all(("Retry-After" in response.headers) == (response.status_code == 503) for response in responses)
    return [(response.status_code, response.json().get("error")) for response in responses]


def works(stack: Stack, town: Caller) -> None:
    """Check that all is well again, and that what was answered meanwhile without an entry held no data."""
    assert got(town) == [(200, None), (200, None)]
    town.answers = [response for response in town.answers if response.json().get("error") != "audit_unavailable"]
    nothing_is_lost(stack, town)


@pytest.mark.parametrize("error", ERRORS)
def test_when_the_audit_cannot_be_written_no_data_is_returned(stack: Stack, aws: FailingAws, error: str) -> None:
    town = Caller(stack)
    aws.error, aws.failing = ERRORS[error], [stack.description["tables"]["audit"]]
    assert got(town) == [UNAVAILABLE, UNAVAILABLE]
    aws.failing = []
    works(stack, town)


def test_when_kms_fails_only_new_environments_refuse(stack: Stack, aws: FailingAws) -> None:
    town = Caller(stack)
    assert got(town) == [(200, None), (200, None)]
    aws.failing = ["TrentService"]
    stack.new_environment("QuotientFamilial")
    assert got(town) == [UNAVAILABLE, (200, None)]
    aws.failing = []
    works(stack, town)


def test_when_secrets_manager_fails_only_datasets_with_a_certificate_refuse(stack: Stack, aws: FailingAws) -> None:
    town = Caller(stack)
    aws.failing = ["secretsmanager"]
    stack.new_environment("QuotientFamilial")
    stack.new_environment("RevenuFiscalReference")
    assert got(town) == [(500, "internal_server_error"), (200, None)]
    aws.failing = []
    works(stack, town)
