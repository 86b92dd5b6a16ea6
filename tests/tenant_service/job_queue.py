"""Jobs for tests of what operators see of them."""

from typing import Any
from uuid import UUID

from sqlalchemy import update

from mis_jobs.jobs import enqueue
from mis_models.work import JobRow
from mis_tenancy.database import Database
from tests.suite import Suite, TenantHandle


def platform_of(suite: Suite) -> Database:
    """Return the tenant service's database of the platform role."""
    database: Database = suite.apps["tenant"].state.platform
    return database


async def add_job(suite: Suite, tenant: TenantHandle | None, **columns: Any) -> UUID:
    """Enqueue a job that no worker of the tests runs, and change its columns."""
    async with platform_of(suite).platform_transaction() as session:
        tenant_id = None if tenant is None else tenant.id
        key = columns.pop("dedupe_key", None)
        job = await enqueue(session, "test", {"secret": "canary"}, tenant_id=tenant_id, dedupe_key=key)
        assert job is not None
        if columns:
            await session.execute(update(JobRow).where(JobRow.id == job).values(**columns))
    return job


async def add_dead_job(suite: Suite, tenant: TenantHandle | None, **columns: Any) -> UUID:
    """Add a job that was given up."""
    given = {"state": "dead", "attempts": 8, "last_error": "ValueError"}
    return await add_job(suite, tenant, **given | columns)
