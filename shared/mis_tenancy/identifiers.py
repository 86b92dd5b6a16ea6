"""The one way this suite makes identifiers: UUIDs of version 7, in the application.

A version 7 id sorts by the time it was made (RFC 9562), so it serves as keyset cursor and as partition key,
and no database default, sequence or extension is needed to make one.
"""

import os
import time
from datetime import UTC, datetime
from uuid import UUID

_VERSION_AND_VARIANT = (7 << 76) | (0b10 << 62)


def new_id(at_ms: int | None = None) -> UUID:
    """Return a new UUIDv7 (RFC 9562 §5.7): 48 bits of Unix milliseconds, then 74 random bits.

    `at_ms` stands in for the clock, for rows that describe an earlier moment.
    """
    return _composed(time.time_ns() // 1_000_000 if at_ms is None else at_ms, os.urandom(10))


def id_of(moment: datetime, seed: bytes) -> UUID:
    """Return the UUIDv7 of `moment` whose random bits are the first of `seed`, 10 bytes or more."""
    return _composed(int(moment.timestamp() * 1000), seed[:10])


def time_of(identifier: UUID) -> datetime:
    """Return the UTC moment, to the millisecond, at which `new_id` made `identifier`."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def _composed(at_ms: int, noise: bytes) -> UUID:
    bits = int.from_bytes(noise, "big")
    high, low = bits >> 68, bits & ((1 << 62) - 1)
    return UUID(int=((at_ms & ((1 << 48) - 1)) << 80) | (high << 64) | low | _VERSION_AND_VARIANT)


def floor_id(moment: datetime) -> UUID:
    """Return the lowest UUIDv7 of `moment`: ids made earlier sort below it, the others do not."""
    return UUID(int=(int(moment.timestamp() * 1000) << 80) | _VERSION_AND_VARIANT)
