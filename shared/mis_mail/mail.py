"""A mail before it is a message: to whom, and what it says."""

from datetime import datetime

import msgspec


class Mail(msgspec.Struct, frozen=True):
    """One mail to one address; the same content as plain text and as HTML.

    After `expires_at` it is no longer worth sending, because the link in it has run out.
    """

    to: str
    subject: str
    text: str
    html: str
    expires_at: datetime | None = None

    def __repr__(self) -> str:
        # Its text may hold a link that opens a door, and its address is a person's.
        return "Mail(…)"


_DECODER = msgspec.json.Decoder(Mail)


def encoded(mail: Mail) -> bytes:
    """Return the mail as bytes."""
    return msgspec.json.encode(mail)


def decoded(raw: bytes) -> Mail:
    """Return the mail that `encoded` made the bytes of."""
    return _DECODER.decode(raw)
