"""Keyset pages: a bare array, newest first, and a `Link` to the next one while there is more (RFC 8288).

Ids sort by time, so the id of a page's last row is all a cursor needs; the count of rows before it never
matters.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar
from urllib.parse import parse_qsl, quote, urlencode
from uuid import UUID

from fastapi import Depends, Query, Request, Response
from sqlalchemy import ColumnElement, Select

from mis_tenancy.errors import ValidationFailed

Row = TypeVar("Row")
Statement = TypeVar("Statement", bound=Select)  # type: ignore[type-arg]  # any select


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for; `after` is the last id of the page before."""

    limit: int = 50
    ascending: bool = False
    after: UUID | None = None

    def apply(self, statement: Statement, id_column: ColumnElement[UUID]) -> Statement:
        """Return `statement` for this page, one row longer than it, which tells whether there is more."""
        if self.after is not None:
            past = id_column > self.after if self.ascending else id_column < self.after
            statement = statement.where(past)
        order = id_column.asc() if self.ascending else id_column.desc()
        return statement.order_by(order).limit(self.limit + 1)


async def page(
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
    order: Annotated[Literal["asc", "desc"], Query(description="By time of creation.")] = "desc",
    cursor: Annotated[str | None, Query(max_length=200, description="From the `next` link.")] = None,
) -> Page:
    """Read the three parameters of every list; an unreadable cursor is 422."""
    return Page(limit, order == "asc", None if cursor is None else _opened(cursor))


Paged = Annotated[Page, Depends(page)]


def cut(
    rows: Sequence[Row], asked: Page, ids: Sequence[UUID], request: Request, response: Response
) -> Sequence[Row]:
    """Return the page's rows without the extra one, and link to the next page if that one was there.

    `ids` are the rows' ids, in the rows' order.
    """
    if len(rows) <= asked.limit:
        return rows
    response.headers["Link"] = next_link(request, ids[asked.limit - 1])
    return rows[: asked.limit]


def next_link(request: Request, last: UUID) -> str:
    """Return the `Link` header of the page after the row `last`."""
    query = [
        pair for pair in parse_qsl(request.scope["query_string"].decode("latin-1")) if pair[0] != "cursor"
    ]
    # The path is decoded in the scope, and a header takes no letter beyond Latin-1.
    target = f"{quote(request.scope['path'])}?{urlencode([*query, ('cursor', _sealed(last))])}"
    return f'<{target}>; rel="next"'


def _sealed(last: UUID) -> str:
    return base64.urlsafe_b64encode(last.bytes).rstrip(b"=").decode()


def _opened(cursor: str) -> UUID:
    try:
        return UUID(bytes=base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        unfit = {
            "field": "cursor",
            "code": "cursor_invalid",
            "message": "Take the cursor from a `next` link.",
        }
        raise ValidationFailed([unfit]) from error
