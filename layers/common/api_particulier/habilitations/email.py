"""Messages to the contacts of a habilitation, sent by SES. They contain no key, and nothing about a citizen."""

from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.aws import ses
from api_particulier.settings import settings


class MailFailed(Exception):
    """SES did not accept a message, or may not have; the text contains neither the addresses nor the message."""


def send(to: Sequence[str], subject: str, text: str) -> None:
    """Send a message in plain text to all the addresses; raise ``MailFailed`` when SES did not confirm it."""
    sender = settings().mail_sender
    if not sender:
        raise MailFailed("no sender")
    try:
        ses().send_email(
            FromEmailAddress=sender,
            Destination={"ToAddresses": list(to)},
            Content={
                "Simple": {
                    "Subject": {"Data": subject, "Charset": "UTF-8"},
                    "Body": {"Text": {"Data": text, "Charset": "UTF-8"}},
                }
            },
        )
    except ClientError as error:
        raise MailFailed(error.response["Error"]["Code"]) from None
    except BotoCoreError as error:
        raise MailFailed(type(error).__name__) from None
