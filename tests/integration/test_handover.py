"""Handing a key over by a link that shows it once, and killing one that was seen in public."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from api_particulier import aws
from api_particulier.habilitations import key_link
from api_particulier.keys import lifecycle
from tests.support.cloud import Cloud
from tests.support.datapass import FIRED_AT, SCOPES, Town
from tests.support.function import Response, call_api, event, invoke
from tests.support.site import decode_page


@pytest.fixture
def town(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Town:
    made = Town(cloud, monkeypatch)
    made.notify()
    return made


def link(town: Town, age: timedelta = timedelta()) -> str:
    (token,) = town.tokens()
    return key_link.create(town.repository, "26001", token.id, "somebody", datetime.now(UTC) - age)


def show(secret: object) -> Response:
    return invoke(event("key_link/show") | {"body": json.dumps({"lien": secret})}, "key_link")


def report(body: object) -> Response:
    return invoke(event("key_report/report") | {"body": json.dumps(body)}, "key_report")


def steps(town: Town) -> list[str]:
    return [step.event for step in town.repository.history("26001")]


# ── The link ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_shows_the_key_once(town: Town) -> None:
    (key,), (token,) = town.gateway_keys(), town.tokens()
    secret = link(town)
    shown = show(secret)
    assert (shown.status, shown.body["cle"], shown.body["jeton"]) == (200, key, token.id)
    assert shown.body["organisation"] == "VILLE IMAGINAIRE"
    assert shown.headers["Cache-Control"] == "no-store"
    assert town.introspect(key).body["scopes"] == sorted(SCOPES)


def test_a_second_opening_says_so_and_alerts(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    secret = link(town)
    show(secret)
    again = show(secret)
    assert (again.status, again.body["error"]) == (410, "gone")
    assert "déjà été ouvert" in again.body["message"]
    assert town.gateway_keys()[0] not in again.text
    assert steps(town) == ["approve", "link", "link_opened", "link_reopened"]
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["habilitation"] for line in lines if line.get("event") == "link_reopened"] == ["26001"]
    assert [line["Alerts"] for line in lines if line.get("alert") == "link_reopened"] == [[1.0]]


def test_ten_openings_at_once_show_it_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = link(town)
    town.serialise_aws_calls(monkeypatch)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: show(secret), range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [410] * 9


def test_a_link_lives_four_hours(town: Town) -> None:
    ended = link(town, timedelta(hours=4, seconds=1))
    assert (show(ended).status, show(ended).body["reason"]) == (410, "This link has expired")
    assert show(link(town, timedelta(hours=3, minutes=59))).status == 200


def test_a_link_to_a_dead_key_shows_nothing(town: Town) -> None:
    secret = link(town)
    town.notify("revoke", FIRED_AT + 1)
    assert (show(secret).status, show(secret).body["reason"]) == (410, "This link has expired")


def test_a_gateway_that_fails_does_not_use_the_link_up(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = link(town)

    def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "reveal", die)
        assert show(secret).status == 500
    assert show(secret).status == 200


@pytest.mark.parametrize("secret", ["0" * 43, "é", " "], ids=ascii)
def test_an_unknown_link_is_not_found(town: Town, secret: str) -> None:
    link(town)
    assert (show(secret).status, show(secret).body["error"]) == (404, "not_found")


@pytest.mark.parametrize("body", [None, "", "[]", "{}", '{"lien": 1}', '{"lien": ""}', "{"])
def test_what_is_no_opening_is_a_bad_request(town: Town, body: str | None) -> None:
    assert town.tokens()
    answer = invoke(event("key_link/show") | {"body": body}, "key_link")
    assert (answer.status, answer.body["error"]) == (400, "bad_request")


def test_neither_a_key_nor_a_link_is_kept_or_logged(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    secret = link(town)
    show(secret)
    show(secret)
    (key,) = town.gateway_keys()
    logged = capfd.readouterr()
    kept = str(town.stored_items()) + str(town.cloud.tokens.scan()["Items"]) + logged.out + logged.err
    assert secret not in kept
    assert key not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


# ── Its page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("site")
def test_the_page_does_nothing_but_what_it_says(cloud: Cloud) -> None:
    page = decode_page(call_api("key_link/page"))
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    (script,) = re.findall(r"<script(.*?)</script>", page.text, re.DOTALL)
    assert re.fullmatch(r' type="module" src="../../assets/cle\.\w+\.js">', script)  # its own, and no other's
    assert not re.findall(r"<style|style=|\bon\w+=|<form|<iframe", page.text)
    for address in re.findall(r'(?:src|<link[^>]* href)="([^"]*)"', page.text):
        assert address.startswith("../../assets/")
    assert cloud.habilitations.scan()["Items"] == []


# ── By mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str]]:
    """The messages that leave, by hand: to whom, and what they say."""
    sent: list[tuple[tuple[str, ...], str]] = []
    from api_particulier.habilitations import email

    monkeypatch.setenv("MAIL_SENDER", "cles@api.exemple.fr")
    monkeypatch.setattr(email, "send", lambda to, _subject, text: sent.append((tuple(to), text)))
    return sent


def test_an_approval_sends_the_link_once_and_never_the_key(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mails: list[Any]
) -> None:
    town = Town(cloud, monkeypatch)
    town.notify()
    town.notify()
    town.notify("approve", FIRED_AT + 1, scopes=["cnaf_adresse"])
    ((to, text),) = mails
    assert to == ("informatique@ville-imaginaire.exemple.fr",)
    (key,) = town.gateway_keys()
    assert key not in text
    (address,) = re.findall(r"https://\S+", text)
    before, secret = address.split("#")
    assert before == "https://particulier.api.exemple.fr/live/api/cles/remise"
    assert show(secret).body["cle"] == key


def test_the_link_is_of_the_domain_that_callers_know(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mails: list[Any]
) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://api-particulier.exemple.fr")
    Town(cloud, monkeypatch).notify()
    ((_, text),) = mails
    assert "\nhttps://api-particulier.exemple.fr/api/cles/remise#" in text


def test_without_a_technical_contact_the_applicant_gets_it(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mails: list[Any]
) -> None:
    Town(cloud, monkeypatch).notify(contact_technique_email=None)
    assert [to for to, _ in mails] == [("direction@ville-imaginaire.exemple.fr",)]


def test_a_mail_that_fails_costs_datapass_nothing_and_is_told(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mails: list[Any]
) -> None:
    from api_particulier.habilitations import email

    town = Town(cloud, monkeypatch)

    def fail(*_: object) -> None:
        raise email.MailFailed("ClientError")

    with monkeypatch.context() as patch:
        patch.setattr(email, "send", fail)
        assert town.notify().body == {"token_id": town.tokens()[0].id}
    assert len(town.dead_letters()) == 1
    town.notify()
    assert len(mails) == 1


def test_a_link_that_could_not_be_made_is_sent_by_the_next_delivery(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mails: list[Any]
) -> None:
    town = Town(cloud, monkeypatch)

    def die(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(key_link, "create", die)
        assert town.notify().status == 500
    assert mails == []
    town.notify()
    assert len(mails) == 1


# ── Compromised ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_who_holds_a_key_kills_it(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    (key,) = town.gateway_keys()
    assert town.introspect(key).status == 200
    assert report({"key": key}).status == 200
    assert town.gateway_keys() == []
    assert [token.state for token in town.tokens()] == ["revoked"]
    assert town.introspect(key).status == 401
    assert steps(town)[-1] == "compromised"
    logged = capfd.readouterr().out
    assert '"event": "key_compromised"' in logged
    assert key not in logged


def test_a_key_that_is_unknown_or_dead_is_answered_the_same(town: Town) -> None:
    (key,) = town.gateway_keys()
    answers = [report({"key": one}) for one in (key, key, "0" * 64, "é")]
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert steps(town).count("compromised") == 1


def test_a_key_without_a_habilitation_can_be_killed_too(cloud: Cloud) -> None:
    key = cloud.issue_key("dgfip_nombre_parts")
    aws.apigateway()
    assert boto3.client("apigateway").get_api_keys()["items"] == []
    assert report({"key": key}).status == 200
    assert cloud.tokens.scan()["Items"][0]["state"] == "revoked"


@pytest.mark.parametrize("body", [None, "", {}, {"key": ""}, {"key": 1}, {"key": "0" * 257}])
def test_what_is_no_report_is_a_bad_request(cloud: Cloud, body: object) -> None:
    answer = report(body)
    assert (answer.status, answer.body["error"]) == (400, "bad_request")
    assert cloud.tokens.scan()["Items"] == []
