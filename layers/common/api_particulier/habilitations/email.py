"""Mail to the people of a habilitation, through SES. No key and no citizen is ever in a mail."""

from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from api_particulier.aws import ses
from api_particulier.settings import settings


class MailFailed(Exception):
    """The message was not taken, or may not have been; who it was for and what it said are not in here."""


def send(to: Sequence[str], subject: str, text: str) -> None:
    """Send one message to all of ``to``, in plain text; ``MailFailed`` when SES did not say that it took it."""
    if not settings().mail_sender:
        raise MailFailed("no sender")
    try:
        ses().send_email(
            FromEmailAddress=settings().mail_sender,
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
