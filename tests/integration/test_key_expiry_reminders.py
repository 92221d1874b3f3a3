"""Notices that a key ends, by the function that the clock calls: frozen days, real tables, a mailbox."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sesv2.models import sesv2_backends

from api_particulier.habilitations import expiry_reminders
from api_particulier.habilitations.email import MailFailed
from api_particulier.habilitations.model import ApplicantType, Contact, Habilitation, Request, State
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token, item_of
from tests.support.cloud import Cloud
from tests.support.function import new_environment

ENDS = datetime(2027, 6, 15, 14, 30, tzinfo=UTC)
SENDER = "ne-pas-repondre@api-particulier.exemple.fr"
APPLICANT, TECHNICIAN = "demandeur@ville.exemple.fr", "technique@ville.exemple.fr"


def morning(days: float) -> datetime:
    """Return the hour of the job, so many days before the key's end."""
    return ENDS.replace(hour=5, minute=0) - timedelta(days=days)


@dataclass
class Mailbox:
    """A mail port that keeps what it is given, and fails when told to."""

    kept: list[tuple[tuple[str, ...], str, str]] = field(default_factory=list)
    fails: bool = False

    def __call__(self, to: Sequence[str], subject: str, text: str) -> None:
        if self.fails:
            raise MailFailed("EndpointConnectionError")
        self.kept.append((tuple(to), subject, text))

    @property
    def days(self) -> list[int]:
        """The days that each mail says are left."""
        left = [re.search(r"dans (\d+) jours", subject) for _, subject, _ in self.kept]
        return [int(one[1]) if one else 0 for one in left]

    @property
    def thresholds(self) -> list[int]:
        """The notice that each mail is."""
        late = [re.search(r"préavis de (\d+) jours", text) for _, _, text in self.kept]
        return [int(one[1]) if one else days for one, days in zip(late, self.days, strict=True)]


@dataclass
class Town:
    """A town, its habilitation and its key."""

    gateway: KeyStore
    register: HabilitationRepository
    token: Token
    mailbox: Mailbox = field(default_factory=Mailbox)

    def run(self, now: datetime) -> int:
        return expiry_reminders.send_due(self.gateway, self.register, now, self.mailbox)

    def run_daily(self, first: int, last: int) -> None:
        for days in range(first, last - 1, -1):
            self.run(morning(days))


@pytest.fixture
def town(cloud: Cloud) -> Town:
    habilitation = Habilitation(
        id="42",
        state=State.VALIDATED,
        request=Request(
            kind=ApplicantType.COLLECTIVITE,
            organisation="VILLE EXEMPLE",
            siret="13002526500013",
            contacts=(
                Contact(role="applicant", email=APPLICANT),
                Contact(role="technical", email=TECHNICIAN),
                Contact(role="business", email="metier@ville.exemple.fr"),
            ),
        ),
        token_id="1",
        expires=ENDS,
    )
    store(cloud, habilitation)
    return Town(KeyStore.from_environment(), HabilitationRepository.from_environment(), put(cloud))


def store(cloud: Cloud, habilitation: Habilitation) -> None:
    cloud.habilitations.put_item(
        Item={"habilitation": habilitation.id, "item": "state"}
        | habilitation.model_dump(mode="json", exclude_none=True)
    )


@pytest.fixture
def only_30(town: Town, cloud: Cloud) -> None:  # noqa: ARG001 - whose key it is
    """Give the key its end when 90 and 60 days were behind already."""
    put(cloud, end_set=morning(45))


def put(cloud: Cloud, **changes: Any) -> Token:
    token = Token(
        key_hash="0" * 64,
        id="1",
        organisation="VILLE EXEMPLE",
        siret="13002526500013",
        scopes=frozenset({"dgfip_nombre_parts"}),
        state="active",
        created=ENDS - lifecycle.LIFETIME,
        expires=ENDS,
        habilitation="42",
    )
    token = replace(token, **changes)
    cloud.tokens.put_item(Item=item_of(token))
    return token


# ── Which, and when ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_that_runs_daily_sends_six_notices_each_once(town: Town) -> None:
    town.run_daily(100, -40)
    assert town.mailbox.days == [90, 60, 30, 15, 7, 0]
    assert "expire aujourd'hui" in town.mailbox.kept[-1][1]


def test_a_job_that_runs_many_times_a_day_sends_no_more(town: Town) -> None:
    for hours in range(95 * 24, -5 * 24, -11):
        town.run(ENDS - timedelta(hours=hours))
    assert len(town.mailbox.kept) == 6


