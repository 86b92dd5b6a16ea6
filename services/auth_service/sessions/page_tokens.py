"""The token in the cookie of a session that our own pages keep.

It is kept where refresh tokens are, and yet neither is good as the other: what is stored is a digest of the
whole text, and the texts begin differently. It does not rotate, because a browser asks for several pages at
once, and no script can read it.
"""

import os
import re
from typing import Final
from uuid import UUID

from auth_service.sessions.refresh_tokens import SECRET_BYTES, RefreshToken
from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.jose import decode_segment, encode_segment

_PREFIX: Final = "mis_ps_"
_TEXT: Final = re.compile(rf"{_PREFIX}(?P<named>[A-Za-z0-9_-]{{43}})\.(?P<secret>[A-Za-z0-9_-]{{43}})")


class PageToken(RefreshToken):
    """A page session's token taken apart; there is none without a tenant."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The token as the cookie holds it."""
        if self.tenant_id is None:
            raise ValueError("Operators have no sessions of pages.")
        return (
            f"{_PREFIX}{encode_segment(self.tenant_id.bytes + self.id.bytes)}.{encode_segment(self.secret)}"
        )


def new_page_token(tenant_id: UUID | None) -> PageToken:
    """Make a token of a member of the tenant."""
    return PageToken(tenant_id, new_id(), os.urandom(SECRET_BYTES))


def parse_page_token(text: str) -> PageToken | None:
    """Return the token that `text` is, in its one spelling, or None."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    try:
        named = decode_segment(match["named"])
        return PageToken(UUID(bytes=named[:16]), UUID(bytes=named[16:]), decode_segment(match["secret"]))
    except ValueError:
        return None
