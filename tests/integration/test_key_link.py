"""Open one-time links, and the page and the mails that carry them."""

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from api_particulier.habilitations import key_link
from api_particulier.keys import lifecycle
from tests.support.cloud import Cloud
from tests.support.datapass import FIRED_AT, SCOPES, Town
from tests.support.function import Response, call_api, event, invoke, new_environment
from tests.support.mailbox import Mailbox, install_mailbox
from tests.support.site import decode_page


@pytest.fixture
def town(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Town:
    town = Town(cloud, monkeypatch)
    town.notify()
    return town


def link(town: Town, age: timedelta = timedelta()) -> str:
    (token,) = town.tokens()
    return key_link.create(town.repository, "26001", token.id, "an operator", datetime.now(UTC) - age)


def show(secret: object, opener: str | None = None) -> Response:
    body = {"lien": secret} | ({"ouvreur": opener} if opener else {})
    return invoke(event("key_link/show") | {"body": json.dumps(body)}, "key_link")


def history(town: Town) -> list[str]:
    return [entry.event for entry in town.repository.history("26001")]


def alerts(capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Return the habilitations of the reopened links, as logged and counted."""
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    logged = [str(line["habilitation"]) for line in lines if line.get("event") == "link_reopened"]
    assert [line["Alerts"] for line in lines if line.get("alert") == "link_reopened"] == [[1.0]] * len(logged)
    return logged


# ── The link ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_link_shows_the_key_once(town: Town) -> None:
    (token,) = town.tokens()
    secret = link(town)
    shown = show(secret)
    assert (shown.status, shown.body["jeton"]) == (200, token.id)
    assert shown.body["organisation"] == "VILLE IMAGINAIRE"
    assert shown.headers["Cache-Control"] == "no-store"
    assert town.introspect(shown.body["cle"]).body["scopes"] == sorted(SCOPES)


def test_the_same_opener_gets_another_key_in_place_of_a_lost_answer(
    town: Town, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = link(town)
    lost, again = (show(secret, "n" * 32).body["cle"] for _ in range(2))
    assert (town.introspect(lost).status, town.introspect(again).status) == (401, 200)
    assert show(secret, "m" * 32).status == 410
    assert alerts(capfd) == ["26001"]
    with time_machine.travel(datetime.now(UTC) + lifecycle.AGAIN + timedelta(seconds=1), tick=True):
        assert show(secret, "n" * 32).status == 410
        assert town.introspect(again).status == 200
    assert history(town)[2:] == ["link_opened", "link_opened_again", "link_reopened", "link_reopened"]


def test_an_opener_that_was_not_named_is_not_recognised_again(town: Town) -> None:
    secret = link(town)
    show(secret)
    assert [show(secret, opener).status for opener in (None, "n" * 32)] == [410, 410]


def test_a_second_link_to_a_key_that_was_shown_shows_nothing_and_stops_nothing(town: Town) -> None:
    first, second = link(town), link(town)
    key = show(first).body["cle"]
    assert (show(second).status, show(second).body["reason"]) == (410, "This link has expired")
    assert town.introspect(key).status == 200


def test_a_second_opening_is_refused_and_alerts(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    secret = link(town)
    show(secret)
    again = show(secret)
    assert (again.status, again.body["error"]) == (410, "gone")
    assert "déjà été ouvert" in again.body["message"]
    assert "cle" not in again.body
    assert history(town) == ["approve", "link", "link_opened", "link_reopened"]
    assert alerts(capfd) == ["26001"]


def test_a_second_opening_after_the_four_hours_alerts_too(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    secret = link(town)
    show(secret)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=2), tick=True):
        again = show(secret)
    assert (again.status, again.body["error"]) == (410, "gone")
    assert "déjà été ouvert" in again.body["message"]
    assert history(town)[-1] == "link_reopened"
    assert alerts(capfd) == ["26001"]


def test_a_second_opening_alerts_when_the_key_is_revoked_too(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    secret = link(town)
    show(secret)
    town.notify("revoke", FIRED_AT + 1)
    assert "déjà été ouvert" in show(secret).body["message"]
    assert alerts(capfd) == ["26001"]


def test_ten_simultaneous_openings_show_the_key_once(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = link(town)
    town.serialise_aws_calls(monkeypatch)
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: show(secret), range(10)))
    assert sorted(answer.status for answer in answers) == [200] + [410] * 9


def test_a_link_can_be_opened_for_four_hours(town: Town) -> None:
    ended = link(town, timedelta(hours=4, seconds=1))
    assert (show(ended).status, show(ended).body["reason"]) == (410, "This link has expired")
    assert show(link(town, timedelta(hours=3, minutes=59))).status == 200


def test_a_link_to_a_revoked_key_shows_nothing(town: Town) -> None:
    secret = link(town)
    town.notify("revoke", FIRED_AT + 1)
    assert (show(secret).status, show(secret).body["reason"]) == (410, "This link has expired")


def test_a_failure_of_the_tables_does_not_use_up_the_link(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = link(town)

    def fail(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr("api_particulier.keys.store.write_together", fail)
        assert show(secret).status == 500
    assert history(town) == ["approve", "link"]
    assert show(secret).status == 200


def test_the_openings_from_an_address_are_limited_and_those_of_others_are_not(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY_TRIES_BY_ADDRESS", "3")
    new_environment()
    secret = link(town)
    assert [show("0" * 43).status for _ in range(4)] == [404] * 3 + [429]
    request = event("key_link/show") | {"body": json.dumps({"lien": secret})}
    request["requestContext"]["identity"]["sourceIp"] = "203.0.113.200"
    assert invoke(request, "key_link").status == 200


@pytest.mark.parametrize("secret", ["0" * 43, "é", " "], ids=ascii)
def test_an_unknown_link_is_not_found(town: Town, secret: str) -> None:
    link(town)
    assert (show(secret).status, show(secret).body["error"]) == (404, "not_found")


@pytest.mark.parametrize("body", [None, "", "[]", "{}", '{"lien": 1}', '{"lien": ""}', "{"])
def test_a_malformed_body_is_a_bad_request(town: Town, body: str | None) -> None:
    assert town.tokens()
    answer = invoke(event("key_link/show") | {"body": body}, "key_link")
    assert (answer.status, answer.body["error"]) == (400, "bad_request")


def test_no_key_and_no_secret_of_a_link_is_stored_or_logged(town: Town, capfd: pytest.CaptureFixture[str]) -> None:
    secret, opener = link(town), "n" * 32
    key = show(secret, opener).body["cle"]
    show(secret)
    logged = capfd.readouterr()
    kept = str(town.stored_items()) + str(town.cloud.tokens.scan()["Items"]) + logged.out + logged.err
    assert secret not in kept
    assert opener not in kept
    assert key not in kept + str(town.gateway_keys())
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


# ── Its page ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("site")
def test_the_page_runs_its_own_script_only_and_stores_nothing(cloud: Cloud) -> None:
    page = decode_page(call_api("key_link/page"))
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"
    policy = dict(rule.split(" ", 1) for rule in page.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == policy["frame-ancestors"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    (script,) = re.findall(r"<script(.*?)</script>", page.text, re.DOTALL)
    assert re.fullmatch(r' type="module" src="../../assets/cle\.\w+\.js">', script)
    assert not re.findall(r"<style|style=|\bon\w+=|<form|<iframe", page.text)
    for address in re.findall(r'(?:src|<link[^>]* href)="([^"]*)"', page.text):
        assert address.startswith("../../assets/")
    assert cloud.habilitations.scan()["Items"] == []


# ── By mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def mailbox(monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    return install_mailbox(monkeypatch)


def test_an_approval_sends_one_link_and_not_the_key(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    town = Town(cloud, monkeypatch)
    town.notify()
    town.notify()
    town.notify("approve", FIRED_AT + 1, scopes=["cnaf_adresse"])
    (mail,) = mailbox.mails
    assert mail.to == ("informatique@ville-imaginaire.exemple.fr",)
    (address,) = re.findall(r"https://\S+", mail.text)
    before, secret = address.split("#")
    assert before == "https://particulier.api.exemple.fr/live/api/cles/remise"
    assert town.introspect(show(secret).body["cle"]).body["scopes"] == ["cnaf_adresse"]


def test_the_link_has_the_public_domain(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://api-particulier.exemple.fr")
    Town(cloud, monkeypatch).notify()
    (mail,) = mailbox.mails
    assert "\nhttps://api-particulier.exemple.fr/api/cles/remise#" in mail.text


def test_without_a_technical_contact_the_applicant_receives_the_link(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    Town(cloud, monkeypatch).notify(contact_technique_email=None)
    assert [mail.to for mail in mailbox.mails] == [("direction@ville-imaginaire.exemple.fr",)]


def test_a_mail_that_fails_is_set_aside_and_sent_by_the_next_delivery(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    town = Town(cloud, monkeypatch)
    mailbox.fails = True
    assert town.notify().body == {"token_id": town.tokens()[0].id}
    assert len(town.dead_letters()) == 1
    mailbox.fails = False
    town.notify()
    assert len(mailbox.mails) == 1


def test_a_link_that_could_not_be_made_is_sent_by_the_next_delivery(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, mailbox: Mailbox
) -> None:
    town = Town(cloud, monkeypatch)

    def fail(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as patch:
        patch.setattr(key_link, "create", fail)
        assert town.notify().status == 500
    assert mailbox.mails == []
    town.notify()
    assert len(mailbox.mails) == 1
