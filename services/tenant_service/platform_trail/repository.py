"""The statements that write carried rows."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from mis_models.platform import PlatformAuditRow
from mis_models.work import JobRow
from mis_tenancy.session import TenantSession, tenant_of
from tenant_service.platform_trail.carrying import PLATFORM_TRAIL


async def write_once(session: AsyncSession, columns: Mapping[str, Any]) -> None:
    """Insert the row, unless it is there already."""
    await session.execute(insert(PlatformAuditRow).values(dict(columns)).on_conflict_do_nothing())


async def write_waiting(session: TenantSession) -> None:
    """Write what is still on its way from the session's tenant, which is about to lose its jobs."""
    carried = select(JobRow.payload).where(
        JobRow.tenant_id == tenant_of(session), JobRow.kind == PLATFORM_TRAIL
    )
    for columns in await session.scalars(carried):
        await write_once(session, columns)
