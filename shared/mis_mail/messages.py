"""Turns a mail into the message that goes over the wire (RFC 5322), whose headers nobody can add to."""

from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final
from uuid import UUID

from mis_mail.composition import one_line
from mis_mail.mail import Mail

# What would end an address in a header and begin something else; quoted local parts are nobody's any more.
_OUTSIDE: Final = frozenset(' ,;:<>()[]"\\@')


class UnfitAddress(ValueError):
    """What should be an address is none, so there is nowhere to send to."""


def message_of(mail: Mail, *, sender: str, mail_id: UUID, now: datetime) -> EmailMessage:
    """Return the message of `mail`; raise UnfitAddress.

    `mail_id` makes its Message-ID, so that a mail that had to be sent twice is recognised as one.
    """
    message = EmailMessage(policy=SMTP)
    from_ = _address(sender)
    message["From"] = from_
    message["To"] = _address(mail.to)
    # The header's own check would refuse a line break; here it becomes a space instead.
    message["Subject"] = one_line(mail.subject)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{mail_id}@{from_.domain}>"
    # No vacation notice shall answer (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message


def _address(text: str) -> Address:
    local, _, domain = text.rpartition("@")
    if not (local and domain) or not text.isprintable() or _OUTSIDE & set(text[: len(local)] + domain):
        raise UnfitAddress("This is not an e-mail address.")
    try:
        # Every server takes a domain in this form; only the local part may need one that knows RFC 6531.
        ascii_domain = domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise UnfitAddress("This is not an e-mail address.") from error
    # In parts, because parsed in one piece it could only be ASCII.
    return Address(username=local, domain=ascii_domain)
