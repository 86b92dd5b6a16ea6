"""What operators do in a tenant's own transaction is in the platform's log as well, once."""

from uuid import UUID, uuid4

from sqlalchemy import select

from mis_jobs.jobs import Job
from mis_models.platform import PlatformAuditRow
from mis_models.work import JobRow
from tenant_service.platform_trail.jobs import PLATFORM_TRAIL, PlatformTrail
from tests.answers import fine, refused
from tests.purging import purge
from tests.suite import Suite, TenantHandle
from tests.tenant_service.plan_moves import let_the_period_end, migrate, migrations_of
from tests.tenant_service.requests import TENANTS, audit_rows, patch


async def carried(suite: Suite, tenant: TenantHandle) -> list[PlatformAuditRow]:
    """Do what the worker does, as often as it may happen, and return the tenant's rows, oldest first."""
    platform = suite.apps["tenant"].state.platform
    async with platform.platform_transaction() as session:
        own = select(JobRow).where(JobRow.tenant_id == tenant.id, JobRow.kind == PLATFORM_TRAIL)
        jobs = [Job(row.id, row.tenant_id, row.kind, row.payload, 1) for row in await session.scalars(own)]
    for job in jobs * 2:
        await PlatformTrail(platform).write(job)
    async with platform.platform_transaction() as session:
        ids = [UUID(job.payload["id"]) for job in jobs]
        rows = select(PlatformAuditRow).where(PlatformAuditRow.id.in_(ids)).order_by(PlatformAuditRow.id)
        return list(await session.scalars(rows))


async def test_an_operators_migration_is_in_both_logs(suite: Suite) -> None:
    """Catalogue 97."""
    tenant = await suite.tenant("basic")
    request_id = f"both-{uuid4().hex}"
    headers = suite.operator | {"X-Request-ID": request_id}
    fine(await migrate(suite, tenant, "premium", headers))
    own = (await audit_rows(suite, tenant.id))[0]
    (row,) = await carried(suite, tenant)
    (migration,) = await migrations_of(suite, tenant)
    assert (row.action, str(row.actor), row.tenant_id) == ("tenant.migrated", own["actor"], tenant.id)
    assert (row.resource, row.request_id) == (f"migrations/{migration['migrationId']}", request_id)
    assert row.changes is not None
    assert row.changes["plan"] == {"old": "basic", "new": "premium"}
    assert row.ip


async def test_a_members_migration_is_no_business_of_the_platforms_log(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    fine(await migrate(suite, tenant, "premium"))
    assert await carried(suite, tenant) == []


async def test_what_the_worker_does_for_an_operator_is_in_both_logs(suite: Suite) -> None:
    tenant = await suite.tenant("premium")
    fine(await migrate(suite, tenant, "basic", suite.operator, effectiveAt="period_end"))
    await let_the_period_end(suite, tenant)
    assert [row.action for row in await carried(suite, tenant)] == ["migration.scheduled", "tenant.migrated"]


async def test_a_refused_migration_leaves_nothing_on_the_platform(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    refused(await migrate(suite, tenant, "basic", suite.operator), 409, "plan_unchanged")
    assert await carried(suite, tenant) == []


async def test_an_operators_changes_of_a_tenant_and_of_its_configuration_are_in_both_logs(
    suite: Suite,
) -> None:
    tenant = await suite.tenant("basic")
    fine(await patch(suite, tenant, suite.operator, maxUsers=50))
    body = {"configKey": "api.rate_limit", "configValue": 500}
    fine(await suite.client.post(f"{TENANTS}/{tenant.id}/config", json=body, headers=suite.operator))
    fine(await patch(suite, tenant, tenant.auth, maxUsers=40))
    updated, configured = await carried(suite, tenant)
    assert (updated.action, updated.changes) == ("tenant.updated", {"max_users": {"old": 100, "new": 50}})
    assert configured.action == "config.changed"


async def test_what_an_operator_did_outlives_a_purge_that_overtakes_the_worker(suite: Suite) -> None:
    tenant = await suite.tenant("basic")
    request_id = f"overtaken-{uuid4().hex}"
    fine(await patch(suite, tenant, suite.operator | {"X-Request-ID": request_id}, maxUsers=50))
    await purge(suite, tenant.id)
    async with suite.apps["tenant"].state.platform.platform_transaction() as session:
        rows = select(PlatformAuditRow.action).where(PlatformAuditRow.request_id == request_id)
        assert list(await session.scalars(rows)) == ["tenant.updated"]
