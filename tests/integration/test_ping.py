"""Ping the API and its providers, with at most one call a minute to each provider (contract §1)."""

import importlib

import pytest

from tests.support.cloud import Cloud
from tests.support.function import Response, call_api, new_environment
from tests.support.tax_service import BLANK_PAGE, REFUSED_PAGE, TaxService

DOWN = {
    "error": "network_error",
    "reason": "The data provider cannot be reached",
    "message": "Le fournisseur de données ne répond pas, veuillez réessayer plus tard",
}


class Clock:
    """The time as the function reads it; a test moves it on."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> Clock:  # noqa: ARG001 - the tables are needed
    clock = Clock()
    for module in ("functions.ping.app", "api_particulier.providers.health"):
        monkeypatch.setattr(importlib.import_module(module), "time", clock)
    return clock


def ping_from_another_environment() -> Response:
    """Ping the tax service without a key, from an environment that has never been called."""
    new_environment()
    return call_api("ping/dgfip")


def test_the_api_answers_pong_without_a_key(cloud: Cloud) -> None:
    answer = call_api("ping/ping")
    assert (answer.status, answer.text) == (200, '"pong"')
    assert cloud.stats.scan()["Items"] == []


def test_the_api_answers_pong_without_any_table(cloud: Cloud) -> None:
    cloud.stats.delete()
    cloud.tokens.delete()
    cloud.audit.delete()
    assert call_api("ping/ping").text == '"pong"'


@pytest.mark.parametrize("door", ["ping/ping", "ping/dgfip"])
def test_pong_in_xml_is_as_in_2020(dgfip: TaxService, door: str) -> None:
    assert dgfip.url
    answer = call_api(door, headers={"Accept": "application/xml"})
    assert answer.text == '<?xml version="1.0" encoding="UTF-8"?>\n<result>\n\t<data>pong</data>\n</result>'


def test_a_provider_that_answers_is_up(dgfip: TaxService) -> None:
    answer = ping_from_another_environment()
    assert (answer.status, answer.text) == (200, '"pong"')
    assert dgfip.requests == [("GET", {})]


@pytest.mark.slow
def test_all_environments_together_ping_a_provider_once_a_minute(dgfip: TaxService, clock: Clock) -> None:
    for second in range(150):
        clock.now = 1_800_000_000 + second
        assert ping_from_another_environment().status == 200
    assert len(dgfip.requests) == 3  # at 0, 60 and 120


def test_a_provider_that_is_down_is_pinged_once_a_minute_too(dgfip: TaxService, clock: Clock) -> None:
    dgfip.status = 500
    for second in range(0, 120, 10):
        clock.now = 1_800_000_000 + second
        answer = ping_from_another_environment()
        assert (answer.status, answer.body) == (503, DOWN)
        assert int(answer.headers["Retry-After"]) > 0
    assert len(dgfip.requests) == 2


@pytest.mark.parametrize("fail", ["refuses", "fails", "is unreadable", "is not there"])
def test_a_provider_that_fails_is_down(dgfip: TaxService, monkeypatch: pytest.MonkeyPatch, fail: str) -> None:
    match fail:
        case "refuses":
            dgfip.form = REFUSED_PAGE
        case "fails":
            dgfip.status = 502
        case "is unreadable":
            dgfip.form = BLANK_PAGE
        case _:
            monkeypatch.setenv("DGFIP_SVAIR_URL", "http://127.0.0.1:1")
    answer = ping_from_another_environment()
    assert (answer.status, answer.body) == (503, DOWN)


def test_a_provider_is_up_again_once_it_answers_a_minute_later(dgfip: TaxService, clock: Clock) -> None:
    dgfip.status = 500
    assert ping_from_another_environment().status == 503
    dgfip.status = 200
    clock.now += 59
    assert ping_from_another_environment().status == 503
    clock.now += 1
    assert ping_from_another_environment().status == 200


def test_a_provider_is_down_once_it_fails_a_minute_later(dgfip: TaxService, clock: Clock) -> None:
    assert ping_from_another_environment().status == 200
    dgfip.status = 500
    clock.now += 59
    assert ping_from_another_environment().status == 200
    clock.now += 1
    assert ping_from_another_environment().status == 503


@pytest.mark.parametrize(
    ("known", "meanwhile"), [(None, 200), (200, 200), (500, 503)], ids=["never asked", "was up", "was down"]
)
def test_during_a_ping_other_callers_get_the_last_verdict(
    dgfip: TaxService, clock: Clock, known: int | None, meanwhile: int
) -> None:
    if known is not None:
        dgfip.status = known
        ping_from_another_environment()
        dgfip.requests.clear()
        dgfip.status = 200
        clock.now += 60
    others: list[int] = []
    dgfip.before_response = lambda: others.extend(ping_from_another_environment().status for _ in range(5))
    assert ping_from_another_environment().status == 200
    assert others == [meanwhile] * 5
    assert len(dgfip.requests) == 1


def test_a_ping_without_an_acceptable_format_does_not_call_the_provider(dgfip: TaxService) -> None:
    assert call_api("ping/dgfip", headers={"Accept": "text/html"}).status == 406
    assert dgfip.requests == []


def test_a_ping_without_its_table_is_an_internal_error(dgfip: TaxService, cloud: Cloud) -> None:
    cloud.stats.delete()
    answer = ping_from_another_environment()
    assert (answer.status, answer.body["error"]) == (500, "internal_server_error")
    assert dgfip.requests == []


def test_a_ping_needs_neither_the_tokens_table_nor_the_audit_table(dgfip: TaxService, cloud: Cloud) -> None:
    cloud.tokens.delete()
    cloud.audit.delete()
    assert ping_from_another_environment().status == 200
    assert len(dgfip.requests) == 1
