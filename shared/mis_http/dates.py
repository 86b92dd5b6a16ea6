"""Moments as HTTP spells them (RFC 9110 §5.6.7), read from whoever sends them."""

from datetime import datetime
from email.utils import parsedate_to_datetime


def moment_of(text: str) -> datetime | None:
    """Return the moment, with the zone it names, if any; None for what is none or beyond the calendar."""
    try:
        return parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        # Of a year or a zone that no integer of the machine holds the standard library says the second.
        return None
