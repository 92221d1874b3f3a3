"""AWS services fail, one at a time, under the deployed functions, which reach AWS through a failing proxy."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from werkzeug.exceptions import NotFound
from werkzeug.middleware.http_proxy import ProxyMiddleware

from tests.e2e.test_outage import Caller, check_records_and_counters
from tests.support.aws import ERRORS, FailingAws
from tests.support.stack import Stack
from tests.support.wire import serve

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

UNAVAILABLE = (503, "audit_unavailable")


def forwarding_to(url: str) -> "WSGIApplication":
    """Return an application that passes requests on unchanged: their signature covers the host and the path."""
    to = {"target": url, "remove_prefix": False, "host": None, "headers": {}, "ssl_context": None}
    middleware = ProxyMiddleware(NotFound(), {})
    return lambda environ, start: middleware.proxy_to(to, environ["PATH_INFO"], "/")(environ, start)


@pytest.fixture(scope="module")
def proxy(stack: Stack) -> Iterator[FailingAws]:
    """Have one dataset of each provider reach AWS through a proxy."""
    failing = FailingAws(forwarding_to(stack.description["cloud_url"]))
    with (
        serve(failing) as url,
        stack.with_variables("QuotientFamilial", AWS_ENDPOINT_URL=url),
        stack.with_variables("RevenuFiscalReference", AWS_ENDPOINT_URL=url),
    ):
        yield failing


@pytest.fixture
def aws(proxy: FailingAws) -> Iterator[FailingAws]:
    yield proxy
    proxy.failing = []
    proxy.error = ERRORS["fails"]


def call_both(town: Caller) -> list[tuple[int, str | None]]:
    """Call a dataset of each provider, and return the statuses and error codes."""
    responses = [town.caf(), town.dgfip()]
    assert all(("Retry-After" in response.headers) == (response.status_code == 503) for response in responses)
    return [(response.status_code, response.json().get("error")) for response in responses]


def check_recovery(stack: Stack, town: Caller) -> None:
    """Check that calls succeed again, and that each call but those refused for lack of an audit has its record."""
    assert call_both(town) == [(200, None), (200, None)]
    town.answers = [response for response in town.answers if response.json().get("error") != "audit_unavailable"]
    check_records_and_counters(stack, town)


@pytest.mark.parametrize("error", ERRORS)
def test_when_the_audit_cannot_be_written_no_data_is_returned(stack: Stack, aws: FailingAws, error: str) -> None:
    town = Caller(stack)
    aws.error, aws.failing = ERRORS[error], [stack.description["tables"]["audit"]]
    assert call_both(town) == [UNAVAILABLE, UNAVAILABLE]
    aws.failing = []
    check_recovery(stack, town)


def test_when_kms_fails_only_new_environments_refuse(stack: Stack, aws: FailingAws) -> None:
    town = Caller(stack)
    assert call_both(town) == [(200, None), (200, None)]
    aws.failing = ["TrentService"]
    stack.new_environment("QuotientFamilial")
    assert call_both(town) == [UNAVAILABLE, (200, None)]
    aws.failing = []
    check_recovery(stack, town)


def test_when_secrets_manager_fails_only_datasets_with_a_certificate_refuse(stack: Stack, aws: FailingAws) -> None:
    town = Caller(stack)
    aws.failing = ["secretsmanager"]
    stack.new_environment("QuotientFamilial")
    stack.new_environment("RevenuFiscalReference")
    assert call_both(town) == [(500, "internal_server_error"), (200, None)]
    aws.failing = []
    check_recovery(stack, town)
