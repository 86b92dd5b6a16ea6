"""Every statement about branding."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from mis_models.branding import BrandingRow
from mis_tenancy.database import Database
from mis_tenancy.session import TenantSession
from tenant_service.branding.colors import ColorRole
from tenant_service.branding.logos import Logo
from tenant_service.branding.look import DEFAULT_LOOK, Look


async def look_of(session: TenantSession) -> Look:
    """Return the look that the session's tenant has set."""
    row = await session.scalar(select(BrandingRow))
    return DEFAULT_LOOK if row is None else _look(row)


async def public_look(database: Database, tenant_id: UUID) -> Look:
    """Return the look that the tenant has set, in a transaction of its own."""
    async with database.transaction(tenant_id) as session:
        return await look_of(session)


async def put(session: TenantSession, look: Look, now: datetime) -> None:
    """Set the look of the session's tenant, whose row must be locked."""
    logo = look.logo
    values: dict[str, Any] = {
        "name": look.name,
        "colors": dict(look.colors),
        "logo_id": None if logo is None else logo.id,
        "logo_type": None if logo is None else logo.content_type,
        "logo_size": None if logo is None else logo.size,
        "version": look.version,
        "updated_at": now,
    }
    statement = insert(BrandingRow).values(values)
    await session.execute(
        statement.on_conflict_do_update(index_elements=[BrandingRow.tenant_id], set_=values),
        execution_options={"synchronize_session": False},
    )


def _look(row: BrandingRow) -> Look:
    logo = None
    if row.logo_id is not None and row.logo_type is not None and row.logo_size is not None:
        logo = Logo(row.logo_id, row.logo_type, row.logo_size)
    return Look(row.name, {ColorRole(role): color for role, color in row.colors.items()}, logo, row.version)
