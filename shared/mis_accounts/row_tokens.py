"""A token that opens one row of one tenant: which tenant and row, and a secret of 256 bits.

It names its tenant, so that its row can be found under row-level security; that is a hint until the digest
has been compared. The digest covers the whole text with the word for its purpose, so a token of one purpose,
or with another tenant's id in it, is nobody's token, and only the digest is stored (Keycloak CVE-2026-1529).
"""

import os
import re
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from uuid import UUID

from mis_tenancy.identifiers import new_id
from mis_tenancy.tokens.jose import decode_segment, encode_segment

_SECRET: Final = 32
_TEXT: Final = re.compile(
    r"mis_(?P<purpose>[a-z]{2})_(?P<named>[A-Za-z0-9_-]{43})\.(?P<secret>[A-Za-z0-9_-]{43})"
)


@dataclass(frozen=True, slots=True)
class RowToken:
    """A token taken apart; `purpose` is two letters."""

    purpose: str
    tenant_id: UUID
    id: UUID
    secret: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The token as its holder gets it."""
        named = encode_segment(self.tenant_id.bytes + self.id.bytes)
        return f"mis_{self.purpose}_{named}.{encode_segment(self.secret)}"

    @property
    def digest(self) -> bytes:
        """What is stored of it."""
        return sha256(self.text.encode()).digest()


def new_row_token(purpose: str, tenant_id: UUID) -> RowToken:
    """Make a token of the tenant's; its id is that of the row it opens."""
    return RowToken(purpose, tenant_id, new_id(), os.urandom(_SECRET))


def parse_row_token(text: str, purpose: str) -> RowToken | None:
    """Return the token of this purpose that `text` is, or None."""
    match = _TEXT.fullmatch(text)
    if match is None or match["purpose"] != purpose:
        return None
    try:
        named, secret = decode_segment(match["named"]), decode_segment(match["secret"])
    except ValueError:
        return None
    return RowToken(purpose, UUID(bytes=named[:16]), UUID(bytes=named[16:]), secret)
