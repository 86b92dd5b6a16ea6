"""`/api/v1/tenants/{id}/migrate` and `…/migrations`."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from mis_http.idempotency import IdempotentRoute
from mis_http.pages import Paged, cut
from mis_http.problems import problems
from mis_tenancy.access import Permission
from mis_tenancy.errors import AuthenticationRequired, PermissionDenied, TenantConflict, TenantNotFound
from mis_tenancy.fastapi import requires
from mis_tenancy.slugs import parse_id
from tenant_service.billing.errors import SubscriptionEnded, SubscriptionNotFound
from tenant_service.lifecycle.errors import TenantStateConflict
from tenant_service.plan_migration.downtime import Downtime
from tenant_service.plan_migration.errors import (
    EraseIsSeparate,
    MigrationNotFound,
    MigrationNotScheduled,
    MigrationPending,
    OverPlanLimits,
    PlanUnchanged,
)
from tenant_service.plan_migration.order import EffectiveAt
from tenant_service.plan_migration.schemas import MigrateIn, MigrationOut
from tenant_service.plan_migration.service import Migrations
from tenant_service.sessions import TargetSession
from tenant_service.target import Target
from tenant_service.trail import Calling

router = APIRouter(
    prefix="/api/v1/tenants",
    tags=["plan migration"],
    route_class=IdempotentRoute,
    dependencies=[requires(Permission.TENANT_MIGRATE)],
)

_CLOSED = (AuthenticationRequired, PermissionDenied, TenantNotFound, TenantConflict)
_REFUSED = (
    *(OverPlanLimits, PlanUnchanged, MigrationPending, TenantStateConflict, EraseIsSeparate),
    *(SubscriptionEnded, SubscriptionNotFound),
)


async def migrating(session: TargetSession, caller: Calling) -> Migrations:
    """Return the migrations of the tenant the path names."""
    return Migrations(session, caller, datetime.now(UTC))


async def downtime_of(request: Request) -> Downtime:
    """Return what the service was composed with."""
    downtime: Downtime = request.app.state.downtime
    return downtime


async def named_migration(named: Annotated[str, Path(alias="migration_id", max_length=64)]) -> UUID:
    """Return the id the path names; raise MigrationNotFound for what cannot be one."""
    migration_id = parse_id(named)
    if migration_id is None:
        raise MigrationNotFound
    return migration_id


Migrating = Annotated[Migrations, Depends(migrating)]


@router.post("/{id}/migrate", responses=problems(*_CLOSED, *_REFUSED))
async def migrate_tenant(
    body: MigrateIn,
    migrations: Migrating,
    target: Target,
    caller: Calling,
    downtime: Annotated[Downtime, Depends(downtime_of)],
    dry_run: Annotated[bool, Query(alias="dryRun", description="Only show what would change.")] = False,
) -> MigrationOut:
    """Move the tenant to another plan, now or at the period's end."""
    order = body.order()
    if dry_run:
        return MigrationOut.of(await migrations.forecast(order), dry_run=True)
    if order.downtime and order.effective_at is EffectiveAt.NOW:
        closed = await downtime.close(target.id, caller, order)
        return MigrationOut.of(await migrations.finish(closed, datetime.now(UTC)))
    return MigrationOut.of(await migrations.migrate(order))


@router.get("/{id}/migrations", responses=problems(*_CLOSED))
async def list_migrations(
    migrations: Migrating, page: Paged, request: Request, response: Response
) -> list[MigrationOut]:
    """List the tenant's migrations, newest first."""
    rows = await migrations.listed(page)
    return [MigrationOut.of(row) for row in cut(rows, page, [row.id for row in rows], request, response)]


@router.delete(
    "/{id}/migrations/{migration_id}",
    status_code=204,
    responses=problems(*_CLOSED, MigrationNotFound, MigrationNotScheduled),
)
async def cancel_migration(
    migration_id: Annotated[UUID, Depends(named_migration)], migrations: Migrating
) -> None:
    """Take a scheduled migration back."""
    await migrations.cancel(migration_id)
