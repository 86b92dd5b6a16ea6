"""How a tenant may be spelled: what is a slug, what is an id, and which slugs nobody can have.

The one place of these rules, so that the service which hands out slugs and the middleware which reads them
cannot come apart.
"""

import re
from typing import Final
from uuid import UUID

_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{1,61}[a-z0-9])")
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# Also without hyphens, because many libraries read that as a UUID too.
_UUID_SHAPED: Final = re.compile(r"(?:[0-9a-f]-?){31}[0-9a-f]")

# Host names that the platform keeps for itself.
_HOSTS: Final = frozenset(
    {"api", "www", "admin", "app", "auth", "login", "static", "assets", "docs", "status"}
)
_ROLES: Final = frozenset({"mail", "support", "root", "system", "platform"})
# Words that stand in our own paths where a slug could.
_ROUTES: Final = frozenset({"create", "resolve", "bulk", "jobs", "plans", "exports", "branding", "domains"})
RESERVED: Final = _HOSTS | _ROLES | _ROUTES


def parse_slug(text: str) -> str | None:
    """Return the slug `text` spells, in lower case, or None where it is not one."""
    # Lower-casing is only safe for ASCII: the Kelvin sign, for one, becomes a plain `k`.
    slug = text.lower() if text.isascii() else ""
    return slug if _SLUG.fullmatch(slug) else None


def parse_id(text: str) -> UUID | None:
    """Return the UUID `text` spells in the canonical form (RFC 9562 §4), in any case, or None."""
    digits = text.lower() if len(text) == 36 and text.isascii() else ""
    return UUID(digits) if _ID.fullmatch(digits) else None


def is_reserved(slug: str) -> bool:
    """Return whether no tenant may be called `slug` (lower case), as slug or as subdomain."""
    return slug in RESERVED or slug.startswith("xn--") or _UUID_SHAPED.fullmatch(slug) is not None
