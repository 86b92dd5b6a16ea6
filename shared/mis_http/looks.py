"""A tenant's look as strangers see it: the tenant's own while its plan includes that, else the platform's.

It stands here because two services show it: the one that it is set at, and the one with the sign-in page.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import select

from mis_http.colors import ColorRole, Colors
from mis_models.branding import BrandingRow
from mis_tenancy.database import Database
from mis_tenancy.plans import Feature
from mis_tenancy.session import TenantSession
from mis_tenancy.tenant import Tenant

# Where logos lie under a tenant's prefix, and what each type is saved as.
LOGOS: Final = "branding"
LOGO_TYPES: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


@dataclass(frozen=True, slots=True)
class Logo:
    """A stored logo."""

    id: UUID
    content_type: str
    size: int

    @property
    def key(self) -> str:
        """Where it lies under the tenant's prefix."""
        return f"{LOGOS}/{self.id}"

    @property
    def filename(self) -> str:
        """What a browser saves it as."""
        return f"logo.{LOGO_TYPES[self.content_type]}"


@dataclass(frozen=True, slots=True)
class Look:
    """What a tenant has set; the rest is the platform's. Version 0 is that of one that never set anything."""

    name: str | None
    colors: Colors
    logo: Logo | None
    version: int


DEFAULT_LOOK: Final = Look(None, MappingProxyType({}), None, 0)


def logo_url(slug: str, logo: Logo | None) -> str | None:
    """Return where a browser finds the logo: it names the tenant, because an image sends no headers."""
    return None if logo is None else f"/api/v1/tenants/branding/logo?tenant={slug}&v={logo.id.hex}"


async def look_of(session: TenantSession) -> Look:
    """Return the look that the session's tenant has set."""
    row = await session.scalar(select(BrandingRow))
    return DEFAULT_LOOK if row is None else _look(row)


async def look_set(database: Database, tenant_id: UUID) -> Look:
    """Return the look that the tenant has set, in a transaction of its own."""
    async with database.transaction(tenant_id) as session:
        return await look_of(session)


async def look_shown(database: Database, tenant: Tenant) -> Look:
    """Return the look that strangers see: the tenant's own while its plan includes that."""
    if not tenant.has(Feature.CUSTOM_BRANDING):
        return DEFAULT_LOOK
    return await look_set(database, tenant.id)


def _look(row: BrandingRow) -> Look:
    logo = None
    if row.logo_id is not None and row.logo_type is not None and row.logo_size is not None:
        logo = Logo(row.logo_id, row.logo_type, row.logo_size)
    return Look(row.name, {ColorRole(role): color for role, color in row.colors.items()}, logo, row.version)
