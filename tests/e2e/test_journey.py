"""The main use on the deployed stack: a key and a citizen's two numbers give the data of the tax service."""

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest
import requests

from tests.support.stack import NUMBERS, RFR_ROUTE, Stack


def test_a_citizens_two_numbers_give_the_rfr(stack: Stack) -> None:
    response = stack.get(RFR_ROUTE, **NUMBERS)
    assert response.status_code == 200
    assert list(response.json()) == ["revenuFiscalReference", "nombreParts", "anneeImpots", "anneeRevenus"]
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert response.headers["X-Request-Id"]


def test_v1_and_v2_give_the_same_notice(stack: Stack) -> None:
    v1, v2 = (stack.get(route, **NUMBERS) for route in ("/impots/svair", "/v2/avis-imposition"))
    assert v1.status_code == v2.status_code == 200
    assert v1.json() == v2.json()
    assert v2.json()["revenuFiscalReference"] == stack.get(RFR_ROUTE, **NUMBERS).json()["revenuFiscalReference"]


def test_a_token_sees_its_fields_and_no_other(stack: Stack) -> None:
    town = stack.issue_key("dgfip_revenu_fiscal_reference", "cnaf_quotient_familial")
    whole, masked = (stack.get("/v2/avis-imposition", key=key, **NUMBERS) for key in (stack.api_key, town["key"]))
    assert masked.json() == {"revenuFiscalReference": whole.json()["revenuFiscalReference"]}
    refused = stack.get("/v2/declarants", key=town["key"], **NUMBERS)
    assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
    introspected = stack.get("/introspect", key=town["key"]).json()
    assert introspected == {"_id": town["id"], "name": "VILLE EXEMPLE", "scopes": town["scopes"]}


def test_only_an_active_key_is_accepted(stack: Stack) -> None:
    expired = stack.issue_expired_key("dgfip_avis_imposition")
    revoked = stack.issue_key("dgfip_avis_imposition")
    assert stack.get(RFR_ROUTE, key=revoked["key"], **NUMBERS).status_code == 200
    assert stack.run_cli("keys", "revoke", revoked["id"])["state"] == "revoked"
    for key in (expired["key"], revoked["key"], "0" * 64, ""):
        response = stack.get(RFR_ROUTE, key=key, **NUMBERS)
        assert response.status_code == 401
        assert response.json() == {
            "error": "access_denied",
            "reason": "Token not found or inactive",
            "message": "Votre jeton d'API n'a pas été trouvé ou n'est pas actif",
        }
        assert response.headers["X-Request-Id"]


def test_the_operator_finds_a_key_and_never_its_value(stack: Stack) -> None:
    issued = stack.issue_key("dgfip_nombre_parts")
    shown = stack.run_cli("keys", "show", issued["id"])
    assert (shown["scopes"], shown["state"]) == (["dgfip_nombre_parts"], "active")
    listed = stack.run_cli("keys", "list")
    assert issued["id"] in [key["id"] for key in listed]
    assert issued["key"] not in json.dumps([shown, listed])
    assert "no token has the id" in stack.run_cli("keys", "show", "unknown", expect=1)


def test_over_20_calls_a_second_a_key_is_throttled_and_the_others_are_not(stack: Stack) -> None:
    busy, quiet = stack.issue_key("dgfip_avis_imposition"), stack.issue_key("dgfip_avis_imposition")
    responses = list[requests.Response]()
    with ThreadPoolExecutor(8) as pool:
        # Repeated until throttled: on a slow machine the first rounds are spent starting functions.
        while not any(response.status_code == 429 for response in responses) and len(responses) < 1000:
            asking = pool.map(lambda key: stack.get("/introspect", key=key), repeat(busy["key"], 60))
            assert stack.get("/introspect", key=quiet["key"]).status_code == 200
            responses += asking
    throttled = [response for response in responses if response.status_code == 429]
    assert 0 < len(throttled) < len(responses)
    assert {response.status_code for response in responses} == {200, 429}
    for response in throttled:
        assert response.json()["error"] == "rate_limited"
        assert int(response.headers["Retry-After"]) >= 1


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_an_unsupported_method_is_not_found(stack: Stack, method: str) -> None:
    response = requests.request(method, f"{stack.api_url}{RFR_ROUTE}", timeout=60)
    assert (response.status_code, response.json()["error"]) == (404, "not_found")


def test_an_unknown_route_is_not_found(stack: Stack) -> None:
    response = stack.get("/nope")
    assert (response.status_code, response.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("route", ["/ping", "/impots/ping"])
def test_anyone_may_ping(stack: Stack, route: str) -> None:
    response = stack.get(route, key="")
    assert (response.status_code, response.json()) == (200, "pong")