@pytest.mark.parametrize("missed", [90, 70, 31, 20, 8, 1])
def test_a_job_that_missed_20_days_still_sends_six_notices_each_once(town: Town, missed: int) -> None:
    town.run_daily(95, missed + 1)
    town.run_daily(missed - 20, -29)
    assert town.mailbox.thresholds == [90, 60, 30, 15, 7, 0]


def test_of_those_that_come_late_each_says_which_it_is_and_how_many_days_are_left(town: Town) -> None:
    town.run_daily(95, 31)
    town.run_daily(10, -10)  # those of 30 and 15 days were crossed meanwhile
    assert town.mailbox.days == [90, 60, 10, 10, 7, 0]
    late = ["en retard" in text for _, _, text in town.mailbox.kept]
    assert late == [False, False, True, True, False, False]
    assert "Ce préavis de 30 jours" in town.mailbox.kept[2][2]
    assert "Ce préavis de 15 jours" in town.mailbox.kept[3][2]


def test_a_job_that_missed_the_end_says_that_the_key_has_ended(town: Town) -> None:
    town.run_daily(100, 8)
    town.run_daily(-12, -20)
    assert town.mailbox.days == [90, 60, 30, 15, 0, 0]
    assert "a expiré" in town.mailbox.kept[-1][1]
    assert "n'est plus acceptée" in town.mailbox.kept[-1][2]


def test_a_key_that_is_prolonged_is_counted_anew(town: Town) -> None:
    town.run_daily(100, 20)
    lifecycle.extend(town.gateway, town.token, ENDS + timedelta(days=200), morning(20))
    town.run_daily(19, -220)
    assert town.mailbox.days == [90, 60, 30, 90, 60, 30, 15, 7, 0]


def test_a_key_prolonged_a_little_is_not_told_what_was_known_when_it_was(town: Town) -> None:
    town.run_daily(100, 7)
    lifecycle.extend(town.gateway, town.token, ENDS + timedelta(days=14), morning(7))
    town.run_daily(7, -20)
    assert town.mailbox.days == [90, 60, 30, 15, 7, 15, 7, 0]


@pytest.mark.parametrize(("lives", "told"), [(90, [60, 30, 15, 7, 0]), (45, [30, 15, 7, 0]), (5, [0]), (91, [90, 60])])
def test_a_key_issued_for_a_short_time_is_told_of_what_comes_after(
    town: Town, cloud: Cloud, lives: int, told: list[int]
) -> None:
    put(cloud, created=morning(lives))
    town.run_daily(lives, -5)
    assert town.mailbox.days[: len(told)] == told


def test_a_key_whose_end_a_rotation_brings_near_is_told_of_what_comes_after(town: Town) -> None:
    plan = boto3.client("apigateway").create_usage_plan(name="api-particulier")["id"]
    gateway = replace(town.gateway, usage_plan=plan)
    lifecycle.rotate(gateway, town.token, timedelta(days=30), morning(200))
    town.run_daily(200, 165)
    assert town.mailbox.days == [15, 7, 0]
    assert "Une nouvelle clé a été émise" in town.mailbox.kept[0][2]


def test_of_a_key_that_is_revoked_or_long_ended_nothing_is_said(town: Town, cloud: Cloud) -> None:
    put(cloud, state="revoked")
    town.run_daily(100, -10)
    put(cloud)
    town.run_daily(-31, -90)
    put(cloud, expires=None)
    town.run(ENDS)
    assert town.mailbox.kept == []


# ── Who, and what ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("only_30")
def test_the_applicant_and_the_technical_contact_are_told_which_key_ends_and_when(town: Town) -> None:
    town.run(morning(30))
    ((to, subject, text),) = town.mailbox.kept
    assert to == (APPLICANT, TECHNICIAN)
    assert subject == "API Particulier : votre clé expire dans 30 jours"
    for said in ("VILLE EXEMPLE", "habilitation 42", "clé 1", "le 15/06/2027 à 16:30 (heure de Paris)", "DataPass"):
        assert said in text
    assert town.token.key_hash not in text


def test_of_a_key_that_is_being_replaced_one_is_told_so(town: Town, cloud: Cloud) -> None:
    put(cloud, successor="2")
    town.run(morning(7))
    assert "Une nouvelle clé a été émise" in town.mailbox.kept[0][2]


