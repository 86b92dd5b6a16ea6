"""Pages of keys: configuration is listed in the order of its keys, whose names are the cursors."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import parse_qsl, quote, urlencode

from fastapi import Depends, Query, Request, Response

from mis_tenancy.errors import ValidationFailed
from tenant_service.configuration.service import Entry


@dataclass(frozen=True, slots=True)
class KeyPage:
    """Which keys are asked for: up to `limit` past `after`."""

    limit: int = 50
    after: str = ""


async def key_page(
    limit: Annotated[int, Query(ge=1, le=200, description="How many at most.")] = 50,
    cursor: Annotated[str | None, Query(max_length=400, description="From the `next` link.")] = None,
) -> KeyPage:
    """Read the parameters; an unreadable cursor is 422."""
    return KeyPage(limit, "" if cursor is None else _opened(cursor))


KeyPaged = Annotated[KeyPage, Depends(key_page)]


def cut_keys(
    entries: Sequence[Entry], page: KeyPage, request: Request, response: Response
) -> Sequence[Entry]:
    """Return the page's entries without the extra one, and link to the next page if that one was there."""
    if len(entries) <= page.limit:
        return entries
    query = [
        pair for pair in parse_qsl(request.scope["query_string"].decode("latin-1")) if pair[0] != "cursor"
    ]
    last = base64.urlsafe_b64encode(entries[page.limit - 1].key.encode()).rstrip(b"=").decode()
    target = f"{quote(request.scope['path'])}?{urlencode([*query, ('cursor', last)])}"
    response.headers["Link"] = f'<{target}>; rel="next"'
    return entries[: page.limit]


def _opened(cursor: str) -> str:
    try:
        return base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        unfit = {
            "field": "cursor",
            "code": "cursor_invalid",
            "message": "Take the cursor from a `next` link.",
        }
        raise ValidationFailed([unfit]) from error
