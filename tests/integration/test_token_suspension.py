"""Suspend tokens from a batch of suspicions: a message that fails is brought again, without the others."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from api_particulier.audit import mac
from api_particulier.keys import lifecycle
from functions.token_suspension.app import lambda_handler
from tests.support.cloud import Cloud
from tests.support.template import ROOT

NOW = datetime.now(UTC)


def message(message_id: str, token_id: str, at: datetime = NOW) -> dict[str, Any]:
    sent = {"token": token_id, "at": at.isoformat(), "sanction": "suspend"}
    body = json.dumps(sent | {"mac": mac.sign(sent, at)})
    record: dict[str, Any] = json.loads((ROOT / "events/token_suspension/suspicion.json").read_text())["Records"][0]
    return record | {"messageId": message_id, "body": body}


def failures(*messages: dict[str, Any]) -> list[str]:
    """Call the function with a batch, as Lambda does; return the ids of the messages that it asks for again."""
    response = lambda_handler({"Records": list(messages)}, None)
    return [str(failure["itemIdentifier"]) for failure in response["batchItemFailures"]]


def states(cloud: Cloud) -> dict[str, str]:
    return {str(item["id"]): str(item["state"]) for item in cloud.tokens.scan()["Items"]}


@pytest.fixture
def two_tokens(cloud: Cloud) -> None:
    for token_id in ("jeton-1", "jeton-2"):
        cloud.issue_key("dgfip_nombre_parts", id=token_id)


@pytest.mark.usefixtures("two_tokens")
@pytest.mark.parametrize("body", ["", "{", "[]", "{}", '{"token": "jeton-1"}', '{"token": 1, "at": "2026-11-23"}'])
def test_an_unreadable_message_is_brought_again_without_the_others(cloud: Cloud, body: str) -> None:
    unreadable = message("unreadable", "-") | {"body": body}
    assert failures(message("a", "jeton-1"), unreadable, message("b", "jeton-2")) == ["unreadable"]
    assert states(cloud) == {"jeton-1": "suspended", "jeton-2": "suspended"}


@pytest.mark.usefixtures("two_tokens")
def test_a_suspension_that_fails_is_brought_again_without_the_others(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    find = lifecycle.find

    def fail_for_the_first(store: Any, token_id: str) -> Any:
        if token_id == "jeton-1":
            raise ConnectionError("alix@ville.exemple.fr")
        return find(store, token_id)

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "find", fail_for_the_first)
        assert failures(message("a", "jeton-1"), message("b", "jeton-2")) == ["a"]
    assert states(cloud) == {"jeton-1": "active", "jeton-2": "suspended"}
    assert failures(message("a", "jeton-1")) == []
    assert states(cloud) == {"jeton-1": "suspended", "jeton-2": "suspended"}
    logged = capfd.readouterr()
    assert '"exception":"ConnectionError"' in logged.out
    assert "alix" not in logged.out + logged.err


@pytest.mark.usefixtures("two_tokens")
def test_the_messages_of_a_token_make_one_suspension(cloud: Cloud, capfd: pytest.CaptureFixture[str]) -> None:
    assert failures(*(message(str(number), "jeton-1", NOW + timedelta(seconds=number)) for number in range(10))) == []
    assert len(cloud.audit_records()) == 1
    assert capfd.readouterr().out.count('"event":"token_suspended"') == 1


@pytest.mark.usefixtures("two_tokens")
def test_the_latest_message_of_a_token_is_the_one_that_counts(cloud: Cloud) -> None:
    for item in cloud.tokens.scan()["Items"]:
        cloud.tokens.put_item(Item=item | {"resumed": NOW.isoformat()})
    latest, earlier = NOW + timedelta(minutes=1), NOW - timedelta(minutes=1)
    assert failures(message("a", "jeton-1", latest), message("b", "jeton-1", earlier)) == []
    assert failures(message("c", "jeton-2", earlier)) == []
    assert states(cloud) == {"jeton-1": "suspended", "jeton-2": "active"}


@pytest.mark.usefixtures("two_tokens")
def test_the_messages_of_a_token_alert_once_when_its_suspension_fails(
    cloud: Cloud, capfd: pytest.CaptureFixture[str]
) -> None:
    cloud.audit.delete()
    assert failures(message("a", "jeton-1"), message("b", "jeton-1", NOW + timedelta(seconds=1))) == ["b"]
    assert states(cloud)["jeton-1"] == "active"
    assert capfd.readouterr().out.count('"event":"token_suspended"') == 1
