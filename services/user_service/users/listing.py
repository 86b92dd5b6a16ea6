"""A page of users as JSON, written straight from the driver's records.

It says what `UserOut` says (a test compares the two); building a model for each row would cost more than the
rest of the request.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec


class _User(msgspec.Struct, rename="camel"):
    id: UUID
    email: str
    name: str
    role: str
    status: str
    attributes: msgspec.Raw
    created_at: datetime
    updated_at: datetime
    last_login_at: datetime | None


_ENCODER = msgspec.json.Encoder()


def encoded(records: Iterable[Any]) -> bytes:
    """Return the JSON array of users whose records are in the columns' order of the page's statement."""
    return _ENCODER.encode([_user(*record) for record in records])


def _user(
    id: UUID,  # the column's name
    email: str,
    name: str,
    role: str,
    status: str,
    attributes: str,
    *moments: datetime,
) -> _User:
    # The driver gives JSON as text, which passes through unread, and times in UTC, written with a Z.
    return _User(id, email, name, role, status, msgspec.Raw(attributes.encode()), *moments)