@pytest.mark.parametrize("habilitation", [None, "unknown"])
def test_a_key_without_contact_is_logged_and_told_to_nobody(
    town: Town, cloud: Cloud, habilitation: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    put(cloud, habilitation=habilitation)
    assert town.run(morning(7)) == 0
    assert town.mailbox.kept == []
    assert '"event": "notice_not_sent", "outcome": "nobody to tell"' in capsys.readouterr().out
    (one,) = expiry_reminders.expiring_keys(town.gateway, town.register, morning(7))
    assert (one.days, one.crossed, one.recipients) == (7, [90, 60, 30, 15, 7], ())


@pytest.mark.usefixtures("only_30")
def test_a_habilitation_that_cannot_be_read_keeps_nobody_else_from_being_told(town: Town, cloud: Cloud) -> None:
    cloud.habilitations.put_item(Item={"habilitation": "broken", "item": "state", "state": TECHNICIAN})
    put(cloud, key_hash="1" * 64, id="broken", habilitation="broken")
    assert town.run(morning(30)) == 0
    assert len(town.mailbox.kept) == 1


@pytest.mark.usefixtures("only_30")
def test_nobody_s_address_is_logged(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    town.run(morning(30))
    town.mailbox.fails = True
    town.run(morning(15))
    logged = capsys.readouterr().out
    assert '"notice_sent"' in logged
    assert '"notice_not_sent"' in logged
    assert "@" not in logged


# ── Once, whatever happens ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("only_30")
def test_a_notice_that_could_not_be_sent_is_tried_again(town: Town) -> None:
    town.mailbox.fails = True
    assert town.run(morning(30)) == 1
    town.mailbox.fails = False
    assert town.run(morning(30)) == 0
    assert town.mailbox.days == [30]


class Killed(BaseException):
    """The process is no more."""


@pytest.mark.usefixtures("only_30")
def test_killed_before_it_sent_the_next_run_sends_once(town: Town) -> None:
    def killed(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        expiry_reminders.send_due(town.gateway, town.register, morning(30), killed)
    town.run(morning(30) + timedelta(minutes=1))  # for all that one knows, it is being sent
    assert town.mailbox.kept == []
    town.run_daily(29, 16)
    assert town.mailbox.days == [29]


@pytest.mark.usefixtures("only_30")
def test_two_jobs_at_once_send_once(town: Town) -> None:
    def at_once(to: Sequence[str], subject: str, text: str) -> None:
        assert town.run(morning(30)) == 0  # the other job, amid this one's sending
        town.mailbox(to, subject, text)

    expiry_reminders.send_due(town.gateway, town.register, morning(30), at_once)
    town.run(morning(30))
    assert town.mailbox.days == [30]


@pytest.mark.usefixtures("only_30")
def test_a_key_prolonged_as_its_notice_leaves_is_counted_anew(town: Town) -> None:
    def prolonging(to: Sequence[str], subject: str, text: str) -> None:
        lifecycle.extend(town.gateway, town.token, ENDS + timedelta(days=60), morning(30))
        town.mailbox(to, subject, text)

    expiry_reminders.send_due(town.gateway, town.register, morning(30), prolonging)
    town.run_daily(30, 0)
    assert town.mailbox.days == [30, 60]


# ── The function ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def sender(monkeypatch: pytest.MonkeyPatch, cloud: Cloud) -> str:  # noqa: ARG001 - moto
    monkeypatch.setenv("MAIL_SENDER", SENDER)
    boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    new_environment()
    return SENDER


@pytest.mark.usefixtures("town")
def test_every_morning_the_function_sends_what_is_due(cloud: Cloud, sender: str) -> None:
    from functions.key_expiry_reminders.app import lambda_handler

    put(cloud, expires=datetime.now(UTC) + timedelta(days=30), end_set=datetime.now(UTC) - timedelta(days=9))
    for _ in range(2):
        lambda_handler({"source": "aws.events", "detail-type": "Scheduled Event"}, None)
    (message,) = sesv2_backends[DEFAULT_ACCOUNT_ID]["eu-west-3"].core_backend.sent_messages
    assert (message.source, message.destinations["ToAddresses"]) == (sender, [APPLICANT, TECHNICIAN])


@pytest.mark.usefixtures("town")
def test_without_a_sender_the_function_fails_and_says_so_to_lambda(cloud: Cloud) -> None:
    from functions.key_expiry_reminders.app import NoticesNotSent, lambda_handler

    put(cloud, expires=datetime.now(UTC) + timedelta(days=30), end_set=datetime.now(UTC) - timedelta(days=9))
    with pytest.raises(NoticesNotSent):
        lambda_handler({}, None)
