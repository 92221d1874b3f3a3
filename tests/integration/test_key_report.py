"""Report a key that was seen in public: it is revoked at once."""

import json
from collections.abc import Callable

import pytest

from tests.support.cloud import Cloud
from tests.support.datapass import Town
from tests.support.function import Response, event, invoke, new_environment


@pytest.fixture
def town(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Town:
    town = Town(cloud, monkeypatch)
    town.notify()
    return town


def report(body: object) -> Response:
    return invoke(event("key_report/report") | {"body": json.dumps(body)}, "key_report")


def history(town: Town) -> list[str]:
    return [entry.event for entry in town.repository.history("26001")]


def test_a_reported_key_stops_working_at_once(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    key = town.show_key()
    assert town.introspect(key).status == 200
    assert report({"key": key}).status == 200
    assert town.gateway_keys() == []
    assert [token.state for token in town.tokens()] == ["revoked"]
    assert town.introspect(key).status == 401
    assert history(town)[-1] == "compromised"
    logged = capfd.readouterr().out
    assert '"event":"key_compromised"' in logged
    assert key not in logged


def test_the_response_does_not_reveal_whether_the_key_exists(town: Town) -> None:
    key = town.show_key()
    answers = [report({"key": reported}) for reported in (key, key, "0" * 64)]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert history(town).count("compromised") == 1


def test_a_key_without_a_habilitation_can_be_reported_too(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_nombre_parts")
    assert report({"key": key}).status == 200
    assert cloud.tokens.scan()["Items"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    "body",
    [None, "", {}, {"key": ""}, {"key": 1}, {"key": "0" * 257}, {"key": "é"}, {"key": "bonjour"}, {"key": "0" * 63}],
)
def test_a_malformed_report_is_a_bad_request(cloud: Cloud, body: object) -> None:
    answer = report(body)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert cloud.tokens.scan()["Items"] == []


@pytest.mark.parametrize(
    "pasted",
    [
        *(
            "{key}\n",
            " {key} ",
            "\t{key}\r\n",
            '"{key}"',
            "'{key}'",
            "«\u00a0{key}\u00a0»",
            "`{key}`",
            "{key},",
            "{key}\u200b",
        ),
        *("X-API-Key: {key}", "x-api-key:{key}\n", "Authorization: Bearer {key}", "cle={key}", "<{key}>"),
        "curl -H 'X-API-Key: {key}' https://exemple.fr/api/introspect",
    ],
)
def test_a_key_is_found_in_what_is_pasted_around_it(cloud: Cloud, pasted: str) -> None:
    key = cloud.issue_key("dgfip_nombre_parts")
    assert report({"key": pasted.format(key=key)}).status == 200
    assert cloud.tokens.scan()["Items"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    "change", [str.upper, lambda key: f"{key[:40]}\n {key[40:]}", lambda key: f"{key[:9]} {key[9:]}"]
)
def test_a_key_in_capitals_or_in_pieces_is_found(cloud: Cloud, change: Callable[[str], str]) -> None:
    key = cloud.issue_key("dgfip_nombre_parts")
    assert report({"key": change(key)}).status == 200
    assert cloud.tokens.scan()["Items"][0]["state"] == "revoked"


def test_a_line_break_that_is_not_escaped_is_read(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_nombre_parts")
    body = f'{{"key": "X-API-Key: {key}\n"}}'
    assert invoke(event("key_report/report") | {"body": body}, "key_report").status == 200
    assert cloud.tokens.scan()["Items"][0]["state"] == "revoked"


def test_every_key_of_a_text_is_stopped(cloud: Cloud) -> None:
    keys = [cloud.issue_key("dgfip_nombre_parts") for _ in range(2)]
    assert report({"key": "\n".join(keys)}).status == 200
    assert {item["state"] for item in cloud.tokens.scan()["Items"]} == {"revoked"}


def test_the_reports_from_an_address_are_limited_and_those_of_others_are_not(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_TRIES_BY_ADDRESS", "3")
    new_environment()
    key = town.show_key()
    assert [report({"key": "0" * 64}).status for _ in range(4)] == [200] * 3 + [429]
    request = event("key_report/report") | {"body": json.dumps({"key": key})}
    request["requestContext"]["identity"]["sourceIp"] = "203.0.113.200"
    assert invoke(request, "key_report").status == 200
    assert [token.state for token in town.tokens()] == ["revoked"]
