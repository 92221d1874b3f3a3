"""Send expiry reminders by the function that the schedule calls, on frozen days, to a mailbox in the place of SES."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import time_machine
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.sesv2.models import sesv2_backends

from api_particulier.habilitations import expiry_reminders
from api_particulier.habilitations.model import ApplicantType, Contact, Habilitation, Request, State
from api_particulier.habilitations.repository import HabilitationRepository
from api_particulier.keys import lifecycle
from api_particulier.keys.store import KeyStore
from api_particulier.keys.token import Token
from functions.key_expiry_reminders.app import RemindersNotSent, lambda_handler
from tests.support.cloud import Cloud
from tests.support.function import new_environment
from tests.support.mailbox import SENDER, Mail, Mailbox, install_mailbox

pytestmark = pytest.mark.slow


ENDS = datetime(2027, 6, 15, 14, 30, tzinfo=UTC)
APPLICANT, TECHNICIAN = "demandeur@ville.exemple.fr", "technique@ville.exemple.fr"


def morning(days: float) -> datetime:
    """Return the hour of the job, this number of days before the end of the key."""
    return ENDS.replace(hour=5, minute=0) - timedelta(days=days)


def run(now: datetime) -> None:
    """Call the function, as the schedule does, at an instant."""
    with time_machine.travel(now, tick=False):
        lambda_handler({"source": "aws.events", "detail-type": "Scheduled Event"}, None)


def run_daily(first: int, last: int) -> None:
    for days in range(first, last - 1, -1):
        run(morning(days))


def days_left(mail: Mail) -> int:
    """Return the number of days that the subject of a mail gives; 0 when it gives none."""
    found = re.search(r"dans (\d+) jours", mail.subject)
    return int(found[1]) if found else 0


def threshold(mail: Mail) -> int:
    """Return the threshold that a mail is the reminder of."""
    late = re.search(r"préavis de (\d+) jours", mail.text)
    return int(late[1]) if late else days_left(mail)


@dataclass
class Town:
    """A town, its habilitation, its key, and the mailbox of its contacts."""

    token: Token
    mailbox: Mailbox

    @property
    def days(self) -> list[int]:
        return [days_left(mail) for mail in self.mailbox.mails]


@pytest.fixture
def token(cloud: Cloud) -> Token:
    """A key that ends at ``ENDS``, of a habilitation with three contacts."""
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
    cloud.habilitations.put_item(
        Item={"habilitation": habilitation.id, "item": "state"}
        | habilitation.model_dump(mode="json", exclude_none=True)
    )
    return put(cloud)


@pytest.fixture
def town(token: Token, monkeypatch: pytest.MonkeyPatch) -> Town:
    return Town(token, install_mailbox(monkeypatch))


@pytest.fixture
def only_30(town: Town, cloud: Cloud) -> None:  # noqa: ARG001 - it makes the key
    """Set the end of the key after the thresholds of 90 and 60 days were passed."""
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
    cloud.put_token(token.to_item())
    return token


# ── Which reminders, and when ────────────────────────────────────────────────────────────────────────────────────────


def test_a_daily_job_sends_six_reminders_each_once(town: Town) -> None:
    run_daily(100, -40)
    assert town.days == [90, 60, 30, 15, 7, 0]
    assert "expire aujourd'hui" in town.mailbox.mails[-1].subject


def test_a_job_that_runs_several_times_a_day_sends_no_more(town: Town) -> None:
    for hours in range(95 * 24, -5 * 24, -11):
        run(ENDS - timedelta(hours=hours))
    assert len(town.mailbox.mails) == 6


@pytest.mark.parametrize("missed", [90, 70, 31, 20, 8, 1])
def test_a_job_that_missed_20_days_still_sends_six_reminders_each_once(town: Town, missed: int) -> None:
    run_daily(95, missed + 1)
    run_daily(missed - 20, -29)
    assert [threshold(mail) for mail in town.mailbox.mails] == [90, 60, 30, 15, 7, 0]


def test_a_late_reminder_gives_its_threshold_and_the_days_left(town: Town) -> None:
    run_daily(95, 31)
    run_daily(10, -10)  # the thresholds of 30 and 15 days passed between the two
    assert town.days == [90, 60, 10, 10, 7, 0]
    late = ["en retard" in mail.text for mail in town.mailbox.mails]
    assert late == [False, False, True, True, False, False]
    assert "Ce préavis de 30 jours" in town.mailbox.mails[2].text
    assert "Ce préavis de 15 jours" in town.mailbox.mails[3].text


def test_a_reminder_sent_after_the_end_says_that_the_key_has_expired(town: Town) -> None:
    run_daily(100, 8)
    run_daily(-12, -20)
    assert town.days == [90, 60, 30, 15, 0, 0]
    assert "a expiré" in town.mailbox.mails[-1].subject
    assert "n'est plus acceptée" in town.mailbox.mails[-1].text


def test_an_extended_key_gets_its_reminders_again(town: Town) -> None:
    run_daily(100, 20)
    lifecycle.extend(KeyStore.from_environment(), town.token, ENDS + timedelta(days=200), morning(20))
    run_daily(19, -220)
    assert town.days == [90, 60, 30, 90, 60, 30, 15, 7, 0]


def test_a_slightly_extended_key_gets_no_reminder_of_a_threshold_already_passed(town: Town) -> None:
    run_daily(100, 7)
    lifecycle.extend(KeyStore.from_environment(), town.token, ENDS + timedelta(days=14), morning(7))
    run_daily(7, -20)
    assert town.days == [90, 60, 30, 15, 7, 15, 7, 0]


@pytest.mark.parametrize(
    ("lives", "expected"), [(90, [60, 30, 15, 7, 0]), (45, [30, 15, 7, 0]), (5, [0]), (91, [90, 60])]
)
def test_a_short_lived_key_gets_the_reminders_of_the_thresholds_to_come(
    town: Town, cloud: Cloud, lives: int, expected: list[int]
) -> None:
    put(cloud, created=morning(lives))
    run_daily(lives, -5)
    assert town.days[: len(expected)] == expected


def test_a_rotated_key_gets_the_reminders_of_the_thresholds_to_come(town: Town) -> None:
    plan = boto3.client("apigateway").create_usage_plan(name="api-particulier")["id"]
    store = replace(KeyStore.from_environment(), usage_plan=plan)
    lifecycle.rotate(store, town.token, timedelta(days=30), morning(200))
    run_daily(200, 165)
    assert town.days == [15, 7, 0]
    assert "Une nouvelle clé a été émise" in town.mailbox.mails[0].text


def test_a_revoked_or_long_expired_key_gets_no_reminder(town: Town, cloud: Cloud) -> None:
    put(cloud, state="revoked")
    run_daily(100, -10)
    put(cloud)
    run_daily(-31, -90)
    put(cloud, expires=None)
    run(ENDS)
    assert town.mailbox.mails == []


# ── Recipients and content ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("only_30")
def test_a_reminder_gives_the_applicant_and_the_technical_contact_the_key_and_its_end(town: Town) -> None:
    run(morning(30))
    (mail,) = town.mailbox.mails
    assert mail.to == (APPLICANT, TECHNICIAN)
    assert mail.subject == "API Particulier : votre clé expire dans 30 jours"
    for words in ("VILLE EXEMPLE", "habilitation 42", "clé 1", "le 15/06/2027 à 16:30 (heure de Paris)", "DataPass"):
        assert words in mail.text
    assert town.token.key_hash not in mail.text


def test_a_reminder_mentions_the_key_that_replaces_it(town: Town, cloud: Cloud) -> None:
    put(cloud, successor="2")
    run(morning(7))
    assert "Une nouvelle clé a été émise" in town.mailbox.mails[0].text


@pytest.mark.parametrize("habilitation", [None, "unknown"])
def test_a_key_without_recipient_is_logged(
    town: Town, cloud: Cloud, habilitation: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    put(cloud, habilitation=habilitation)
    run(morning(7))
    assert town.mailbox.mails == []
    assert '"event":"notice_not_sent","outcome":"no recipient"' in capsys.readouterr().out
    store, habilitations = KeyStore.from_environment(), HabilitationRepository.from_environment()
    (key,) = expiry_reminders.expiring_keys(store, habilitations, morning(7))
    assert (key.days, key.due_thresholds, key.recipients) == (7, [90, 60, 30, 15, 7], ())


@pytest.mark.usefixtures("only_30")
def test_an_unreadable_habilitation_does_not_stop_the_reminders_of_others(town: Town, cloud: Cloud) -> None:
    cloud.habilitations.put_item(Item={"habilitation": "broken", "item": "state", "state": TECHNICIAN})
    put(cloud, key_hash="1" * 64, id="broken", habilitation="broken")
    run(morning(30))
    assert len(town.mailbox.mails) == 1


@pytest.mark.usefixtures("only_30")
def test_no_address_is_logged(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    run(morning(30))
    town.mailbox.fails = True
    with pytest.raises(RemindersNotSent):
        run(morning(15))
    logged = capsys.readouterr().out
    assert '"notice_sent"' in logged
    assert '"notice_not_sent"' in logged
    assert "@" not in logged


# ── Once, even when interrupted ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("only_30")
def test_a_failed_reminder_fails_the_function_and_is_tried_again(town: Town) -> None:
    town.mailbox.fails = True
    with pytest.raises(RemindersNotSent):
        run(morning(30))
    town.mailbox.fails = False
    run(morning(30))
    assert town.days == [30]


class Killed(BaseException):
    """The process is no more."""


@pytest.mark.usefixtures("only_30")
def test_a_job_killed_while_sending_leaves_the_reminder_to_the_next_day(town: Town) -> None:
    def kill() -> None:
        raise Killed

    town.mailbox.before_sending = kill
    with pytest.raises(Killed):
        run(morning(30))
    town.mailbox.before_sending = None
    run(morning(30) + timedelta(minutes=1))  # the reservation has not ended
    assert town.mailbox.mails == []
    run_daily(29, 16)
    assert town.days == [29]


@pytest.mark.usefixtures("only_30")
def test_two_simultaneous_jobs_send_one_reminder(town: Town) -> None:
    def run_another_job() -> None:
        town.mailbox.before_sending = None
        run(morning(30))

    town.mailbox.before_sending = run_another_job
    run(morning(30))
    run(morning(30))
    assert town.days == [30]


@pytest.mark.usefixtures("only_30")
def test_a_key_extended_while_its_reminder_is_sent_gets_its_reminders_again(town: Town) -> None:
    def extend() -> None:
        town.mailbox.before_sending = None
        lifecycle.extend(KeyStore.from_environment(), town.token, ENDS + timedelta(days=60), morning(30))

    town.mailbox.before_sending = extend
    run(morning(30))
    run_daily(30, 0)
    assert town.days == [30, 60]


# ── Days are those of Paris ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("end", "before", "after"),
    [
        # A key that ends at 00:30 in Paris ends, by UTC, the day before.
        (datetime(2027, 6, 14, 22, 30, tzinfo=UTC), datetime(2027, 6, 7, 21, 59, tzinfo=UTC), timedelta(minutes=1)),
        (datetime(2027, 1, 14, 23, 30, tzinfo=UTC), datetime(2027, 1, 7, 22, 59, tzinfo=UTC), timedelta(minutes=1)),
        # Seven days before, but for an hour: the night when the clocks change is between the two.
        (datetime(2027, 3, 30, 22, 30, tzinfo=UTC), datetime(2027, 3, 23, 22, 59, tzinfo=UTC), timedelta(minutes=1)),
    ],
    ids=["in summer", "in winter", "across the change of clocks"],
)
def test_the_reminder_of_seven_days_is_sent_from_midnight_in_paris(
    town: Town, cloud: Cloud, end: datetime, before: datetime, after: timedelta
) -> None:
    put(cloud, expires=end, created=end - timedelta(days=12))
    run(before)
    assert town.days == []
    run(before + after)
    assert town.days == [7]


def test_the_last_reminder_is_sent_on_the_day_of_the_end_in_paris(town: Town, cloud: Cloud) -> None:
    put(cloud, expires=datetime(2027, 6, 14, 22, 30, tzinfo=UTC), created=datetime(2027, 6, 13, tzinfo=UTC))
    run(datetime(2027, 6, 14, 21, 59, tzinfo=UTC))
    assert town.mailbox.mails == []
    run(datetime(2027, 6, 14, 22, 0, tzinfo=UTC))
    (mail,) = town.mailbox.mails
    assert mail.subject == "API Particulier : votre clé expire aujourd'hui"
    assert "le 15/06/2027 à 00:30 (heure de Paris)" in mail.text


def test_a_key_issued_before_midnight_in_paris_has_its_threshold_of_the_next_day(town: Town, cloud: Cloud) -> None:
    # Issued at 23:50 in Paris, eight days before its end by the calendar there; seven by UTC's.
    put(cloud, expires=datetime(2027, 6, 22, 22, 10, tzinfo=UTC), created=datetime(2027, 6, 15, 21, 50, tzinfo=UTC))
    run(datetime(2027, 6, 16, 5, 0, tzinfo=UTC))
    assert town.days == [7]


# ── By SES ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("token")
def test_the_function_sends_the_due_reminders_by_ses(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAIL_SENDER", SENDER)
    boto3.client("sesv2").create_email_identity(EmailIdentity=SENDER)
    new_environment()
    put(cloud, expires=datetime.now(UTC) + timedelta(days=30), end_set=datetime.now(UTC) - timedelta(days=9))
    for _ in range(2):
        lambda_handler({}, None)
    (message,) = sesv2_backends[DEFAULT_ACCOUNT_ID]["eu-west-3"].core_backend.sent_messages
    assert (message.source, message.destinations["ToAddresses"]) == (SENDER, [APPLICANT, TECHNICIAN])


@pytest.mark.usefixtures("token")
def test_without_a_sender_the_function_fails(cloud: Cloud) -> None:
    put(cloud, expires=datetime.now(UTC) + timedelta(days=30), end_set=datetime.now(UTC) - timedelta(days=9))
    with pytest.raises(RemindersNotSent):
        lambda_handler({}, None)
