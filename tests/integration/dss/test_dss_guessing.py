"""Guesses at an identity are slowed down, then suspended; ordinary questions are left alone."""

import json
from typing import Any

import boto3
import pytest

from sandbox.simulators.api_secu import FUNDS
from tests.support.api_secu import EVERY_SCOPE, IDENTITY, Gate, call
from tests.support.cloud import Cloud

pytestmark = pytest.mark.slow

BENEFIT = "allocation_soutien_familial"
NOT_FOUND = {"errorCode": 40409, "error": "inconnu"}
NAMES = [f"{first}{last}" for first in ("Ma", "Lo", "Ti", "Ga", "Ro", "Né", "Su", "Fa", "Be") for last in "abcdefghij"]
ABROAD = IDENTITY | {"codeCogInseePaysNaissance": "99350", "codeCogInseeCommuneNaissance": None}


@pytest.fixture
def key(cloud: Cloud) -> str:
    return cloud.issue_key(*EVERY_SCOPE, id="jeton-1")


def codes(key: str, questions: list[dict[str, Any]]) -> list[str]:
    """Ask each question, and return the code of its refusal, or "200"."""
    found = []
    for question in questions:
        response = call(BENEFIT, key, question)
        found.append("200" if response.status == 200 else response.body["errors"][0]["code"])
    return found


def dates(identity: dict[str, Any], count: int) -> list[dict[str, Any]]:
    """Return an identity with as many dates of birth."""
    return [
        identity | {"moisDateNaissance": str(1 + number // 28), "jourDateNaissance": str(1 + number % 28)}
        for number in range(count)
    ]


def suspicions() -> list[str]:
    sqs, (queue,) = boto3.client("sqs"), boto3.client("sqs").list_queues()["QueueUrls"]
    found = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"])["token"] for message in found]


@pytest.mark.parametrize("is_known", [True, False])
def test_dates_guessed_at_are_slowed_at_8_and_suspended_at_16(
    cloud: Cloud, key: str, gate: Gate, *, is_known: bool
) -> None:
    if not is_known:
        gate.status, gate.body = 404, NOT_FOUND
    answered = "200" if is_known else "36560"
    assert codes(key, dates(IDENTITY, 18)) == [answered] * 7 + ["00429"] * 11
    assert [record.get("suspicion") for record in cloud.audit_records()] == (
        [None] * 7 + ["slowed"] * 8 + ["suspended"] * 3
    )
    assert set(suspicions()) == {"jeton-1"}
    assert len(gate.questions) == 7


def test_a_slowed_guess_is_a_429_with_its_wait(key: str, gate: Gate) -> None:
    assert gate.url
    codes(key, dates(IDENTITY, 8))
    response = call(BENEFIT, key, dates(IDENTITY, 9)[-1])
    (error,) = response.body["errors"]
    assert (response.status, error["code"], error["meta"]) == (429, "00429", {"retry_in": 60})
    assert response.headers["Retry-After"] == "60"


def test_dates_guessed_at_for_a_birth_abroad_are_slowed_when_the_person_is_unknown(key: str, gate: Gate) -> None:
    gate.status, gate.body = 404, NOT_FOUND
    found = codes(key, dates(ABROAD, 18))
    assert (found[:7], set(found[7:])) == (["36560"] * 7, {"00429"})
    assert suspicions()


def test_homonyms_born_abroad_are_all_answered(key: str, gate: Gate) -> None:
    assert gate.url
    assert set(codes(key, dates(ABROAD, 40))) == {"200"}


def test_first_names_guessed_at_are_slowed_at_40_and_suspended_at_80(key: str, gate: Gate) -> None:
    gate.status, gate.body = 404, NOT_FOUND
    found = codes(key, [IDENTITY | {"prenoms[]": [name]} for name in NAMES])
    assert (found[:39], set(found[39:])) == (["36560"] * 39, {"00429"})
    assert suspicions()


def test_a_large_family_is_answered(key: str, gate: Gate) -> None:
    assert gate.url
    assert set(codes(key, [IDENTITY | {"prenoms[]": [name]} for name in NAMES])) == {"200"}


def test_people_unknown_to_the_gate_are_slowed_at_80_whatever_the_reason(key: str, gate: Gate) -> None:
    found = []
    for number, name in enumerate(NAMES):
        gate.status = 404
        gate.body = {"errorCode": (40409, 40406, 40401)[number % 3]}
        gate.headers = {"X-APISECU-FD": FUNDS["MSA"]}
        found += codes(key, [IDENTITY | {"nomNaissance": name}])
    assert (set(found[:79]), set(found[79:])) == ({"36560", "35003", "10003"}, {"00429"})


def test_a_family_that_has_no_right_to_a_nursery_is_a_known_one(key: str, gate: Gate) -> None:
    gate.body = {
        "allocataires": [{}],
        "nombreEnfantACharge": 1,
        "nombreBeneficiaireAEH": 0,
        "montantRessources": 1,
        "annee": 2024,
    }
    for name in NAMES:
        response = call("participation_familiale_eaje", key, IDENTITY | {"nomNaissance": name})
        assert response.body["errors"][0]["code"] == "37003"


def test_the_same_person_asked_about_again_and_again_is_answered(key: str, gate: Gate) -> None:
    assert gate.url
    assert set(codes(key, [IDENTITY] * 30)) == {"200"}


def test_another_token_is_not_slowed(cloud: Cloud, key: str, gate: Gate) -> None:
    assert gate.url
    codes(key, dates(IDENTITY, 9))
    assert codes(cloud.issue_key(*EVERY_SCOPE), dates(IDENTITY, 1)) == ["200"]


def test_an_ordinary_question_writes_nothing_in_the_table(cloud: Cloud, key: str, gate: Gate) -> None:
    assert gate.url
    codes(key, [IDENTITY, ABROAD])
    assert [item for item in cloud.stats.scan()["Items"] if str(item["pk"]).startswith("watch#")] == []


def test_questions_without_a_first_name_or_a_month_are_counted(
    key: str, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gate.url
    codes(key, [IDENTITY, IDENTITY | {"prenoms[]": None}, IDENTITY | {"moisDateNaissance": None}])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    vague = [line for line in lines if line["event"] == "vague_question"]
    assert [line["level"] for line in vague] == ["INFO"] * 2
    assert {line["dataset"] for line in vague} == {f"dss_{BENEFIT}"}
