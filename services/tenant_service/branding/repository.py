"""Every statement that sets a tenant's look."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import insert

from mis_http.looks import Look
from mis_models.branding import BrandingRow
from mis_tenancy.session import TenantSession


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
