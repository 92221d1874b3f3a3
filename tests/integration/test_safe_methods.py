"""HEAD, preflights and unserved methods of the resources without a key, and bodies as each client reads them."""

import gzip
from base64 import b64decode
from typing import Any

import pytest

from tests.support.cloud import Cloud
from tests.support.function import Response, event, invoke
from tests.support.tax_service import TaxService
from tests.support.template import described_routes, resources

PUBLIC = [
    *("ping/ping", "ping/dgfip", "stats/stats", "stats/details", "status/status", "key_link/page", "site/home"),
    *("site/page", "site/guide", "site/asset", "site/open-api", "site/open-api-v1"),
]
"""A resource of each kind without a key."""
ANY_ORIGIN = ["stats/stats", "stats/details", "status/status", "site/open-api", "site/open-api-v1"]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("cloud", "dgfip", "site")]


def ask(name: str, method: str = "GET", **headers: str) -> Response:
    made: dict[str, Any] = event(name, headers=headers) | {"httpMethod": method}
    return invoke(made, name.split("/", maxsplit=1)[0])


def test_every_route_without_a_key_that_is_read_serves_head() -> None:
    for function in resources("AWS::Serverless::Function").values():
        events = [each["Properties"] for each in function.get("Events", {}).values() if each["Type"] == "Api"]
        served = {(each["Method"], each["Path"]) for each in events}
        for route in described_routes(function):
            if route.get("Auth", {}).get("Authorizer") == "NONE" and route["Method"] == "get":
                assert {("any", route["Path"]), ("head", route["Path"])} & served


@pytest.mark.parametrize("name", PUBLIC)
def test_head_is_answered_as_get_so_that_the_gateway_knows_the_length(name: str) -> None:
    got, head = ask(name), ask(name, "HEAD")
    assert (head.status, head.headers, head.text) == (got.status, got.headers, got.text)


def test_head_of_the_access_log_is_audited_as_get(cloud: Cloud) -> None:
    got, head = ask("citizen_access/avis"), ask("citizen_access/avis", "HEAD")
    assert (got.status, head.status) == (200, 200)
    assert len(cloud.audit_records()) == 2


@pytest.mark.parametrize("name", ANY_ORIGIN)
def test_a_preflight_lets_pages_of_any_origin_read(name: str, dgfip: TaxService) -> None:
    headers = {"Origin": "https://exemple.fr", "Access-Control-Request-Method": "GET"}
    answer = ask(name, "OPTIONS", **headers)
    assert (answer.status, answer.text) == (204, "")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]
    assert dgfip.requests == []


@pytest.mark.parametrize("name", PUBLIC)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_another_method_is_no_such_route(name: str, method: str) -> None:
    if (name == "key_link/page" and method == "POST") or (name in ANY_ORIGIN and method == "OPTIONS"):
        return
    answer = ask(name, method)
    assert (answer.status, answer.body["error"]) == (404, "not_found")
    assert answer.headers["X-Request-Id"]


# ── The bodies of pages ──────────────────────────────────────────────────────────────────────────────────────────────


def page(accept: str | None, encoding: str | None, name: str = "site/home") -> dict[str, Any]:
    from functions.site.app import lambda_handler

    made = event(name)
    for header, value in (("Accept", accept), ("Accept-Encoding", encoding)):
        made["headers"].pop(header, None)
        if value is not None:
            made["headers"][header] = value
    answer: dict[str, Any] = lambda_handler(made, None)
    return answer


@pytest.mark.parametrize("encoding", [None, "gzip", "identity"])
def test_without_accept_a_page_is_text(encoding: str | None) -> None:
    """The gateway sends base64 as it is to a client without ``Accept``, as Go's and Python's default ones."""
    answer = page(None, encoding)
    assert not answer["isBase64Encoded"]
    assert answer["body"].startswith("<!DOCTYPE html>")
    assert "Content-Encoding" not in answer["headers"]


@pytest.mark.parametrize(
    ("encoding", "compressed"),
    [
        *[(accepting, True) for accepting in ("gzip", "GZIP", "x-gzip", "*", "br, gzip;q=0.2", "gzip;q=1.0, identity")],
        *[(accepting, True) for accepting in ("gzip;q=0.5, *;q=0", "identity;q=0.2, gzip;q=0.3", "identity;q=0, gzip")],
        *[(refusing, False) for refusing in (None, "", "gzip;q=0", "gzip;q=0.000", "GZip; Q=0", "identity", "br")],
        *[
            (refusing, False)
            for refusing in ("*;q=0", "gzip;q=0, *", "identity;q=1, gzip;q=0.5", "gzipped", "gzip;q=x")
        ],
    ],
)
def test_a_page_is_compressed_for_clients_that_accept_it(encoding: str | None, *, compressed: bool) -> None:
    answer = page("text/html", encoding)
    assert ("Content-Encoding" in answer["headers"]) is answer["isBase64Encoded"] is compressed
    text = gzip.decompress(b64decode(answer["body"])).decode() if compressed else answer["body"]
    assert text.startswith("<!DOCTYPE html>")
