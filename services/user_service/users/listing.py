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
    created_at: str
    updated_at: str
    last_login_at: str | None


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
    created: datetime,
    updated: datetime,
    last_login: datetime | None,
) -> _User:
    return _User(
        id,
        email,
        name,
        role,
        status,
        msgspec.Raw(attributes.encode()),
        _moment(created),
        _moment(updated),
        None if last_login is None else _moment(last_login),
    )


def _moment(moment: datetime) -> str:
    # The driver gives UTC, whose offset isoformat spells in six characters.
    return f"{moment.isoformat(timespec='milliseconds')[:-6]}Z"
