"""SES, as a list of the messages that it accepted; it refuses them when a test asks."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from api_particulier.habilitations import email

SENDER = "ne-pas-repondre@api-particulier.exemple.fr"


@dataclass(frozen=True)
class Mail:
    """A message that SES accepted."""

    to: tuple[str, ...]
    subject: str
    text: str


@dataclass
class Mailbox:
    """The client of SES that functions use."""

    mails: list[Mail] = field(default_factory=list)
    fails: bool = False
    before_sending: Callable[[], None] | None = None
    """Called when a message is sent, before it is accepted."""

    def send_email(self, **request: Any) -> None:
        if self.before_sending:
            self.before_sending()
        if self.fails:
            raise EndpointConnectionError(endpoint_url="https://email.eu-west-3.amazonaws.com")
        assert request["FromEmailAddress"] == SENDER
        simple = request["Content"]["Simple"]
        self.mails.append(
            Mail(
                tuple(request["Destination"]["ToAddresses"]), simple["Subject"]["Data"], simple["Body"]["Text"]["Data"]
            )
        )


def install_mailbox(monkeypatch: pytest.MonkeyPatch) -> Mailbox:
    """Configure a sender, and put a mailbox in the place of SES."""
    mailbox = Mailbox()
    monkeypatch.setenv("MAIL_SENDER", SENDER)
    monkeypatch.setattr(email, "ses", lambda: mailbox)
    return mailbox
