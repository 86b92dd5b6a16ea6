"""The statements of deletions and restorations that no other feature has."""

from datetime import datetime

from sqlalchemy import func, select

from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow


async def moment(session: TenantSession) -> datetime:
    """Return the database's time, by which a purge is due whatever the clocks of the processes say."""
    asked = select(func.statement_timestamp()).where(TenantRow.id == tenant_of(session))
    now: datetime = (await session.scalars(asked)).one()
    return now
