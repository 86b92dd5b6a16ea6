"""Every statement about plan migrations."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import select

from mis_http.pages import Page
from mis_models.plan_migrations import PlanMigrationRow
from mis_tenancy.plans import PlanName
from mis_tenancy.session import TenantSession, tenant_of
from mis_tenancy.tables import TenantRow
from mis_tenancy.usage_tables import UsageDayRow
from tenant_service.usage.ranges import day_of

_PENDING = ("scheduled", "running")
_VAIN = ("failed", "canceled")


async def tenant(session: TenantSession) -> TenantRow:
    """Return the session's tenant as it is, without holding anybody up."""
    return (await session.scalars(select(TenantRow).where(TenantRow.id == tenant_of(session)))).one()


async def requests_on(session: TenantSession, moment: datetime) -> int:
    """Return how many of the quota of the UTC day of `moment` the ledger has seen used."""
    counted = select(UsageDayRow.counted).where(UsageDayRow.day == day_of(moment))
    return await session.scalar(counted) or 0


async def migrations(session: TenantSession, page: Page) -> Sequence[PlanMigrationRow]:
    """Return a page of the tenant's migrations, one row longer where there is more."""
    paged = page.apply(select(PlanMigrationRow), PlanMigrationRow.id)  # type: ignore[arg-type]  # the mapped column is the column
    return (await session.scalars(paged)).all()


async def migration(session: TenantSession, migration_id: UUID) -> PlanMigrationRow | None:
    """Return one migration of the tenant's, as it is now; the tenant's row must be locked."""
    found = select(PlanMigrationRow).where(PlanMigrationRow.id == migration_id)
    return (await session.scalars(found.execution_options(populate_existing=True))).one_or_none()


async def marked(session: TenantSession, mark: bytes, since: datetime) -> PlanMigrationRow | None:
    """Return the migration of that mark that was asked for since then and has not come to nothing."""
    meant = PlanMigrationRow.mark == mark, PlanMigrationRow.created_at > since
    found = select(PlanMigrationRow).where(*meant, PlanMigrationRow.status.not_in(_VAIN))
    return (await session.scalars(found)).one_or_none()


async def pending(session: TenantSession) -> PlanMigrationRow | None:
    """Return the migration that waits or runs, of which a tenant has one at most."""
    return (
        await session.scalars(select(PlanMigrationRow).where(PlanMigrationRow.status.in_(_PENDING)))
    ).one_or_none()


async def plans_left(session: TenantSession) -> Sequence[tuple[datetime, PlanName]]:
    """Return each plan that the tenant has been on before, oldest first, and until when it was."""
    row = PlanMigrationRow
    over = select(row.finished_at, row.from_plan).where(row.status == "completed").order_by(row.finished_at)
    return [(until, PlanName(plan)) for until, plan in await session.execute(over) if until is not None]
