"""The text of a refresh token: whose it is, which one it is, and a secret.

It names its tenant, so that its row can be found under row-level security; that is a hint until the secret's
digest has been compared. Only the digest is stored.
"""

import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from uuid import UUID

from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.jose import decode_segment, encode_segment

_MEMBER: Final = "mis_rt_"
_OPERATOR: Final = "mis_ro_"
SECRET_BYTES: Final = 32
_TEXT: Final = re.compile(
    rf"{_MEMBER}(?P<member>[A-Za-z0-9_-]{{43}})\.(?P<secret>[A-Za-z0-9_-]{{43}})"
    rf"|{_OPERATOR}(?P<operator>[A-Za-z0-9_-]{{22}})\.(?P<own_secret>[A-Za-z0-9_-]{{43}})"
)


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token taken apart; one without a tenant is an operator's."""

    tenant_id: UUID | None
    id: UUID
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The token as its holder gets it."""
        if self.tenant_id is None:
            return f"{_OPERATOR}{encode_segment(self.id.bytes)}.{encode_segment(self.secret)}"
        return (
            f"{_MEMBER}{encode_segment(self.tenant_id.bytes + self.id.bytes)}.{encode_segment(self.secret)}"
        )

    @property
    def digest(self) -> bytes:
        """What is stored of it."""
        return sha256(self.text.encode()).digest()


def new_refresh_token(tenant_id: UUID | None) -> RefreshToken:
    """Make a token of a member of the tenant, or of an operator."""
    return RefreshToken(tenant_id, new_id(), os.urandom(SECRET_BYTES))


def parse_refresh_token(text: str) -> RefreshToken | None:
    """Return the token that `text` is, in its one spelling, or None."""
    match = _TEXT.fullmatch(text)
    if match is None:
        return None
    try:
        if match["member"] is not None:
            named = decode_segment(match["member"])
            return RefreshToken(
                UUID(bytes=named[:16]), UUID(bytes=named[16:]), decode_segment(match["secret"])
            )
        return RefreshToken(
            None, UUID(bytes=decode_segment(match["operator"])), decode_segment(match["own_secret"])
        )
    except ValueError:
        return None
