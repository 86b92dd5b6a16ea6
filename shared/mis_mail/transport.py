"""How a message leaves the house."""

from email.message import EmailMessage
from typing import Protocol


class MailError(Exception):
    """The message has not gone; the text says why, without the address or what the message says."""


class MailRefused(MailError):
    """The server does not take this message and never will."""


class MailUndelivered(MailError):
    """The server could not be reached or does not take the message now; a later try may succeed."""


class Transport(Protocol):
    """Takes a message where it is going; raises MailRefused or MailUndelivered where it cannot."""

    async def send(self, message: EmailMessage) -> None:
        """Send the message; once this returns, somebody else answers for it."""
